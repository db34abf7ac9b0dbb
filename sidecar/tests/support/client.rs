//! A WebSocket client that behaves.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value as Json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::{App, Gateway, soon};

pub struct Client {
    pub socket: WebSocketStream<TcpStream>,
    response: Response<Option<Vec<u8>>>,
}

impl Client {
    pub async fn connect(gateway: &Gateway) -> Self {
        Self::with(gateway, "/ws", &[]).await
    }

    pub async fn with(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> Self {
        Self::to(gateway.clients, path, headers).await
    }

    /// Signed in as this user.
    pub async fn user(gateway: &Gateway, name: &str) -> Self {
        Self::with(gateway, "/ws", &[("X-BFL-USER", name)]).await
    }

    pub async fn to(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        let stream = soon("a connection", TcpStream::connect(address))
            .await
            .unwrap();
        stream.set_nodelay(true).unwrap();
        let mut request = format!("ws://localhost:{}{path}", address.port())
            .into_client_request()
            .unwrap();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request
                .headers_mut()
                .append(name, HeaderValue::from_str(value).unwrap());
        }
        let handshake = soon(
            "the handshake",
            tokio_tungstenite::client_async(request, stream),
        )
        .await;
        let (socket, response) =
            handshake.unwrap_or_else(|error| panic!("{path} {headers:?}: {error}"));
        Self { socket, response }
    }

    /// Connected, and the app's open callback with it.
    pub async fn open(gateway: &Gateway, app: &mut App) -> (Self, Json) {
        Self::open_with(gateway, app, "/ws", &[]).await
    }

    pub async fn open_with(
        gateway: &Gateway,
        app: &mut App,
        path: &str,
        headers: &[(&str, &str)],
    ) -> (Self, Json) {
        let client = Self::with(gateway, path, headers).await;
        let open = app.next_of("open").await;
        (client, open.json())
    }

    /// A header of the 101.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap())
    }

    pub async fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    pub async fn send_binary(&mut self, bytes: &[u8]) {
        self.socket
            .send(Message::binary(bytes.to_vec()))
            .await
            .unwrap();
    }

    pub async fn ping(&mut self, payload: &[u8]) {
        self.socket
            .send(Message::Ping(Bytes::copy_from_slice(payload)))
            .await
            .unwrap();
    }

    /// The next message of any kind.
    pub async fn next(&mut self) -> Message {
        let message = soon("a message", self.socket.next()).await;
        message.expect("a message, not the end").unwrap()
    }

    /// The next data message, which has to be text.
    pub async fn text(&mut self) -> String {
        loop {
            match self.next().await {
                Message::Text(text) => return text.to_string(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("expected text, found {other:?}"),
            }
        }
    }

    pub async fn json(&mut self) -> Json {
        serde_json::from_str(&self.text().await).unwrap()
    }

    pub async fn binary(&mut self) -> Vec<u8> {
        match self.next().await {
            Message::Binary(bytes) => bytes.to_vec(),
            other => panic!("expected binary, found {other:?}"),
        }
    }

    /// A round trip that the app does not see: everything before it has been received.
    pub async fn settle(&mut self) {
        self.send(r#"{"event":"ping"}"#).await;
        while self.text().await != r#"{"event":"pong"}"# {}
    }

    /// What was sent before this would be here first.
    pub async fn has_heard_nothing(&mut self) {
        self.send(r#"{"event":"ping"}"#).await;
        assert_eq!(self.text().await, r#"{"event":"pong"}"#);
    }

    /// Reads to the end, which has to be a clean one: the server's close frame, then its end of
    /// the stream. 1005 is a close frame without a code.
    pub async fn closed(&mut self) -> (u16, String) {
        let mut closed = None;
        while let Some(message) = soon("the end of the connection", self.socket.next()).await {
            match message {
                Ok(Message::Close(Some(CloseFrame { code, reason }))) => {
                    closed = Some((code.into(), reason.to_string()));
                }
                Ok(Message::Close(None)) => closed = Some((1005, String::new())),
                Ok(_) => {}
                Err(error) => panic!("the connection broke: {error}"),
            }
        }
        // As a browser does; else the server would wait for it.
        let _ = self.socket.get_mut().shutdown().await;
        closed.expect("a close frame")
    }

    pub async fn close_code(&mut self) -> u16 {
        self.closed().await.0
    }

    /// Closes as a browser does, and waits for the end.
    pub async fn close(mut self, code: u16, reason: &str) -> (u16, String) {
        let frame = CloseFrame {
            code: CloseCode::from(code),
            reason: reason.to_owned().into(),
        };
        self.socket.close(Some(frame)).await.unwrap();
        self.closed().await
    }

    /// Gone without a word: the connection is reset.
    pub fn vanish(self) {
        self.socket.get_ref().set_zero_linger().unwrap();
    }
}

//! A WebSocket client of an app.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value as Json;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::wait::{Look, until};

/// How long an answer may take once the connection stands.
const ANSWER: Duration = Duration::from_secs(30);

pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    /// Connects as `user`. The endpoints of a Service reach a node's rules a moment after the
    /// pods are ready, so a refused connection is tried again.
    pub async fn connect(url: &str, user: &str, cookie: &str) -> Result<Self> {
        let connect = || async {
            let mut request = url.into_client_request()?;
            request.headers_mut().insert("X-BFL-USER", user.parse()?);
            request.headers_mut().insert("Cookie", cookie.parse()?);
            let (socket, _) = connect_async(request).await?;
            Ok(Look::Found(Self { socket }))
        };
        until(&format!("a WebSocket at {url}"), connect).await
    }

    pub async fn send(&mut self, message: &Json) -> Result<()> {
        Ok(self.socket.send(Message::text(message.to_string())).await?)
    }

    /// The next message whose `event` is that.
    pub async fn event(&mut self, event: &str) -> Result<Json> {
        loop {
            match self
                .next()
                .await
                .with_context(|| format!("waiting for the event {event}"))?
            {
                Message::Text(text) => {
                    let message: Json = serde_json::from_str(&text)?;
                    if message["event"] == event {
                        return Ok(message);
                    }
                }
                Message::Close(frame) => {
                    bail!("closed ({frame:?}) while waiting for the event {event}")
                }
                _ => {}
            }
        }
    }

    /// The code and reason that the server closes with.
    pub async fn closed(&mut self) -> Result<(u16, String)> {
        loop {
            if let Message::Close(frame) =
                self.next().await.context("waiting for the close frame")?
            {
                let frame = frame.context("a close frame without a code")?;
                return Ok((frame.code.into(), frame.reason.to_string()));
            }
        }
    }

    async fn next(&mut self) -> Result<Message> {
        let next = tokio::time::timeout(ANSWER, self.socket.next()).await;
        Ok(next
            .with_context(|| format!("nothing came for {ANSWER:?}"))?
            .context("the stream ended")??)
    }
}

//! `ws-attack app`: the app behind the gateway, in a process of its own.
//!
//! It answers bystanders by its answer to the callback or by an admin call, as they ask; what
//! strangers say it takes as apps do, with some effort.

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::bystander::{Ask, By};
use crate::network::{APP_PORT, WEB_PORT};
use crate::wire;

pub(crate) const CALLBACK: &str = "/ws/message";
/// Who has this cookie waits at the auth hook.
pub(crate) const KNOCK: &str = "knock=1";
pub(crate) const TOKEN_FLAG: &str = "--admin-token=the-apps-own-token-of-32-bytes-and-more";
/// How many of those the app was told of it holds for open.
pub(crate) const OPEN: &str = "/open";

const HOOK_TAKES: Duration = Duration::from_secs(3);
/// Messages of that size the app stalls on, without reading them.
const LARGE: u64 = 100_000;
const STALL: Duration = Duration::from_secs(5);
const WS_JSON: &str = "application/vnd.olares.ws+json";

#[derive(Args, Debug)]
pub(crate) struct AppArgs {
    /// Of the gateway's admin API
    #[arg(long)]
    token: Option<String>,
}

#[derive(Debug, Default)]
struct App {
    token: Option<String>,
    open: Mutex<HashSet<String>>,
}

#[derive(Deserialize)]
struct Event {
    action: String,
    conn_id: String,
    #[serde(default)]
    data: serde_json::Value,
}

pub(crate) fn main(args: AppArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let app = Arc::new(App {
            token: args.token,
            ..App::default()
        });
        let callbacks = listen(Ipv4Addr::LOCALHOST, APP_PORT).await?;
        let web = listen(Ipv4Addr::UNSPECIFIED, WEB_PORT).await?;
        tokio::join!(serve(&app, callbacks), serve(&app, web));
        Ok(())
    })
}

async fn listen(ip: Ipv4Addr, port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::new(IpAddr::V4(ip), port)).await
}

async fn serve(app: &Arc<App>, listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        tokio::spawn(converse(Arc::clone(app), stream));
    }
}

async fn converse(app: Arc<App>, mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut first = [0];
    if matches!(stream.peek(&mut first).await, Ok(1)) && first == [0x16] {
        // A TLS server waits for the rest of the handshake.
        while matches!(stream.read(&mut [0; 4096]).await, Ok(1..)) {}
        return;
    }
    let service = service_fn(move |request| {
        let app = Arc::clone(&app);
        async move { Ok::<_, Infallible>(app.answer(request).await) }
    });
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

impl App {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let cookies = request.headers().get_all(http::header::COOKIE);
        let knocks = cookies.iter().any(|cookie| cookie == KNOCK);
        match (request.method(), request.uri().path()) {
            (&Method::POST, CALLBACK) => self.callback(request).await,
            (_, "/ws/auth") if knocks => {
                tokio::time::sleep(HOOK_TAKES).await;
                plain(StatusCode::UNAUTHORIZED, "")
            }
            (_, OPEN) => {
                let open = self.open.lock().expect("nobody panics").len();
                plain(StatusCode::OK, open.to_string())
            }
            _ => plain(StatusCode::OK, "the app\n"),
        }
    }

    async fn callback(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.body().size_hint().lower() > LARGE {
            tokio::time::sleep(STALL).await;
        }
        let mut body = request.into_body();
        let mut start = Vec::new();
        while let Some(Ok(part)) = body.frame().await {
            let room = usize::try_from(LARGE).unwrap_or(0) - start.len();
            let data = part.into_data().unwrap_or_default();
            start.extend_from_slice(&data[..data.len().min(room)]);
        }
        let Ok(event) = serde_json::from_slice::<Event>(&start) else {
            return plain(StatusCode::OK, "");
        };
        self.remember(&event);
        if let Some(size) = event.data["want"].as_u64() {
            let filling = "x".repeat(usize::try_from(size).unwrap_or(0));
            return reply(&json!({ "reply": filling }));
        }
        let Ok(Ask { seq, by }) = serde_json::from_value(event.data) else {
            return plain(StatusCode::OK, "");
        };
        match by {
            By::Reply => reply(&json!({ "reply": { "seq": seq } })),
            By::Send => {
                let message = json!({ "conn_id": event.conn_id, "payload": { "seq": seq } });
                // Where the admin API does not take it, the bystander misses it, and says so.
                let _ = self.send(&message.to_string()).await;
                plain(StatusCode::OK, "")
            }
        }
    }

    fn remember(&self, event: &Event) {
        let mut open = self.open.lock().expect("nobody panics");
        match event.action.as_str() {
            "open" => drop(open.insert(event.conn_id.clone())),
            "close" => drop(open.remove(&event.conn_id)),
            _ => {}
        }
    }

    /// An admin call over a connection of its own, as simple apps do it.
    async fn send(&self, body: &str) -> std::io::Result<()> {
        let port = stanza::env::CLIENT_PORT;
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        let authorization = match &self.token {
            Some(token) => format!("Authorization: Bearer {token}\r\n"),
            None => String::new(),
        };
        let request = format!(
            "POST /tapr/ws/conn/send HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\n{authorization}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        match wire::status(&mut answer.as_slice()).await? {
            200 => Ok(()),
            status => Err(std::io::Error::other(format!("status {status}"))),
        }
    }
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

fn reply(body: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = plain(StatusCode::OK, body.to_string());
    let kind = http::HeaderValue::from_static(WS_JSON);
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, kind);
    response
}

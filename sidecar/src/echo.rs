//! `ws-gateway echo`: the smallest app there is, to try a gateway with. It keeps nothing.

use std::convert::Infallible;
use std::net::SocketAddr;

use anyhow::Context;
use clap::Args;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::callback::answer::CONTENT_TYPE as ACTIONS;
use crate::reply::{self, Reply};

/// More than a gateway's own limit of a message.
const LONGEST: usize = 16 << 20;

#[derive(Args, Clone, Debug)]
pub(crate) struct EchoArgs {
    /// Where the gateway posts to, on any path
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8888")]
    listen: SocketAddr,
}

#[derive(Deserialize)]
struct Callback<'a> {
    action: &'a str,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

pub(crate) fn main(args: &EchoArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(args))
}

#[allow(clippy::print_stdout, reason = "a command for people")]
async fn run(args: &EchoArgs) -> anyhow::Result<()> {
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    // The first process of a container hears SIGTERM only if it asks to.
    let mut end = signal(SignalKind::terminate())?;
    println!(
        "callbacks are answered at http://{}",
        listener.local_addr()?
    );
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = end.recv() => return Ok(()),
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let (stream, _) = accepted.context("cannot accept a connection")?;
                let service = service_fn(|request| async { Ok::<_, Infallible>(answer(request).await) });
                let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                connections.spawn(async move { connection.await.is_ok() });
            }
        }
    }
}

async fn answer(request: Request<Incoming>) -> Reply {
    if request.method() != Method::POST {
        return nothing(StatusCode::NO_CONTENT);
    }
    let Ok(body) = Limited::new(request.into_body(), LONGEST).collect().await else {
        return nothing(StatusCode::BAD_REQUEST);
    };
    let body = body.to_bytes();
    match serde_json::from_slice::<Callback<'_>>(&body) {
        Ok(Callback {
            action: "message",
            data: Some(data),
        }) => {
            let body = format!(r#"{{"reply":{}}}"#, data.get());
            reply::with_type(StatusCode::OK, ACTIONS, body)
        }
        Ok(_) => nothing(StatusCode::NO_CONTENT),
        Err(_) => nothing(StatusCode::BAD_REQUEST),
    }
}

fn nothing(status: StatusCode) -> Reply {
    let mut reply = Reply::default();
    *reply.status_mut() = status;
    reply
}

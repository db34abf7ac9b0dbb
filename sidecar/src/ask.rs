//! One question to the gateway that runs beside this process, on its operations port.
//!
//! A program of its own and not an HTTP probe or hook of Kubernetes, because an Envoy that captures
//! the pod's inbound traffic (Olares up to 1.12.6) would answer in our place.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

#[derive(Args, Clone, Debug)]
pub(crate) struct Whom {
    /// The gateway's /healthz address
    #[arg(
        long,
        env = "WS_OPS_LISTEN",
        value_name = "ADDRESS",
        default_value = "[::]:40011"
    )]
    ops_listen: SocketAddr,
}

/// Any answer but success is an error.
pub(crate) async fn ask(whom: &Whom, method: Method, path: &str) -> anyhow::Result<()> {
    let port = whom.ops_listen.port();
    let stream = TcpStream::connect(("localhost", port))
        .await
        .with_context(|| format!("port {port}"))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "localhost")
        .body(Empty::<Bytes>::new())?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        anyhow::Ok((status, body))
    };
    let (status, body) = tokio::select! {
        result = exchange => result?,
        result = connection => { result?; bail!("the gateway hung up") }
    };
    if !status.is_success() {
        bail!(
            "{path}: {status}: {}",
            String::from_utf8_lossy(&body).trim()
        );
    }
    Ok(())
}

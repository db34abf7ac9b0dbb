//! `ws-gateway healthcheck`: a probe that needs no shell, no curl and no open port of its own.
//!
//! Exec instead of httpGet because an Envoy that captures the pod's inbound traffic (Olares up to
//! 1.12.6) would answer in our place.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use http::{Request, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

#[derive(Args, Clone, Debug)]
pub(crate) struct HealthcheckArgs {
    /// Ask whether it is ready for clients, not only whether it is alive
    #[arg(long)]
    ready: bool,
    /// The gateway's /healthz address
    #[arg(
        long,
        env = "WS_OPS_LISTEN",
        value_name = "ADDRESS",
        default_value = "[::]:40011"
    )]
    ops_listen: SocketAddr,
    /// How long it may take
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    timeout: u64,
}

pub(crate) fn main(args: &HealthcheckArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let patience = Duration::from_secs(args.timeout);
    let checked = runtime.block_on(async { tokio::time::timeout(patience, check(args)).await });
    checked.with_context(|| format!("no answer within {patience:?}"))?
}

async fn check(args: &HealthcheckArgs) -> anyhow::Result<()> {
    let port = args.ops_listen.port();
    let stream = TcpStream::connect(("localhost", port))
        .await
        .with_context(|| format!("port {port}"))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let path = if args.ready { "/readyz" } else { "/healthz" };
    let request = Request::get(path)
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

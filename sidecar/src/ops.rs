//! `/healthz`, `/readyz` and `/metrics`, on a port of their own; for the pod's own processes also
//! `/drain`.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use http::{Method, Request, StatusCode, header};
use telemetry::exposition::Format;

use crate::admin::{self, guard};
use crate::drain;
use crate::reply::{Reply, error, with_type};
use crate::server::Server;

pub(crate) async fn route<B>(server: &Server, peer: SocketAddr, request: &Request<B>) -> Reply {
    match request.uri().path() {
        "/healthz" => with_type(StatusCode::OK, "text/plain", "ok\n"),
        "/readyz" => match not_ready(server) {
            None => with_type(StatusCode::OK, "text/plain", "ok\n"),
            Some(why) => error(StatusCode::SERVICE_UNAVAILABLE, why),
        },
        "/metrics" => {
            let accept = request.headers().get(header::ACCEPT);
            let format = Format::accepted(accept.and_then(|accept| accept.to_str().ok()));
            let buffered = server.gateway.budget.used();
            let text = server.gateway.metrics.write(format, buffered);
            with_type(StatusCode::OK, format.content_type(), text)
        }
        drain::PATH => match guard::from_the_pod(request, peer) {
            Ok(()) if request.method() == Method::POST => drained(server).await,
            Ok(()) => error(StatusCode::METHOD_NOT_ALLOWED, "expected POST"),
            Err(refusal) => admin::refuse(&refusal),
        },
        _ => error(
            StatusCode::NOT_FOUND,
            "expected /healthz, /readyz or /metrics",
        ),
    }
}

async fn drained(server: &Server) -> Reply {
    match server.drain.ask().await {
        0 => with_type(StatusCode::OK, "text/plain", "all connections are closed\n"),
        left => {
            let message = format!("{left} connections could not be closed in time");
            error(StatusCode::GATEWAY_TIMEOUT, &message)
        }
    }
}

fn not_ready(server: &Server) -> Option<&'static str> {
    if server.gateway.is_draining() {
        return Some("shutting down");
    }
    // Without a key the pod is ready all the same: its app is not to go because of ours. Upgrades
    // are refused meanwhile.
    (!server.open.load(Ordering::Acquire) && !server.waits_for_key())
        .then_some("telling the app of connections that an earlier run left open")
}

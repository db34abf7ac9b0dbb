//! `/healthz`, `/readyz` and `/metrics`, on a port of their own; for the pod's own processes also
//! `/drain`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Method, Request, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{self, guard};
use crate::drain;
use crate::reply::{Reply, error, with_type};
use crate::server::Server;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PATIENCE: Duration = Duration::from_secs(10);
const LAST_ANSWER: Duration = Duration::from_secs(1);

pub(crate) async fn serve(
    server: Arc<Server>,
    listener: TcpListener,
    connections: TaskTracker,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let server = Arc::clone(&server);
        let stop = stop.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let server = Arc::clone(&server);
                async move { Ok::<_, Infallible>(route(&server, peer, &request).await) }
            });
            let mut connection = pin!(
                http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(PATIENCE)
                    .serve_connection(TokioIo::new(stream), service)
            );
            tokio::select! {
                // A scraper that hung up is nobody's problem.
                _ = connection.as_mut() => {}
                () = stop.cancelled() => {
                    // A hook still hears how the drain went.
                    connection.as_mut().graceful_shutdown();
                    let _ = tokio::time::timeout(LAST_ANSWER, connection).await;
                }
            }
        });
    }
}

async fn route<B>(server: &Server, peer: SocketAddr, request: &Request<B>) -> Reply {
    match request.uri().path() {
        "/healthz" => with_type(StatusCode::OK, "text/plain", "ok\n"),
        "/readyz" => match not_ready(server) {
            None => with_type(StatusCode::OK, "text/plain", "ok\n"),
            Some(why) => error(StatusCode::SERVICE_UNAVAILABLE, why),
        },
        "/metrics" => {
            let text = server.gateway.metrics.render(server.gateway.budget.used());
            with_type(StatusCode::OK, OPEN_METRICS, text)
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
    (!server.open.load(Ordering::Acquire))
        .then_some("telling the app of connections that an earlier run left open")
}

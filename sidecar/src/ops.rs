//! `/healthz`, `/readyz` and `/metrics`, on a port of their own.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Request, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::reply::{Reply, error, with_type};
use crate::server::Server;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PATIENCE: Duration = Duration::from_secs(10);

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
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let server = Arc::clone(&server);
        let stop = stop.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let reply = route(&server, &request);
                async move { Ok::<_, Infallible>(reply) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                // A scraper that hung up is nobody's problem.
                _ = connection => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

fn route<B>(server: &Server, request: &Request<B>) -> Reply {
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
        _ => error(
            StatusCode::NOT_FOUND,
            "expected /healthz, /readyz or /metrics",
        ),
    }
}

fn not_ready(server: &Server) -> Option<&'static str> {
    if server.gateway.is_draining() {
        return Some("shutting down");
    }
    (!server.open.load(Ordering::Acquire))
        .then_some("telling the app of connections that an earlier run left open")
}

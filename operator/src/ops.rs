//! /healthz, /readyz and /metrics.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use telemetry::exposition::Format;
use tokio::sync::watch;

use crate::cluster::Cluster;
use crate::metrics::Metrics;

/// What must hold before the API server may send pods to this replica.
#[derive(Clone)]
pub struct Readiness {
    pub cluster: Arc<Cluster>,
    pub trusted: watch::Receiver<bool>,
}

impl Readiness {
    /// What is still missing, in words.
    fn missing(&self) -> Vec<&'static str> {
        let latches = [
            (self.cluster.knows_claims(), "AppManifests and Services"),
            (*self.trusted.borrow(), "certificate and caBundle"),
        ];
        latches
            .into_iter()
            .filter(|(holds, _)| !holds)
            .map(|(_, name)| name)
            .collect()
    }
}

pub fn answer(
    request: &Request<Incoming>,
    readiness: &Readiness,
    metrics: &Metrics,
) -> Response<Full<Bytes>> {
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => match readiness.missing().as_slice() {
            [] => text(StatusCode::OK, "ready\n".to_owned()),
            missing => {
                let waiting = format!("waiting for {}\n", missing.join(", "));
                text(StatusCode::SERVICE_UNAVAILABLE, waiting)
            }
        },
        "/metrics" => {
            let accept = request.headers().get(header::ACCEPT);
            let format = Format::accepted(accept.and_then(|accept| accept.to_str().ok()));
            let mut response = text(StatusCode::OK, metrics.write(format));
            let kind = HeaderValue::from_static(format.content_type());
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        _ => text(StatusCode::NOT_FOUND, "not found\n".to_owned()),
    }
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}

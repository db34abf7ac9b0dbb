//! Admission: the API server asks about each new pod, and is answered from memory.
//!
//! No API client here: what the webhook has to say beyond its answer goes through the notices'
//! queue. Whatever goes wrong, the pod is let in.

mod admit;
mod review;
mod subject;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;
use tracing::warn;

use crate::cluster::Cluster;
use crate::events::{Notice, Notices};
use crate::injection::Rules;
use crate::metrics::Metrics;
use crate::reason::Reason;

pub use admit::{Answer, admit};

/// Where the API server posts reviews of pods.
pub const PODS: &str = "/pods";
/// Where it posts reviews of Services that we led to a gateway.
pub const SERVICES: &str = "/services";
/// Where it posts reviews of AppManifests: warnings for the author, and our self-probe.
pub const MANIFESTS: &str = "/appmanifests";
/// On a dry-run AppManifest: shows that admission reaches us.
pub const PROBE: &str = "ws.olares.com/probe";

/// The API server sends objects of at most 3 MiB, twice in an update.
const LONGEST: usize = 8 << 20;
/// How long a pod may be kept waiting: well below the API server's own patience of 3 s.
const PATIENCE: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

type Reply = Response<Full<Bytes>>;

pub struct Webhook {
    pub cluster: Arc<Cluster>,
    pub rules: Rules,
    pub notices: Notices,
    pub metrics: Metrics,
    /// Pods that ask by label are told of by a source.
    pub by_label: bool,
}

impl Webhook {
    pub async fn handle(&self, request: Request<Incoming>) -> Reply {
        let started = Instant::now();
        let path = request.uri().path().to_owned();
        if request.method() != Method::POST || ![PODS, SERVICES, MANIFESTS].contains(&path.as_str())
        {
            return status(StatusCode::NOT_FOUND);
        }
        let body = match Limited::new(request.into_body(), LONGEST).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => {
                // The failurePolicy lets the pod in.
                warn!(%error, "an admission review could not be read");
                return status(StatusCode::BAD_REQUEST);
            }
        };
        let answer = async {
            match path.as_str() {
                PODS => self.pod(&body).await,
                SERVICES => self.service(&body),
                _ => self.manifest(&body),
            }
        };
        let response = self.whatever_happens(&body, answer).await;
        self.metrics
            .admission_latency
            .observe(started.elapsed().as_secs_f64());
        response
    }

    /// An error of ours, a panic included, lets the object in: with a warning where the review is
    /// readable at all, else by the failurePolicy.
    async fn whatever_happens(
        &self,
        body: &[u8],
        answer: impl Future<Output = serde_json::Result<Reply>>,
    ) -> Reply {
        let why = match AssertUnwindSafe(answer).catch_unwind().await {
            Ok(Ok(reply)) => return reply,
            Ok(Err(error)) => format!("the review could not be read: {error}"),
            Err(_) => "a bug in the operator; its log has the details".to_owned(),
        };
        warn!(why, "an admission review could not be answered");
        let answer = admit::failed(Reason::InternalError, &why);
        self.metrics.admitted(answer.decision, answer.reason);
        self.tell_failure(body, &answer);
        review::allow_anyhow(body, &answer.warnings)
            .and_then(|answer| json(&answer).ok())
            .unwrap_or_else(|| status(StatusCode::BAD_REQUEST))
    }

    async fn pod(&self, body: &[u8]) -> serde_json::Result<Reply> {
        let review = review::Review::parse(body)?;
        let answer = self.decide(&review).await;
        self.metrics.admitted(answer.decision, answer.reason);
        self.tell_failure(body, &answer);
        if !review.dry_run() {
            for notice in answer.notices {
                self.notices.tell(notice);
            }
        }
        json(&review.answer(answer.patch.as_ref(), &answer.warnings)?)
    }

    /// The object is let in without anybody at its side to read a warning, most of the time.
    fn tell_failure(&self, body: &[u8], answer: &Answer) {
        let Some(message) = answer.failure.clone() else {
            return;
        };
        if let Some(regarding) = subject::of_anything(body, &self.cluster) {
            self.notices.tell(Notice {
                regarding,
                reason: answer.reason,
                message,
            });
        }
    }

    /// Waits a little where the pod's app is about to be known: a pod that came too early would
    /// have to be restarted.
    async fn decide(&self, review: &review::Review<'_>) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        let namespace = review.namespace();
        let settled = self.cluster.pending.settled(namespace);
        // Too late is no error: the pod is decided on with what is known.
        let _ = tokio::time::timeout_at(deadline, settled).await;
        loop {
            let answer = admit(review, &self.cluster, &self.rules);
            let early = self.awaits_service(namespace, &answer)
                || self.by_label && self.awaits_source(namespace, &answer);
            if !early || Instant::now() >= deadline {
                return answer;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn awaits_service(&self, namespace: &str, answer: &Answer) -> bool {
        let claims = || self.cluster.claims(namespace);
        answer.reason == Reason::NotEntrance && claims().awaits_service(Timestamp::now())
    }

    /// The pod asks by label, and its AppManifest is not there or does not know its Service yet.
    fn awaits_source(&self, namespace: &str, answer: &Answer) -> bool {
        let Some(workload) = &answer.asks else {
            return false;
        };
        match self.cluster.apps.get(namespace, &workload.name) {
            Some(app) => app.service().is_none() && app.is_young(Timestamp::now()),
            None => true,
        }
    }

    fn service(&self, body: &[u8]) -> serde_json::Result<Reply> {
        let review = review::Review::parse(body)?;
        let patch = admit::service(&review, &self.cluster, &self.rules);
        json(&review.answer(patch.as_ref(), &[])?)
    }

    fn manifest(&self, body: &[u8]) -> serde_json::Result<Reply> {
        let review = review::Review::parse(body)?;
        let said = admit::manifest(&review);
        if let Some(notice) = said.notice
            && !review.dry_run()
        {
            self.notices.tell(notice);
        }
        json(&review.answer(said.patch.as_ref(), &said.warnings)?)
    }
}

fn json(value: &serde_json::Value) -> serde_json::Result<Reply> {
    let mut response = Response::new(Full::from(serde_json::to_vec(value)?));
    let json = http::HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, json);
    Ok(response)
}

fn status(status: StatusCode) -> Reply {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests;

//! Admission: the API server asks about each new pod, and is answered from memory.
//!
//! No API client here: what the webhook has to say beyond its answer goes through the notices'
//! queue. Whatever goes wrong, the pod is let in. Nobody but the API server knows where to ask.

mod admit;
pub mod door;
mod review;
pub mod strangers;
mod subject;

use std::net::{IpAddr, Ipv4Addr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{CONNECTION, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use k8s_openapi::jiff::Timestamp;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tracing::warn;

use crate::cluster::Cluster;
use crate::events::{Notice, Notices};
use crate::injection::Rules;
use crate::metrics::{Metrics, TurnedAway};
use crate::reason::Reason;
use crate::server::{Caller, Ending, Limits, Server};
use door::{About, Door};
use strangers::Strangers;

pub use admit::{Answer, admit};

/// On a dry-run AppManifest: shows that admission reaches us.
pub const PROBE: &str = "ws.olares.com/probe";

/// The API server sends objects of at most 3 MiB, twice in an update.
const LONGEST: usize = 8 << 20;
/// Bodies are counted in these.
const UNIT: usize = 1 << 10;
/// Of bodies that are held at once: 32 MiB.
const UNITS: usize = (32 << 20) / UNIT;
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
    pub door: Arc<Door>,
    pub strangers: Arc<Strangers>,
    /// For a request's body.
    pub patience: Duration,
    pub bodies: Bodies,
}

/// What may still be read. Routed namespaces have a share of their own, as whose pod was refused
/// there knows that path.
pub struct Bodies {
    installed: Semaphore,
    entrance: Semaphore,
}

/// A request's body, and the room that it takes.
struct Body<'a> {
    bytes: Bytes,
    _room: SemaphorePermit<'a>,
}

impl Webhook {
    /// What serves it.
    pub fn server(
        self: Arc<Self>,
        tls: TlsAcceptor,
        limits: Limits,
        ending: Ending,
    ) -> Server<impl Fn(Request<Incoming>) -> BoxFuture<'static, Reply>, impl Fn(TurnedAway, IpAddr)>
    {
        let strangers = Arc::clone(&self.strangers);
        let webhook = self;
        Server {
            tls: Some(tls),
            handler: move |request| {
                let webhook = Arc::clone(&webhook);
                async move { webhook.handle(request).await }.boxed()
            },
            limits,
            ending,
            on_turned_away: move |why, address| strangers.turned_away(why, address),
        }
    }

    pub async fn handle(&self, request: Request<Incoming>) -> Reply {
        let started = Instant::now();
        let caller = request.extensions().get::<Caller>().cloned();
        let address = caller.as_ref().map(|caller| caller.address);
        let turned_away = |why, code| {
            let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            self.strangers.turned_away(why, address);
            last(code)
        };
        let path = request.uri().path().to_owned();
        let about = self.door.opens(&path);
        let Some(about) = about.filter(|_| request.method() == Method::POST) else {
            return turned_away(TurnedAway::UnknownPath, StatusCode::NOT_FOUND);
        };
        if let Some(caller) = caller {
            caller.is_known();
        }
        let body = match self.read(request, about).await {
            Ok(body) => body,
            Err(StatusCode::BAD_REQUEST) => return last(StatusCode::BAD_REQUEST),
            Err(code @ StatusCode::REQUEST_TIMEOUT) => return turned_away(TurnedAway::Late, code),
            Err(code) => return turned_away(TurnedAway::TooLarge, code),
        };
        let answer = async {
            match about {
                About::Pods => self.pod(&body.bytes, None).await,
                About::Entrance(namespace) => self.pod(&body.bytes, namespace).await,
                About::Services => self.service(&body.bytes),
                About::Manifests => self.manifest(&body.bytes),
            }
        };
        let response = self.whatever_happens(&body.bytes, answer).await;
        self.metrics
            .admission_latency
            .observe(started.elapsed().as_secs_f64());
        response
    }

    /// In time, and only as much as there is room for. What cannot be read is let in by the
    /// failurePolicy.
    async fn read(
        &self,
        request: Request<Incoming>,
        about: About<'_>,
    ) -> Result<Body<'_>, StatusCode> {
        let deadline = Instant::now() + self.patience;
        let body = request.into_body();
        // Whose length is not declared may be as long as any.
        let declared = body.size_hint().exact().unwrap_or(LONGEST as u64);
        let length = usize::try_from(declared).unwrap_or(usize::MAX);
        if length > LONGEST {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        let room = self.bodies.room(about, length);
        let Ok(Some(room)) = tokio::time::timeout_at(deadline, room).await else {
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        };
        let read = Limited::new(body, LONGEST).collect();
        match tokio::time::timeout_at(deadline, read).await {
            Ok(Ok(whole)) => Ok(Body {
                bytes: whole.to_bytes(),
                _room: room,
            }),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
            Ok(Err(error)) => {
                warn!(%error, "an admission review could not be read");
                Err(StatusCode::BAD_REQUEST)
            }
            Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
        }
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

    /// `namespace`: whose path it was asked by. Another's is none of its business.
    async fn pod(&self, body: &[u8], namespace: Option<&str>) -> serde_json::Result<Reply> {
        let review = review::Review::parse(body)?;
        if namespace.is_some_and(|namespace| namespace != review.namespace()) {
            return Ok(last(StatusCode::FORBIDDEN));
        }
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

impl Default for Bodies {
    fn default() -> Self {
        Self {
            installed: Semaphore::new(UNITS * 3 / 4),
            entrance: Semaphore::new(UNITS / 4),
        }
    }
}

impl Bodies {
    async fn room(&self, about: About<'_>, length: usize) -> Option<SemaphorePermit<'_>> {
        let share = match about {
            About::Entrance(_) => &self.entrance,
            About::Pods | About::Services | About::Manifests => &self.installed,
        };
        let units = u32::try_from(length.div_ceil(UNIT)).ok()?;
        share.acquire_many(units).await.ok()
    }
}

/// Nothing more is heard on that connection.
fn last(code: StatusCode) -> Reply {
    let mut reply = status(code);
    let close = HeaderValue::from_static("close");
    reply.headers_mut().insert(CONNECTION, close);
    reply
}

fn status(status: StatusCode) -> Reply {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests;

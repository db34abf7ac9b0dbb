//! Connections to the app: kept alive, few while it answers fast, more only while it holds
//! requests.
//!
//! A request drives its own connection, so that no task has to be woken to write or read it.
//! Two limits apply: `FAST` requests may be under way that the app has had for less than
//! `SLOW_AFTER`, and `callback.concurrency` in all. A request that takes longer gives its fast
//! place to the next one; so slow handlers never stop the others, and a thousand events at once
//! do not become a thousand connections to an app that answers in a millisecond.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use stanza::settings::Callback;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{Answer, SendError, Transport, answer};
use crate::app_connection::AppConnection;

const FAST: usize = 32;
const SLOW_AFTER: Duration = Duration::from_millis(20);
/// Below the five seconds after which Node closes an idle connection, the shortest of the usual
/// servers.
const MAX_IDLE: Duration = Duration::from_secs(4);
/// An app that hangs with a full backlog lets the kernel drop what knocks: it has not got anything.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// An answer that acts may be as large as an admin request; any other is read to keep the
/// connection, up to the same size.
const MAX_ANSWER: usize = 16 << 20;

#[derive(Debug)]
pub struct AppClient {
    port: u16,
    timeout: Duration,
    fast: Semaphore,
    all: Semaphore,
    idle: Mutex<Vec<AppConnection<Full<Bytes>>>>,
    /// Which family answered last: `localhost` is both.
    prefer_v6: AtomicBool,
}

impl AppClient {
    pub fn new(port: u16, settings: &Callback) -> Self {
        let all = usize::try_from(settings.concurrency)
            .unwrap_or(usize::MAX)
            .clamp(1, Semaphore::MAX_PERMITS);
        Self {
            port,
            timeout: settings.timeout,
            fast: Semaphore::new(FAST.min(all)),
            all: Semaphore::new(all),
            idle: Mutex::new(Vec::new()),
            prefer_v6: AtomicBool::new(false),
        }
    }

    /// The whole answer of the app, for the auth hook; `None` as body where it was too large.
    pub async fn fetch(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, SendError> {
        let _place = self
            .all
            .acquire()
            .await
            .map_err(|error| SendError::NotTaken(error.to_string()))?;
        let exchange = self.exchange(request, |_| true);
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(result) => {
                result.map(|(parts, body)| Response::from_parts(parts, body.unwrap_or_default()))
            }
            Err(_) => Err(SendError::Timeout(self.timeout)),
        }
    }

    /// One request and its answer. The body is returned only where `wanted` says so.
    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        wanted: impl Fn(&HeaderMap) -> bool,
    ) -> Result<(http::response::Parts, Option<Bytes>), SendError> {
        let mut connection = match self.take_idle() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let response = connection.send(request).await?;
        let (parts, body) = response.into_parts();
        let body = connection
            .read(collect(body, wanted(&parts.headers)))
            .await?;
        if let Ok(body) = body {
            self.keep(connection);
            return Ok((parts, body));
        }
        // Longer than anything that could act: the status counts, the connection is not kept.
        Ok((parts, None))
    }

    fn take_idle(&self) -> Option<AppConnection<Full<Bytes>>> {
        let now = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(mut connection) = idle.pop() {
            if connection.is_usable(now, MAX_IDLE) {
                return Some(connection);
            }
            // The ones below have been idle for longer still.
            if connection.idle_for(now) > MAX_IDLE {
                idle.clear();
            }
        }
        None
    }

    fn keep(&self, mut connection: AppConnection<Full<Bytes>>) {
        if connection.set_idle(Instant::now()) {
            self.idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(connection);
        }
    }

    async fn connect(&self) -> Result<AppConnection<Full<Bytes>>, SendError> {
        let v6_first = self.prefer_v6.load(Ordering::Relaxed);
        // Both families within the time for an answer, which would count as delivered.
        let patience = CONNECT_WITHIN.min(self.timeout / 4);
        let mut refused = String::new();
        for v6 in [v6_first, !v6_first] {
            let ip = if v6 {
                IpAddr::V6(Ipv6Addr::LOCALHOST)
            } else {
                IpAddr::V4(Ipv4Addr::LOCALHOST)
            };
            let connecting = TcpStream::connect(SocketAddr::new(ip, self.port));
            let connected = tokio::time::timeout(patience, connecting).await;
            match connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
                Ok(stream) => {
                    self.prefer_v6.store(v6, Ordering::Relaxed);
                    return AppConnection::new(stream).await;
                }
                Err(error) => {
                    if !refused.is_empty() {
                        refused.push_str(", ");
                    }
                    let _ = write!(refused, "{ip} port {}: {error}", self.port);
                }
            }
        }
        Err(SendError::NotTaken(refused))
    }
}

impl Transport for AppClient {
    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, SendError> {
        let closed = |error: tokio::sync::AcquireError| SendError::NotTaken(error.to_string());
        let _place = self.all.acquire().await.map_err(closed)?;
        let mut fast = Some(self.fast.acquire().await.map_err(closed)?);
        let mut exchange = pin!(self.exchange(request, acts));
        let started = Instant::now();
        let mut timer = pin!(tokio::time::sleep_until(
            started + SLOW_AFTER.min(self.timeout)
        ));
        let (parts, body) = std::future::poll_fn(|context| {
            if let Poll::Ready(result) = exchange.as_mut().poll(context) {
                return Poll::Ready(result);
            }
            while timer.as_mut().poll(context).is_ready() {
                if fast.take().is_none() || self.timeout <= SLOW_AFTER {
                    return Poll::Ready(Err(SendError::Timeout(self.timeout)));
                }
                timer.as_mut().reset(started + self.timeout);
            }
            Poll::Pending
        })
        .await?;
        let retry_after = (parts.status == http::StatusCode::SERVICE_UNAVAILABLE)
            .then(|| retry_after(&parts.headers))
            .flatten();
        Ok(Answer {
            status: parts.status,
            retry_after,
            action: body,
        })
    }
}

/// Reads a body to its end, as the connection cannot be used again before. `Err`: too long.
async fn collect(
    body: Incoming,
    wanted: bool,
) -> Result<Option<Bytes>, Box<dyn std::error::Error + Send + Sync>> {
    let body = Limited::new(body, MAX_ANSWER);
    if wanted {
        return body
            .collect()
            .await
            .map(|collected| Some(collected.to_bytes()));
    }
    let mut body = pin!(body);
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(None)
}

fn acts(headers: &HeaderMap) -> bool {
    let essence = |value: &str| {
        value
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase()
    };
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| essence(value) == answer::CONTENT_TYPE)
}

/// RFC 9110 §10.2.3: seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    value.parse().ok().map(Duration::from_secs).or_else(|| {
        let when = httpdate::parse_http_date(value).ok()?;
        Some(
            when.duration_since(std::time::SystemTime::now())
                .unwrap_or_default(),
        )
    })
}

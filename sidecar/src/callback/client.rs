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
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use stanza::settings::Callback;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::event::{Action, Outgoing};
use super::{Answer, SendError, Signer, Transport};
use crate::app_pool::AppPool;
use crate::threads::made_on;
use connection::{AppConnection, Request};
use knocking::Knocking;
use places::{Places, most_of, place};
use response::{Response, Want};

mod connection;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod knocking;
mod places;
mod response;

const FAST: usize = 40;
/// Of these, for those who come and go: a crowd at the door keeps no message waiting.
const AT_THE_DOOR: usize = 8;
const SLOW_AFTER: Duration = Duration::from_millis(20);
/// An app that hangs with a full backlog lets the kernel drop what knocks: it has not got anything.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct AppClient {
    port: u16,
    timeout: Duration,
    /// Bytes of an answer's body.
    max_answer: usize,
    /// `None`: callbacks are not signed.
    signer: Option<Signer>,
    at_the_door: Places,
    fast: Places,
    all: Semaphore,
    knocking: Knocking,
    pool: AppPool<AppConnection>,
    /// Where its sockets are watched.
    threads: Handle,
    /// Which family answered last: `localhost` is both.
    prefer_v6: AtomicBool,
}

/// Why the auth hook has no answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// Too many are asked about at once.
    Busy,
    Failed(SendError),
}

/// An answer as it came.
#[derive(Debug)]
pub struct Fetched {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl AppClient {
    /// An answer that is longer than `max_answer` acts on nothing.
    pub fn new(port: u16, settings: &Callback, max_answer: usize, signer: Option<Signer>) -> Self {
        let places = |setting: NonZeroU32| (setting.get() as usize).min(Semaphore::MAX_PERMITS);
        let all = places(settings.concurrency);
        Self {
            port,
            timeout: settings.timeout,
            max_answer,
            signer,
            at_the_door: Places::new(AT_THE_DOOR, most_of(AT_THE_DOOR)),
            fast: Places::new(FAST.min(all), most_of(FAST.min(all))),
            all: Semaphore::new(all),
            knocking: Knocking::new(places(settings.auth_concurrency)),
            pool: AppPool::new(settings.keep_alive, all),
            threads: Handle::current(),
            prefer_v6: AtomicBool::new(false),
        }
    }

    pub fn signer(&self) -> Option<&Signer> {
        self.signer.as_ref()
    }

    /// Closes connections that have rested for long enough.
    pub(crate) async fn run(&self, stop: &CancellationToken) {
        self.pool.run(stop).await;
    }

    /// Asks about one who knocks, and returns the whole answer, for the auth hook.
    pub async fn fetch(&self, head: &[u8], of: IpAddr) -> Result<Fetched, NoAnswer> {
        let Some(knock) = self.knocking.enter(of) else {
            return Err(NoAnswer::Busy);
        };
        let exchange = async {
            let _turn = knock.turn().await?;
            self.exchange([head, b"", b"", b""], Want::Everything).await
        };
        let timed = tokio::time::timeout(self.timeout, exchange).await;
        let answered = timed.unwrap_or(Err(SendError::Timeout(self.timeout)));
        let response = answered.map_err(NoAnswer::Failed)?;
        let (status, headers) = (response.status, response.headers);
        Ok(Fetched {
            status,
            headers,
            body: response.body.unwrap_or_default(),
        })
    }

    async fn exchange(&self, request: Request<'_>, want: Want) -> Result<Response, SendError> {
        let (mut connection, rested) = match self.pool.take() {
            Some((connection, rested)) => (connection, Some(rested)),
            None => (self.connect().await?, None),
        };
        let answered = connection.exchange(&request, want, self.max_answer).await;
        let response = match answered {
            Ok(response) => response,
            Err(error) => {
                if let Some(rested) = rested.filter(|_| matches!(error, SendError::InDoubt(_))) {
                    self.pool.hung_up(rested);
                }
                return Err(error);
            }
        };
        if response.reusable {
            self.pool.keep(connection, response.keep_alive);
        }
        Ok(response)
    }

    async fn connect(&self) -> Result<AppConnection, SendError> {
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
            let connecting = made_on(&self.threads, connecting);
            let connected = tokio::time::timeout(patience, connecting).await;
            match connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
                Ok(stream) => {
                    self.prefer_v6.store(v6, Ordering::Relaxed);
                    return Ok(AppConnection::new(stream, Instant::now()));
                }
                Err(error) => {
                    if !refused.is_empty() {
                        refused.push_str(", ");
                    }
                    let _ = write!(refused, "{ip} port {}: {error}", self.port);
                }
            }
        }
        self.pool.app_is_away();
        Err(SendError::NotTaken(refused))
    }
}

impl Transport for AppClient {
    async fn send(&self, event: &Outgoing) -> Result<Answer, SendError> {
        let at_the_door = match event.action() {
            Action::Open | Action::Close => Some(self.at_the_door.take(event.group).await?),
            Action::Message => None,
        };
        let _place = place(&self.all).await?;
        let mut fast = Some((self.fast.take(event.group).await?, at_the_door));
        // Signed last: what has waited for its place was made now, not before.
        let signature = match &self.signer {
            Some(signer) => signer.headers(event)?,
            None => String::new(),
        };
        let request = event.parts(signature.as_bytes());
        let mut exchange = pin!(self.exchange(request, Want::Actions));
        let started = Instant::now();
        let mut timer = pin!(tokio::time::sleep_until(
            started + SLOW_AFTER.min(self.timeout)
        ));
        let response = std::future::poll_fn(|context| {
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
        Ok(Answer {
            status: response.status,
            retry_after: response.retry_after,
            action: response.body,
            beginning: response.beginning,
        })
    }
}

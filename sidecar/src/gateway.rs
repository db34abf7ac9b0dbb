//! What all sessions, the admin API and the heartbeat share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use stanza::CallbackTarget;
use stanza::settings;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::budget::{Budget, Charge, Way};
use crate::callback::client::AppClient;
use crate::callback::{Delivery, Signer, Target, Transport};
use crate::connection::{Connection, Push, Room};
use crate::journal::Journal;
use crate::metrics::Metrics;
use crate::pace::Pace;
use crate::registry::Registry;
use crate::selector::Selector;
use crate::threads::Threads;
use ws_codec::Message;

#[derive(Debug)]
pub struct Gateway<T> {
    pub settings: settings::Gateway,
    pub app: Option<App<T>>,
    pub registry: Arc<Registry>,
    pub budget: Arc<Budget>,
    pub metrics: Metrics,
    pub journal: Option<Journal>,
    pub pace: Pace,
    pub threads: Threads,
    pub sessions: TaskTracker,
    /// KiB of large callback bodies that may be there at once: a quarter of the budget.
    large: Semaphore,
    started: Instant,
    /// Connections that are open or about to be.
    admitted: AtomicUsize,
    draining: CancellationToken,
}

/// The app, where one is configured. Without it messages go nowhere.
#[derive(Debug)]
pub struct App<T> {
    pub target: Target,
    pub delivery: Delivery<T>,
}

/// A connection's place under `limits.connections`; free again when dropped.
#[derive(Debug)]
pub struct Admission<T>(Arc<Gateway<T>>);

impl<T> Admission<T> {
    pub fn gateway(&self) -> &Arc<Gateway<T>> {
        &self.0
    }
}

impl<T> std::ops::Deref for Admission<T> {
    type Target = Gateway<T>;

    fn deref(&self) -> &Gateway<T> {
        &self.0
    }
}

impl<T> Drop for Admission<T> {
    fn drop(&mut self) {
        self.0.admitted.fetch_sub(1, Ordering::Relaxed);
    }
}

fn kib(bytes: usize) -> u32 {
    /// More than any machine has, and as many as a semaphore takes on 32 bits.
    const MOST: usize = 1 << 28;
    u32::try_from((bytes >> 10).clamp(1, MOST)).unwrap_or(u32::MAX)
}

/// How a broadcast went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Sent {
    pub matched: usize,
    pub queued: usize,
    /// Clients that were gone or too slow.
    pub dropped: usize,
}

/// A frame with what it counts for in the budget.
struct SharedFrame {
    frame: Bytes,
    _charge: Charge,
}

impl AsRef<[u8]> for SharedFrame {
    fn as_ref(&self) -> &[u8] {
        &self.frame
    }
}

impl Gateway<AppClient> {
    /// Who signs callbacks, where they are to be signed.
    pub(crate) fn signer(&self) -> Option<&Signer> {
        self.app.as_ref()?.delivery.transport().signer()
    }
}

impl<T: Transport> Gateway<T> {
    pub fn new(
        settings: settings::Gateway,
        app: Option<(CallbackTarget, T)>,
        journal: Option<Journal>,
    ) -> Self {
        let app = app.map(|(target, transport)| App {
            target: Target::new(&target, &settings.routes.types),
            delivery: Delivery::new(transport, &settings),
        });
        Self {
            budget: Arc::new(Budget::new(settings.limits.buffered.limit())),
            app,
            registry: Arc::default(),
            metrics: Metrics::new(journal.as_ref().map(|journal| &journal.metrics)),
            journal,
            pace: Pace::new(settings.limits.connect_rate),
            threads: Threads::alike(),
            sessions: TaskTracker::new(),
            large: Semaphore::new(kib(settings.limits.buffered.limit() / 4) as usize),
            settings,
            started: Instant::now(),
            admitted: AtomicUsize::new(0),
            draining: CancellationToken::new(),
        }
    }

    /// A place under `limits.connections`, if there is one.
    pub fn admit(self: &Arc<Self>) -> Option<Admission<T>> {
        let place = Admission(Arc::clone(self));
        let before = self.admitted.fetch_add(1, Ordering::Relaxed);
        (before < self.settings.limits.places()).then_some(place)
    }

    /// A place for a callback's body of so many bytes, when there is one. The semaphore is never
    /// closed.
    pub async fn large_body(&self, bytes: usize) -> Option<SemaphorePermit<'_>> {
        let all = kib(self.settings.limits.buffered.limit() / 4);
        self.large.acquire_many(kib(bytes).min(all)).await.ok()
    }

    /// The gateway's clock: milliseconds since it started.
    pub fn now_ms(&self) -> u64 {
        self.room().now_ms()
    }

    /// What frames for a client may take.
    pub fn room(&self) -> Room<'_> {
        Room {
            outbox: self.settings.limits.outbox.limit(),
            slow: self.settings.limits.slow,
            budget: &self.budget,
            started: self.started,
        }
    }

    /// Sends one frame, encoded once, to everyone who is selected.
    pub async fn broadcast(&self, selector: &Selector, message: Message) -> Sent {
        // A large fan-out must not hold the thread for tens of milliseconds, and what it touches
        // of a connection is still at hand when that one writes.
        const AT_ONCE: usize = 32;
        let frame = message.into_bytes();
        let mut sent = Sent::default();
        if selector.is_everyone() {
            let recipients = self.registry.len();
            let frame = self.shared(frame, recipients);
            let (mut piece, mut after) = (Vec::with_capacity(AT_ONCE), None);
            loop {
                after = self.registry.walk(after, AT_ONCE, |connection| {
                    piece.push(Arc::clone(connection));
                });
                self.push(&piece, recipients, &frame, &mut sent);
                piece.clear();
                if after.is_none() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        } else {
            let connections = self.registry.select(selector);
            let frame = self.shared(frame, connections.len());
            for piece in connections.chunks(AT_ONCE) {
                self.push(piece, connections.len(), &frame, &mut sent);
                if piece.len() == AT_ONCE {
                    tokio::task::yield_now().await;
                }
            }
        }
        self.metrics.sent(sent.queued, sent.dropped);
        sent
    }

    /// A frame for many counts once, for as long as one of them has it.
    fn shared(&self, frame: Bytes, recipients: usize) -> Bytes {
        if recipients <= 1 {
            return frame;
        }
        let charge = self.budget.charge(Way::Out, frame.len());
        Bytes::from_owner(SharedFrame {
            frame,
            _charge: charge,
        })
    }

    fn push(&self, to: &[Arc<Connection>], recipients: usize, frame: &Bytes, sent: &mut Sent) {
        let room = self.room();
        sent.matched += to.len();
        for connection in to {
            match connection.push(frame.clone(), recipients, &room) {
                Push::Queued => sent.queued += 1,
                Push::Closed | Push::Overflow => sent.dropped += 1,
            }
        }
    }

    /// From now on nobody is let in.
    pub fn start_draining(&self) {
        self.draining.cancel();
    }

    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// To wait for that.
    pub(crate) fn draining(&self) -> &CancellationToken {
        &self.draining
    }
}

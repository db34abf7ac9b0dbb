//! What the rest of the gateway can do with one open connection: send to it, close it, ask who
//! it is. The session that owns the socket is woken through here and through nothing else.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::budget::Budget;
use crate::identity::{ConnectionId, Identity};
use crate::ws::CloseReason;

#[derive(Debug)]
pub struct Connection {
    pub id: ConnectionId,
    pub user_agent: Option<Box<str>>,
    /// The client's Cookie header, as it goes along on every callback.
    pub cookie: Option<Arc<[u8]>>,
    /// Milliseconds since 1970.
    opened_at: u64,
    /// Milliseconds on the gateway's clock, or [`HELD`].
    last_seen: AtomicU64,
    shared: Mutex<Shared>,
}

/// `last_seen` of a client that is not read from: it is the app that is slow, not the client.
const HELD: u64 = u64::MAX;

/// What a queued frame costs beside its bytes.
const FRAME_OVERHEAD: usize = 64;

#[derive(Debug)]
struct Shared {
    identity: Identity,
    /// There only while something waits or is being written: most connections are idle.
    outbox: Option<Box<Outbox>>,
    close: Option<Box<CloseReason>>,
    /// Nothing is accepted any more.
    closed: bool,
    /// A server ping is out that the client has not answered.
    awaiting_pong: bool,
    waker: Option<Waker>,
}

/// Frames that wait for the socket. Bounded by `limits.outbox` and `limits.buffered`; overflow
/// closes the connection as a slow reader.
#[derive(Debug, Default)]
struct Outbox {
    /// Apart, as mostly there is one: a broadcast allocates once per recipient.
    first: Option<Queued>,
    rest: VecDeque<Queued>,
    bytes: usize,
    /// The share in the common budget of what the socket is writing.
    writing: usize,
}

#[derive(Debug)]
struct Queued {
    frame: Bytes,
    /// This recipient's share of the frame in the common budget.
    cost: usize,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    Queued,
    /// The connection is going away.
    Closed,
    /// There was no room; the connection is being closed for it.
    Overflow,
}

/// What others asked of a session since it last looked.
#[derive(Debug, Default)]
pub struct Requests {
    pub close: Option<CloseReason>,
    pub outgoing: bool,
}

impl Connection {
    pub fn new(
        id: ConnectionId,
        identity: Identity,
        user_agent: Option<Box<str>>,
        cookie: Option<Arc<[u8]>>,
    ) -> Self {
        let shared = Shared {
            identity,
            outbox: None,
            close: None,
            closed: false,
            awaiting_pong: false,
            waker: None,
        };
        Self {
            id,
            user_agent,
            cookie,
            opened_at: unix_ms(SystemTime::now()),
            last_seen: AtomicU64::new(0),
            shared: Mutex::new(shared),
        }
    }

    pub fn opened_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.opened_at)
    }

    pub fn with_identity<R>(&self, look: impl FnOnce(&Identity) -> R) -> R {
        look(&self.lock().identity)
    }

    /// Another name and namespace, where they are given.
    pub(crate) fn rename(&self, user: Option<&str>, namespace: Option<&str>) {
        let mut shared = self.lock();
        if let Some(user) = user {
            shared.identity.user = user.into();
        }
        if let Some(namespace) = namespace {
            shared.identity.namespace = Some(namespace.into());
        }
    }

    /// Queues a frame. `recipients` share its bytes in the budget.
    pub fn push(&self, frame: Bytes, recipients: usize, limit: usize, budget: &Budget) -> Push {
        let mut shared = self.lock();
        if shared.closed {
            return Push::Closed;
        }
        let size = frame.len() + FRAME_OVERHEAD;
        let cost = frame.len() / recipients.max(1) + FRAME_OVERHEAD;
        // One frame is always taken: a message larger than the outbox is no sign of slowness.
        let waiting = shared.waiting();
        let full = waiting > 0 && waiting + size > limit;
        let reason = if full {
            CloseReason::SlowReader
        } else if budget.take(cost) {
            let outbox = shared.outbox.get_or_insert_default();
            outbox.push(Queued { frame, cost });
            shared.wake();
            return Push::Queued;
        } else {
            CloseReason::Overloaded
        };
        shared.close(reason);
        Push::Overflow
    }

    /// Asks the session to close; the first reason counts.
    pub fn close(&self, reason: CloseReason) {
        self.lock().close(reason);
    }

    /// What was asked for, and wake `context` when more is.
    pub(crate) fn poll_requests(&self, context: &Context<'_>) -> Requests {
        let mut shared = self.lock();
        if !shared
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(context.waker()))
        {
            shared.waker = Some(context.waker().clone());
        }
        Requests {
            close: shared.close.take().map(|reason| *reason),
            outgoing: shared.waiting() > 0,
        }
    }

    /// What to write next, once all before is written: one frame as it is shared, or several
    /// small ones in one piece.
    pub(crate) fn take_outgoing(&self, budget: &Budget) -> Option<Bytes> {
        const GATHER: usize = 16 << 10;
        let mut shared = self.lock();
        let outbox = shared.outbox.as_mut()?;
        outbox.written(budget);
        let Some(first) = outbox.pop() else {
            shared.outbox = None;
            return None;
        };
        if !outbox.fits(first.len(), GATHER) {
            return Some(first);
        }
        let mut gathered = Vec::from(first);
        while outbox.fits(gathered.len(), GATHER)
            && let Some(next) = outbox.pop()
        {
            gathered.extend_from_slice(&next);
        }
        Some(gathered.into())
    }

    /// Bytes that wait for this client.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting()
    }

    /// From now on frames are refused. What waits is kept, or thrown away.
    pub(crate) fn shut(&self, discard: bool, budget: &Budget) {
        let mut shared = self.lock();
        shared.closed = true;
        if discard && let Some(mut outbox) = shared.outbox.take() {
            while outbox.pop().is_some() {}
            outbox.written(budget);
        }
    }

    // --- heartbeat ---

    pub(crate) fn seen(&self, now_ms: u64) {
        self.last_seen.store(now_ms, Ordering::Relaxed);
    }

    /// Stops the deadline until the next [`Self::seen`].
    pub(crate) fn hold_deadline(&self) {
        self.last_seen.store(HELD, Ordering::Relaxed);
    }

    pub(crate) fn is_held(&self) -> bool {
        self.last_seen.load(Ordering::Relaxed) == HELD
    }

    pub(crate) fn silent_ms(&self, now_ms: u64) -> u64 {
        match self.last_seen.load(Ordering::Relaxed) {
            HELD => 0,
            seen => now_ms.saturating_sub(seen),
        }
    }

    /// Notes that a server ping goes out; whether the one before is still unanswered.
    pub(crate) fn ping_sent(&self) -> bool {
        std::mem::replace(&mut self.lock().awaiting_pong, true)
    }

    pub(crate) fn pong_received(&self) {
        self.lock().awaiting_pong = false;
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Shared {
    fn waiting(&self) -> usize {
        self.outbox.as_ref().map_or(0, |outbox| outbox.bytes)
    }

    fn close(&mut self, reason: CloseReason) {
        if self.closed {
            return;
        }
        self.closed = true;
        self.close = Some(Box::new(reason));
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Outbox {
    fn push(&mut self, queued: Queued) {
        self.bytes += queued.frame.len() + FRAME_OVERHEAD;
        if self.first.is_none() {
            self.first = Some(queued);
        } else {
            self.rest.push_back(queued);
        }
    }

    /// The next frame. It counts until it is written.
    fn pop(&mut self) -> Option<Bytes> {
        let Queued { frame, cost } = self.first.take()?;
        self.first = self.rest.pop_front();
        self.bytes -= frame.len() + FRAME_OVERHEAD;
        self.writing += cost;
        Some(frame)
    }

    fn written(&mut self, budget: &Budget) {
        budget.give_back(std::mem::take(&mut self.writing));
    }

    /// Whether the next frame goes along with so many bytes.
    fn fits(&self, so_far: usize, most: usize) -> bool {
        let next = self.first.as_ref();
        next.is_some_and(|next| so_far + next.frame.len() <= most)
    }
}

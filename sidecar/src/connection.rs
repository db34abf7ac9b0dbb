//! What the rest of the gateway can do with one open connection: send to it, close it, ask who
//! it is. The session that owns the socket is woken through here and through nothing else.

mod heartbeat;
mod held;
mod outbox;

pub(crate) use heartbeat::Patience;
pub(crate) use outbox::Pong;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::time::Instant;

use crate::budget::{Budget, Size, Way};
use crate::client_address::AddressGroup;
use crate::identity::{ConnectionId, Identity};
use crate::protocol::CloseReason;
use heartbeat::Ping;
use held::Eviction;
use outbox::{FRAME_OVERHEAD, Outbox, Queued};

#[derive(Debug)]
pub struct Connection {
    /// Begins with the time at which it was opened.
    pub id: ConnectionId,
    pub user_agent: Option<Box<str>>,
    /// Headers that go along on each callback, as whole lines.
    pub carried: Arc<[u8]>,
    /// Milliseconds on the gateway's clock, or that nothing is read.
    last_seen: AtomicU64,
    shared: Mutex<Shared>,
}

/// With more than this waiting the client counts as one that is behind with reading.
const UNREAD: usize = 16 << 10;

#[derive(Debug)]
struct Shared {
    identity: Identity,
    /// There only while something waits or is being written: most connections are idle.
    outbox: Option<Box<Outbox>>,
    close: Option<Box<CloseReason>>,
    /// What it holds, by which holders are compared when all that may wait does.
    held: usize,
    waker: Option<Waker>,
    /// Nothing is accepted any more.
    closed: bool,
    /// Under which size the budget has filed it.
    filed: Size,
    eviction: Eviction,
    ping: Ping,
    /// When the ping was written, or the client has last taken something since; it wraps.
    pinged_at: u32,
    group: AddressGroup,
    /// When its token ends, in seconds since 1970; [`NEVER`]: it has none that does.
    expires: u32,
}

const NEVER: u32 = u32::MAX;

/// What frames for a client may take, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Room<'a> {
    /// `limits.outbox`
    pub outbox: usize,
    /// `limits.slow`
    pub slow: Duration,
    pub budget: &'a Budget,
    /// From when the gateway's clock counts.
    pub started: Instant,
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
    /// All that it holds is wanted back.
    pub let_go: bool,
}

impl Room<'_> {
    pub fn now_ms(&self) -> u64 {
        millis(self.started.elapsed())
    }
}

impl Connection {
    pub fn new(
        id: ConnectionId,
        identity: Identity,
        user_agent: Option<Box<str>>,
        carried: Arc<[u8]>,
    ) -> Self {
        let shared = Shared {
            identity,
            outbox: None,
            close: None,
            held: 0,
            waker: None,
            closed: false,
            filed: Size::default(),
            eviction: Eviction::No,
            ping: Ping::Answered,
            pinged_at: 0,
            group: AddressGroup::default(),
            expires: NEVER,
        };
        Self {
            id,
            user_agent,
            carried,
            last_seen: AtomicU64::new(0),
            shared: Mutex::new(shared),
        }
    }

    pub fn opened_at(&self) -> SystemTime {
        UNIX_EPOCH + self.id.since_1970()
    }

    /// With whom it shares its places for requests to the app.
    #[must_use]
    pub(crate) fn in_group(self, group: AddressGroup) -> Self {
        self.lock().group = group;
        self
    }

    pub(crate) fn address_group(&self) -> AddressGroup {
        self.lock().group
    }

    /// Its token is worth nothing from then on, in seconds since 1970; what is later than 2106 is
    /// never.
    #[must_use]
    pub fn expiring(self, at: Option<u64>) -> Self {
        let at = at.and_then(|at| u32::try_from(at).ok());
        self.lock().expires = at.unwrap_or(NEVER);
        self
    }

    pub(crate) fn expires(&self) -> Option<u32> {
        Some(self.lock().expires).filter(|at| *at != NEVER)
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

    /// Queues a frame. `recipients` share its bytes, which are counted elsewhere then.
    pub fn push(self: &Arc<Self>, frame: Bytes, recipients: usize, room: &Room<'_>) -> Push {
        let mut shared = self.lock();
        if shared.closed {
            return Push::Closed;
        }
        let size = frame.len() + FRAME_OVERHEAD;
        // One frame is always taken: a message larger than the outbox is no sign of slowness.
        let waiting = shared.waiting();
        let over = waiting > 0 && waiting + size > room.outbox;
        let outbox = shared.outbox.get_or_insert_default();
        if over {
            let now = room.now_ms().max(1);
            if outbox.over_since == 0 {
                outbox.over_since = now;
            }
            let slow = now - outbox.over_since > millis(room.slow);
            if slow || room.budget.is_tight() {
                shared.close(CloseReason::SlowReader);
                return Push::Overflow;
            }
        }
        let queued = Queued::new(frame, recipients);
        let cost = queued.cost();
        outbox.push(queued);
        room.budget.take(Way::Out, cost.charged);
        let held = shared.held + cost.share;
        self.hold(&mut shared, held, room.budget);
        shared.wake();
        drop(shared);
        room.budget.relieve();
        Push::Queued
    }

    /// Answers a ping: in its turn, or, where much waits for this client, at once and once.
    pub(crate) fn answer(self: &Arc<Self>, pong: Pong, room: &Room<'_>) {
        let mut shared = self.lock();
        if shared.waiting() > UNREAD && !shared.closed {
            shared.outbox.get_or_insert_default().answer(pong);
            return shared.wake();
        }
        drop(shared);
        let frame = match pong {
            Pong::Control(frame) => frame,
            Pong::Text => outbox::text_pong(),
        };
        self.push(frame, 1, room);
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
            let_go: shared.eviction == Eviction::Asked,
        }
    }

    /// What to write next, once all before is written.
    pub(crate) fn take_outgoing(self: &Arc<Self>, room: &Room<'_>) -> Option<Bytes> {
        let mut shared = self.lock();
        let shared = &mut *shared;
        if shared.ping == Ping::InHand {
            shared.ping_is_written(room.now_ms());
        }
        let outbox = shared.outbox.as_mut()?;
        let mut held = shared.held - outbox.written(room.budget);
        let ping = shared.ping == Ping::Queued;
        let next = outbox.next(ping, room.budget);
        if ping {
            shared.ping = Ping::InHand;
        }
        if outbox.bytes <= room.outbox {
            outbox.over_since = 0;
        }
        match &next {
            Some((_, change)) => held = held.saturating_add_signed(*change),
            None => shared.outbox = None,
        }
        self.hold(shared, held, room.budget);
        next.map(|(frame, _)| frame)
    }

    /// Bytes that wait for this client.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting()
    }

    /// Whether the client is behind with reading.
    pub(crate) fn is_unread(&self) -> bool {
        self.waiting() > UNREAD
    }

    /// From now on frames are refused. What waits is kept, or thrown away.
    pub(crate) fn shut(self: &Arc<Self>, discard: bool, budget: &Budget) {
        let mut shared = self.lock();
        shared.closed = true;
        if discard {
            self.discard(&mut shared, budget);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

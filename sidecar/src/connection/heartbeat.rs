//! Whether a client is still there: what it says, what it takes, and how it answers pings.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Connection, Shared, millis};
use crate::ws::CloseReason;

/// What the heartbeat holds a client to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// `heartbeat.timeout`: for how long it may be silent.
    pub(crate) silence: Option<Duration>,
    /// For how long it may take nothing while something waits for it.
    pub(crate) stall: Duration,
    /// `heartbeat.interval`, where the gateway pings: for how long it may leave a ping unanswered.
    pub(crate) answer: Option<Duration>,
    /// `limits.slow`
    pub(crate) slow: Duration,
}

/// Where the server's ping is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ping {
    /// None is out that was not answered.
    Answered,
    Queued,
    /// The socket is writing it.
    InHand,
    Written,
}

/// `last_seen` of a client that is not read from: it is the app that is slow, not the client.
const HELD: u64 = u64::MAX;

impl Connection {
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

    fn silent_ms(&self, now_ms: u64) -> u64 {
        match self.last_seen.load(Ordering::Relaxed) {
            HELD => 0,
            seen => now_ms.saturating_sub(seen),
        }
    }

    /// The client has taken something after it had taken nothing for a while.
    pub(crate) fn has_taken(&self, now_ms: u64) {
        let mut shared = self.lock();
        shared.pinged_at = truncated(now_ms);
        if let Some(outbox) = &mut shared.outbox {
            outbox.taken_at = now_ms;
        }
    }

    /// Why it is to be closed now, if it is.
    pub(crate) fn overdue(&self, now_ms: u64, patience: &Patience) -> Option<CloseReason> {
        let silent = self.silent_ms(now_ms);
        if patience.silence.is_some_and(|most| silent > millis(most)) {
            return Some(CloseReason::PingTimeout);
        }
        let mut shared = self.lock();
        let shared = &mut *shared;
        if let Some(outbox) = &mut shared.outbox {
            let over = outbox.over_since;
            if over > 0 && now_ms.saturating_sub(over) > millis(patience.slow) {
                return Some(CloseReason::SlowReader);
            }
            if outbox.taken_at == 0 {
                outbox.taken_at = now_ms;
            } else if now_ms.saturating_sub(outbox.taken_at) > millis(patience.stall) {
                return Some(CloseReason::PingTimeout);
            }
        }
        if let Some(most) = patience.answer
            && shared.ping == Ping::Written
        {
            // Of a client that is not read from the pong cannot have been seen.
            if self.is_held() {
                shared.pinged_at = truncated(now_ms);
            }
            let waited = truncated(now_ms).wrapping_sub(shared.pinged_at);
            if u64::from(waited) > millis(most) {
                return Some(CloseReason::PingTimeout);
            }
        }
        None
    }

    /// Sends a ping before all that waits, if none is out.
    pub(crate) fn ping(&self) {
        let mut shared = self.lock();
        if shared.ping == Ping::Answered && !shared.closed {
            shared.ping = Ping::Queued;
            shared.outbox.get_or_insert_default();
            shared.wake();
        }
    }

    pub(crate) fn pong_received(&self) {
        let mut shared = self.lock();
        if shared.ping != Ping::Queued {
            shared.ping = Ping::Answered;
        }
    }
}

impl Shared {
    pub(super) fn ping_is_written(&mut self, now_ms: u64) {
        self.ping = Ping::Written;
        self.pinged_at = truncated(now_ms);
    }
}

#[allow(clippy::cast_possible_truncation, reason = "only differences count")]
fn truncated(ms: u64) -> u32 {
    ms as u32
}

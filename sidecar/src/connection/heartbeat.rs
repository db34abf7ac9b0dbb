//! Whether a client is still there: what it says, what it takes, and how it answers pings.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Connection, Shared, millis};
use crate::protocol::CloseReason;

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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use tokio::time::Instant;

    use super::*;
    use crate::budget::Budget;
    use crate::connection::{Push, Room};
    use crate::identity::{ConnectionId, Identity, Token};

    const PATIENCE: Patience = Patience {
        silence: None,
        stall: Duration::from_secs(75),
        answer: Some(Duration::from_secs(30)),
        slow: Duration::from_secs(10),
    };

    fn connection() -> Arc<Connection> {
        let identity = Identity {
            user: "".into(),
            namespace: None,
            token: Token::random(),
        };
        Arc::new(Connection::new(
            ConnectionId::random(),
            identity,
            None,
            Arc::default(),
        ))
    }

    fn room(budget: &Budget) -> Room<'_> {
        Room {
            outbox: 1000,
            slow: PATIENCE.slow,
            budget,
            started: Instant::now(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_overdue_though_silence_is_fine() {
        let (connection, budget) = (connection(), Budget::new(1 << 20));
        let room = room(&budget);
        assert_eq!(connection.overdue(1_000_000, &PATIENCE), None);
        assert_eq!(
            connection.push(Bytes::from_static(b"x"), 1, &room),
            Push::Queued
        );
        // From when it is first seen to wait, and anew each time that it takes something.
        assert_eq!(connection.overdue(1_000, &PATIENCE), None);
        assert_eq!(connection.overdue(76_000, &PATIENCE), None);
        connection.has_taken(76_000);
        assert_eq!(connection.overdue(151_000, &PATIENCE), None);
        let ended = connection.overdue(151_001, &PATIENCE);
        assert_eq!(ended, Some(CloseReason::PingTimeout));
    }

    #[tokio::test(start_paused = true)]
    async fn a_ping_counts_from_when_it_was_written() {
        let (connection, budget) = (connection(), Budget::new(1 << 20));
        let room = room(&budget);
        connection.ping();
        assert_eq!(connection.overdue(31_000, &PATIENCE), None, "it waits");
        assert!(connection.take_outgoing(&room).is_some());
        assert_eq!(connection.overdue(62_000, &PATIENCE), None, "it is in hand");
        tokio::time::advance(Duration::from_mins(1)).await;
        assert!(connection.take_outgoing(&room).is_none());
        assert_eq!(connection.overdue(90_000, &PATIENCE), None);
        let ended = connection.overdue(90_001, &PATIENCE);
        assert_eq!(ended, Some(CloseReason::PingTimeout));
        connection.pong_received();
        assert_eq!(connection.overdue(90_001, &PATIENCE), None);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_the_outbox_may_wait_for_a_while() {
        let (connection, budget) = (connection(), Budget::new(1 << 20));
        let room = room(&budget);
        let frame = Bytes::from_static(&[0; 900]);
        for _ in 0..10 {
            assert_eq!(connection.push(frame.clone(), 1, &room), Push::Queued);
        }
        tokio::time::advance(PATIENCE.slow).await;
        assert_eq!(connection.push(frame.clone(), 1, &room), Push::Queued);
        let now = room.now_ms();
        assert_eq!(connection.overdue(now, &PATIENCE), None);
        let later = connection.overdue(now + 2, &PATIENCE);
        assert_eq!(later, Some(CloseReason::SlowReader));
        tokio::time::advance(Duration::from_millis(2)).await;
        assert_eq!(connection.push(frame, 1, &room), Push::Overflow);
    }

    #[test]
    fn beyond_half_of_what_may_wait_nobody_gets_more_than_its_outbox() {
        let (connection, budget) = (connection(), Arc::new(Budget::new(20_000)));
        let room = room(&budget);
        let frame = Bytes::from_static(&[0; 900]);
        let _other = budget.charge(crate::budget::Way::Out, 10_000);
        assert_eq!(connection.push(frame.clone(), 1, &room), Push::Queued);
        assert_eq!(connection.push(frame, 1, &room), Push::Overflow);
    }
}

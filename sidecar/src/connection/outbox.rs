//! Frames that wait for one client's socket.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::budget::{Budget, Way};

/// What a queued frame costs beside its bytes.
pub(super) const FRAME_OVERHEAD: usize = 64;

/// So much goes to the socket in one piece.
const GATHER: usize = 16 << 10;

/// Bounded by `limits.outbox`, by `limits.slow` beyond that, and by `limits.buffered`; overflow
/// closes the connection as a slow reader.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Apart, as mostly there is one: a broadcast allocates once per recipient.
    first: Option<Queued>,
    rest: VecDeque<Queued>,
    pub(super) bytes: usize,
    writing: Cost,
    /// Since when more waits than `limits.outbox`, in milliseconds; 0: it does not.
    pub(super) over_since: u64,
    /// When the client last took something, in milliseconds; 0: nobody has looked since.
    pub(super) taken_at: u64,
    /// What overtakes the frames that wait; there only while something does.
    answers: Option<Box<Answers>>,
}

/// Answers to pings that came while much was waiting: of each kind the last one only, as
/// RFC 6455 §5.5.3 allows, so that pings cost a bounded amount.
#[derive(Debug, Default)]
struct Answers {
    pong: Option<Bytes>,
    text_pong: bool,
}

/// The answer to a ping.
#[derive(Debug)]
pub(crate) enum Pong {
    Control(Bytes),
    /// To `{"event":"ping"}`.
    Text,
}

#[derive(Debug)]
pub(super) struct Queued {
    frame: Bytes,
    /// This recipient's part of the frame, by which holders are compared.
    share: u32,
    /// The frame itself is counted once for all its recipients.
    shared: bool,
}

/// What a frame counts for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    /// When holders are compared.
    pub(super) share: usize,
    /// In the common budget.
    pub(super) charged: usize,
}

impl Queued {
    pub(super) fn new(frame: Bytes, recipients: usize) -> Self {
        let share = frame.len() / recipients.max(1) + FRAME_OVERHEAD;
        Self {
            frame,
            share: u32::try_from(share).unwrap_or(u32::MAX),
            shared: recipients > 1,
        }
    }

    pub(super) fn cost(&self) -> Cost {
        let share = self.share as usize;
        let charged = if self.shared { FRAME_OVERHEAD } else { share };
        Cost { share, charged }
    }
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.share += other.share;
        self.charged += other.charged;
    }
}

impl Outbox {
    pub(super) fn push(&mut self, queued: Queued) {
        self.bytes += queued.frame.len() + FRAME_OVERHEAD;
        if self.first.is_none() {
            self.first = Some(queued);
        } else {
            self.rest.push_back(queued);
        }
    }

    /// Goes out before all that waits.
    pub(super) fn answer(&mut self, pong: Pong) {
        let answers = self.answers.get_or_insert_default();
        match pong {
            Pong::Control(frame) => answers.pong = Some(frame),
            Pong::Text => answers.text_pong = true,
        }
    }

    /// What was given out last is with the kernel; its share.
    pub(super) fn written(&mut self, budget: &Budget) -> usize {
        let Cost { share, charged } = std::mem::take(&mut self.writing);
        budget.give_back(Way::Out, charged);
        self.taken_at = 0;
        share
    }

    /// What to write next: one frame as it is shared, or several small ones in one piece. It
    /// counts until it is written. And by how much the share grows or shrinks with that.
    pub(super) fn next(&mut self, ping: bool, budget: &Budget) -> Option<(Bytes, isize)> {
        let mut gathered = Vec::new();
        if ping {
            gathered.extend_from_slice(&ws_codec::ping(b""));
        }
        if let Some(answers) = self.answers.take() {
            gathered.extend_from_slice(&answers.pong.unwrap_or_default());
            if answers.text_pong {
                gathered.extend_from_slice(&text_pong());
            }
        }
        let mut cost = Cost::default();
        if gathered.is_empty() {
            let first = self.pop(&mut cost)?;
            if !self.fits(first.len()) {
                self.writing = cost;
                return Some((first, 0));
            }
            gathered = first.into();
        }
        while self.fits(gathered.len())
            && let Some(next) = self.pop(&mut cost)
        {
            gathered.extend_from_slice(&next);
        }
        // A copy, which is this connection's own.
        budget.take(Way::Out, gathered.len());
        budget.give_back(Way::Out, cost.charged);
        self.writing = Cost {
            share: gathered.len(),
            charged: gathered.len(),
        };
        let change = gathered.len().cast_signed() - cost.share.cast_signed();
        Some((gathered.into(), change))
    }

    /// Throws away what waits; its share. What is being written still counts.
    pub(super) fn discard(&mut self, budget: &Budget) -> usize {
        let mut cost = Cost::default();
        while self.pop(&mut cost).is_some() {}
        self.answers = None;
        self.over_since = 0;
        budget.give_back(Way::Out, cost.charged);
        cost.share
    }

    pub(super) fn is_writing(&self) -> bool {
        self.writing.charged > 0
    }

    fn pop(&mut self, cost: &mut Cost) -> Option<Bytes> {
        let queued = self.first.take()?;
        self.first = self.rest.pop_front();
        self.bytes -= queued.frame.len() + FRAME_OVERHEAD;
        cost.add(queued.cost());
        Some(queued.frame)
    }

    /// Whether the next frame goes along with so many bytes.
    fn fits(&self, so_far: usize) -> bool {
        let next = self.first.as_ref();
        next.is_some_and(|next| so_far + next.frame.len() <= GATHER)
    }
}

pub(super) fn text_pong() -> Bytes {
    ws_codec::Message::text(r#"{"event":"pong"}"#).into_bytes()
}

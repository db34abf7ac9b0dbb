//! A session on the threads where it belongs. One whose client sends without pause goes to those
//! of low priority, and comes back once the client has been calm for a while: so the kernel takes
//! the core from it whenever another client has something to say, amid a message of a megabyte.

use std::num::NonZeroU64;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use super::Session;
use crate::callback::Transport;

/// What is next after a session was polled.
pub(super) enum Step {
    Waits,
    Ended,
    /// It belongs on other threads from now on.
    Moves,
}

pub(crate) struct Placed<S, T: Transport>(Option<Box<Session<S, T>>>);

impl<S: AsyncRead + AsyncWrite + Unpin, T: Transport> Session<S, T> {
    /// Does what there is to do.
    pub(super) fn step(&mut self, context: &mut Context<'_>) -> Step {
        /// A client that sends without pause has the thread for so many bytes, then others: a
        /// byte may be a sixth of a frame.
        const QUANTUM: usize = 32 << 10;
        const ROUND: usize = QUANTUM / 8;
        if let Some(until) = self.aside
            && until.get() <= self.gateway.now_ms()
        {
            (self.aside, self.flood) = (None, false);
            return Step::Moves;
        }
        let mut taken = 0;
        while taken < QUANTUM {
            if let Some(read) = self.round(context) {
                taken += read.max(ROUND);
                continue;
            }
            if self.socket.is_gone() && self.lane.is_done() {
                return Step::Ended;
            }
            return Step::Waits;
        }
        self.goes_aside();
        if !std::mem::replace(&mut self.flood, true) {
            return Step::Moves;
        }
        context.waker().wake_by_ref();
        Step::Waits
    }

    fn goes_aside(&mut self) {
        /// How long a client is to be calm before it is one of all others.
        const CALM: NonZeroU64 = NonZeroU64::new(1000).unwrap();
        self.aside = Some(CALM.saturating_add(self.gateway.now_ms()));
    }
}

impl<S, T> Placed<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: Transport,
{
    /// On the threads where its client was let in, for the beginning.
    pub(crate) fn begin(mut session: Box<Session<S, T>>) {
        let gateway = Arc::clone(session.gateway.gateway());
        if gateway.threads.is_among_newcomers() {
            session.goes_aside();
        }
        gateway.sessions.spawn(Self(Some(session)));
    }

    fn go_on(session: Box<Session<S, T>>) {
        let gateway = Arc::clone(session.gateway.gateway());
        let flood = session.flood;
        debug!(connection = %session.connection.id, flood, "moves to other threads");
        let placed = Self(Some(session));
        let threads = if flood {
            &gateway.threads.floods
        } else {
            &gateway.threads.established
        };
        gateway.sessions.spawn_on(placed, threads);
    }
}

impl<S, T> Future for Placed<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: Transport,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let step = self.0.as_mut().map(|session| session.step(context));
        match step {
            Some(Step::Waits) => return Poll::Pending,
            Some(Step::Moves) => {
                if let Some(session) = self.0.take() {
                    Self::go_on(session);
                }
            }
            Some(Step::Ended) | None => {}
        }
        Poll::Ready(())
    }
}

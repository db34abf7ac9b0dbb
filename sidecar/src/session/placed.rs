//! A session on the threads where it belongs. One whose client sends without pause goes to those
//! of low priority, and comes back once the client has been calm for a while: so the kernel takes
//! the core from it whenever another client has something to say, amid a message of a megabyte.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use super::{Session, Step};
use crate::callback::Transport;
use crate::threads::Threads;

pub(crate) struct Placed<S, T: Transport>(Option<Box<Session<S, T>>>);

impl<S, T> Placed<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: Transport,
{
    /// On the threads where its client was let in, for the beginning.
    pub(crate) fn begin(mut session: Box<Session<S, T>>) {
        let gateway = Arc::clone(session.gateway.gateway());
        if gateway
            .threads
            .as_ref()
            .is_some_and(Threads::is_among_newcomers)
        {
            session.goes_aside();
        }
        gateway.sessions.spawn(Self(Some(session)));
    }

    fn go_on(session: Box<Session<S, T>>) {
        let gateway = Arc::clone(session.gateway.gateway());
        let flood = session.flood;
        debug!(connection = %session.connection.id, flood, "moves to other threads");
        let placed = Self(Some(session));
        match &gateway.threads {
            Some(threads) if flood => gateway.sessions.spawn_on(placed, &threads.floods),
            Some(threads) => gateway.sessions.spawn_on(placed, &threads.established),
            None => gateway.sessions.spawn(placed),
        };
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

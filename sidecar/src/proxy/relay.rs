//! Bytes between a client and the app that are none of our business, for as long as some move.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::server::idle;

/// One side, which notes when something arrives from it or is taken by it.
struct Watched<'a, S> {
    side: &'a mut S,
    moved: &'a AtomicBool,
}

pub(super) async fn relay<A, B>(
    client: &mut A,
    app: &mut B,
    limit: Duration,
    stop: &CancellationToken,
) where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let moved = &AtomicBool::new(false);
    let mut client = Watched {
        side: client,
        moved,
    };
    let mut app = Watched { side: app, moved };
    tokio::select! {
        // Both sides have ended, or one has failed; that is all there is to know.
        _ = copy_bidirectional(&mut client, &mut app) => {}
        () = idle(limit, || moved.swap(false, Ordering::Relaxed)) => {
            debug!(?limit, "a tunnel to the app was idle for too long (limits.idle)");
        }
        () = stop.cancelled() => {}
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut *self.side).poll_read(context, buffer));
        self.moved.store(true, Ordering::Relaxed);
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<'_, S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut *self.side).poll_write(context, bytes));
        self.moved.store(true, Ordering::Relaxed);
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.side).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.side).poll_shutdown(context)
    }
}

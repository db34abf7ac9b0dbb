//! What our server answers with: bytes of our own, or the app's as they arrive.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::connection::AppConnection;
use super::{RequestBody, Upstream};

pub(crate) enum ServerBody {
    Own(Full<Bytes>),
    App(Box<AppBody>),
}

/// An answer's body together with the connection that it arrives on. Dropped before its end, as
/// when the client has gone, it takes the connection with it, and the app sees that.
pub(crate) struct AppBody {
    body: Incoming,
    connection: Option<AppConnection<RequestBody>>,
    /// How long the app says that it keeps the connection.
    keep_alive: Option<Duration>,
    upstream: Arc<Upstream>,
}

impl ServerBody {
    pub(crate) fn own(body: Full<Bytes>) -> Self {
        Self::Own(body)
    }

    pub(crate) fn empty() -> Self {
        Self::Own(Full::default())
    }

    pub(super) fn app(body: AppBody) -> Self {
        Self::App(Box::new(body))
    }
}

impl AppBody {
    pub(super) fn new(
        body: Incoming,
        connection: AppConnection<RequestBody>,
        keep_alive: Option<Duration>,
        upstream: Arc<Upstream>,
    ) -> Self {
        let mut new = Self {
            body,
            connection: Some(connection),
            keep_alive,
            upstream,
        };
        if new.body.is_end_stream() {
            new.done();
        }
        new
    }

    fn done(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.upstream.keep(connection, self.keep_alive);
        }
    }

    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        // The connection first, as it brings the bytes; then again, as asking for more may have
        // given it something to do.
        for _ in 0..2 {
            if let Some(connection) = &mut self.connection {
                connection.poll_drive(context);
            }
            if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
                return Poll::Ready(frame);
            }
        }
        Poll::Pending
    }
}

impl Body for ServerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Own(body) => match Pin::new(body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(frame))),
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            },
            Self::App(body) => {
                let polled = body.poll_next(context);
                if matches!(polled, Poll::Ready(None)) || body.body.is_end_stream() {
                    body.done();
                }
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            Self::App(body) => body.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::App(body) => body.body.size_hint(),
        }
    }
}

//! One HTTP/1.1 connection to the app, driven by whoever has a request on it: no task of its own
//! has to be woken to write a request or to read its answer.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use rustix::net::{RecvFlags, recv};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::stream::{Counted, SharedStream};
use crate::app_pool::Rests;
use crate::callback::SendError;

pub(super) struct AppConnection<B: Body + 'static> {
    sender: http1::SendRequest<B>,
    driver: Driver<B>,
    /// The same socket: to see how much of a request went out, and whether the app hung up.
    stream: Arc<Counted>,
    connected_at: Instant,
    driver_done: bool,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Driver<B> = http1::Connection<SharedStream, B>;

/// Of one answer. Room for them is made for each answer, 32 bytes a header: from 16 KiB on that is
/// an allocation of whole pages, given back to the kernel each time, and a request costs twice.
const MAX_HEADERS: usize = 432;

/// A connection that was used a moment ago is taken as it is: looking costs a system call.
const TRUSTED: Duration = Duration::from_millis(2);

impl<B> AppConnection<B>
where
    B: Body + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    pub(super) async fn new(stream: TcpStream) -> Result<Self, SendError> {
        // Fails only on a socket that is gone, which the first write will tell.
        let _ = stream.set_nodelay(true);
        let stream = SharedStream::new(stream);
        let counted = stream.counted();
        let (sender, driver) = http1::Builder::new()
            .preserve_header_case(true)
            .max_headers(MAX_HEADERS)
            .handshake(stream)
            .await
            .map_err(|error| SendError::NotTaken(error.to_string()))?;
        Ok(Self {
            sender,
            driver,
            stream: counted,
            connected_at: Instant::now(),
            driver_done: false,
        })
    }

    /// Sends the request and waits for the head of the answer; the request comes back where it
    /// was not begun.
    pub(super) async fn try_send(
        &mut self,
        request: Request<B>,
    ) -> Result<Response<Incoming>, (SendError, Option<Request<B>>)> {
        let before = self.stream.written();
        let response = self.sender.try_send_request(request);
        let sent = drive(&mut self.driver, &mut self.driver_done, response).await;
        sent.map_err(|mut error| {
            let back = error.take_message();
            let why = describe(error.error());
            let untouched = back.is_some() || self.stream.written() == before;
            (
                if untouched {
                    SendError::NotTaken(why)
                } else {
                    SendError::InDoubt(why)
                },
                back,
            )
        })
    }

    /// Moves the request's and the answer's bytes as far as they go now.
    pub(super) fn poll_drive(&mut self, context: &mut Context<'_>) {
        if !self.driver_done {
            self.driver_done = Pin::new(&mut self.driver).poll(context).is_ready();
        }
    }

    /// The socket, once the app has answered 101, and what it sent behind that.
    pub(super) async fn into_upgraded(mut self) -> (SharedStream, Bytes) {
        if !self.driver_done {
            // It ends by itself after a 101; an error shows on the socket as well.
            let _ = poll_fn(|context| self.driver.poll_without_shutdown(context)).await;
        }
        let parts = self.driver.into_parts();
        (parts.io, parts.read_buf)
    }

    /// Whether it may be used again.
    pub(super) fn is_reusable(&mut self) -> bool {
        !self.driver_done && self.poll_driver() && self.sender.is_ready()
    }

    /// Lets hyper see what has happened on the socket; whether the connection is still good.
    fn poll_driver(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        self.driver_done |= Pin::new(&mut self.driver).poll(&mut context).is_ready();
        !self.driver_done
    }
}

impl<B> Rests for AppConnection<B>
where
    B: Body + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    fn connected_at(&self) -> Instant {
        self.connected_at
    }

    /// A request on a connection that the app has closed would be lost in doubt.
    fn is_open(&mut self, rested: Duration) -> bool {
        if !self.poll_driver() || !self.sender.is_ready() {
            return false;
        }
        if rested < TRUSTED {
            return true;
        }
        let mut byte = [0];
        let peeked = recv(
            self.stream.socket(),
            &mut byte,
            RecvFlags::PEEK | RecvFlags::DONTWAIT,
        );
        // Nothing to read is what an idle connection looks like; an end or stray bytes are not.
        matches!(peeked, Err(rustix::io::Errno::WOULDBLOCK))
    }
}

impl<B: Body> fmt::Debug for AppConnection<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppConnection")
            .field("connected_at", &self.connected_at)
            .finish_non_exhaustive()
    }
}

/// Runs `future` to its end while the connection moves its bytes.
async fn drive<B, R>(driver: &mut Driver<B>, done: &mut bool, future: impl Future<Output = R>) -> R
where
    B: Body + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let mut future = pin!(future);
    poll_fn(|context| {
        // The connection first: it is what makes the future ready.
        if !*done {
            *done = Pin::new(&mut *driver).poll(context).is_ready();
        }
        if let Poll::Ready(result) = future.as_mut().poll(context) {
            return Poll::Ready(result);
        }
        // Polling the future may have given the connection something to do.
        if !*done {
            *done = Pin::new(&mut *driver).poll(context).is_ready();
            return future.as_mut().poll(context);
        }
        Poll::Pending
    })
    .await
}

/// hyper says what it was doing, its source says why.
fn describe(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

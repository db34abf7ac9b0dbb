//! One connection to the app, driven by whoever has a request on it.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use rustix::net::{RecvFlags, recv};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::SendError;
use crate::stream::SharedStream;

pub(super) struct AppConnection {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: http1::Connection<SharedStream, Full<Bytes>>,
    /// The same socket: to see how much of a request went out, and whether the app hung up.
    stream: Arc<crate::stream::Counted>,
    idle_since: Instant,
    driver_done: bool,
}

/// A connection that was used a moment ago is taken as it is: looking costs a system call.
const TRUSTED: Duration = Duration::from_millis(2);

impl AppConnection {
    pub(super) async fn new(stream: TcpStream) -> Result<Self, SendError> {
        // Fails only on a socket that is gone, which the first write will tell.
        let _ = stream.set_nodelay(true);
        let stream = SharedStream::new(stream);
        let counted = stream.counted();
        let (sender, driver) = http1::handshake(stream)
            .await
            .map_err(|error| SendError::NotTaken(error.to_string()))?;
        Ok(Self {
            sender,
            driver,
            stream: counted,
            idle_since: Instant::now(),
            driver_done: false,
        })
    }

    /// Sends the request and waits for the head of the answer.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, SendError> {
        let before = self.stream.written();
        let response = self.sender.try_send_request(request);
        match drive(&mut self.driver, &mut self.driver_done, response).await {
            Ok(response) => Ok(response),
            Err(mut error) => {
                let untouched = error.take_message().is_some() || self.stream.written() == before;
                let why = describe(error.error());
                Err(if untouched {
                    SendError::NotTaken(why)
                } else {
                    SendError::InDoubt(why)
                })
            }
        }
    }

    /// Runs a reader of the answer's body.
    pub(super) async fn read<R>(
        &mut self,
        reader: impl Future<Output = R>,
    ) -> Result<R, SendError> {
        Ok(drive(&mut self.driver, &mut self.driver_done, reader).await)
    }

    /// Puts the connection aside; whether it may be used again.
    pub(super) fn set_idle(&mut self, now: Instant) -> bool {
        self.idle_since = now;
        !self.driver_done && self.poll_driver() && self.sender.is_ready()
    }

    pub(super) fn idle_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.idle_since)
    }

    /// Whether a request may be sent: not idle for too long, and the app has not hung up. A
    /// request on a connection that the app has closed would be lost in doubt.
    pub(super) fn is_usable(&mut self, now: Instant, max_idle: Duration) -> bool {
        let idle = self.idle_for(now);
        if idle > max_idle || !self.poll_driver() || !self.sender.is_ready() {
            return false;
        }
        if idle < TRUSTED {
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

    /// Lets hyper see what has happened on the socket; whether the connection is still good.
    fn poll_driver(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        self.driver_done |= Pin::new(&mut self.driver).poll(&mut context).is_ready();
        !self.driver_done
    }
}

impl fmt::Debug for AppConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppConnection")
            .field("idle_since", &self.idle_since)
            .finish_non_exhaustive()
    }
}

/// Runs `future` to its end while the connection moves its bytes.
async fn drive<R>(
    driver: &mut http1::Connection<SharedStream, Full<Bytes>>,
    done: &mut bool,
    future: impl Future<Output = R>,
) -> R {
    let mut future = pin!(future);
    poll_fn(|context| {
        // The connection first: it is what makes the future ready.
        if !*done {
            *done = Pin::new(&mut *driver).poll(context).is_ready();
        }
        if let Poll::Ready(result) = future.as_mut().poll(context) {
            return Poll::Ready(result);
        }
        if !*done {
            *done = Pin::new(&mut *driver).poll(context).is_ready();
            if *done {
                return future.as_mut().poll(context);
            }
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

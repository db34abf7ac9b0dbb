//! One connection to the app: a request is one write, its answer is read into a buffer that all
//! connections of the thread share. Our own and not hyper's because this is most of what a
//! message costs, and because here it is known to the byte what the app can have had.

use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::SendError;
use super::response::{Malformed, Reader, Response, Want};
use crate::app_pool::Rests;
use crate::read_buffer;

/// A request's bytes, in pieces that are written as one.
pub(super) type Request<'a> = [&'a [u8]; PARTS];
const PARTS: usize = 4;

#[derive(Debug)]
pub(super) struct AppConnection {
    stream: TcpStream,
    connected_at: Instant,
}

impl AppConnection {
    pub(super) fn new(stream: TcpStream, now: Instant) -> Self {
        // Fails only on a socket that is gone, which the first write will tell.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            connected_at: now,
        }
    }

    pub(super) async fn exchange(
        &mut self,
        request: &Request<'_>,
        want: Want,
        limit: usize,
    ) -> Result<Response, SendError> {
        self.write(request).await?;
        let mut reader = Reader::new(want, limit);
        self.read(&mut reader).await?;
        Ok(reader.finish())
    }

    /// A part of a request may have made the app act; none of it cannot.
    async fn write(&mut self, request: &Request<'_>) -> Result<(), SendError> {
        let total = request.iter().map(|part| part.len()).sum();
        let mut written = 0;
        while written < total {
            let wrote = poll_fn(|context| {
                let (mut slices, count) = behind(request, written);
                Pin::new(&mut self.stream).poll_write_vectored(context, &slices.as_mut()[..count])
            });
            match wrote.await {
                Ok(count) if count > 0 => written += count,
                Ok(_) => return Err(SendError::InDoubt("the app reads nothing".to_owned())),
                Err(error) if written == 0 => return Err(SendError::NotTaken(error.to_string())),
                Err(error) => return Err(SendError::InDoubt(error.to_string())),
            }
        }
        Ok(())
    }

    async fn read(&mut self, reader: &mut Reader) -> Result<(), SendError> {
        poll_fn(|context| {
            read_buffer::with(|buffer| {
                loop {
                    let mut buffer = ReadBuf::new(buffer);
                    let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer));
                    read.map_err(|error| SendError::InDoubt(error.to_string()))?;
                    let whole = match buffer.filled() {
                        [] if reader.feed_end() => true,
                        [] if reader.has_begun() => {
                            return broken("the connection closed mid-response");
                        }
                        [] => return broken("it hung up without an answer"),
                        bytes => reader
                            .feed(bytes)
                            .map_err(|Malformed(why)| SendError::Unreadable(why))?,
                    };
                    if whole {
                        return Poll::Ready(Ok(()));
                    }
                }
            })
        })
        .await
    }
}

impl Rests for AppConnection {
    fn connected_at(&self) -> Instant {
        self.connected_at
    }

    /// One system call more per request, but a request on a connection that the app has closed
    /// would be lost in doubt.
    fn is_open(&mut self, _: Duration) -> bool {
        let mut byte = [0];
        let peeked = recv(
            &self.stream,
            &mut byte,
            RecvFlags::PEEK | RecvFlags::DONTWAIT,
        );
        // Nothing to read is what an idle connection looks like; an end or stray bytes are not.
        matches!(peeked, Err(rustix::io::Errno::WOULDBLOCK))
    }
}

/// What is left of the request's parts.
fn behind<'a>(request: &Request<'a>, mut written: usize) -> ([IoSlice<'a>; PARTS], usize) {
    let mut slices = [IoSlice::new(&[]); PARTS];
    let mut count = 0;
    for part in request {
        let skipped = written.min(part.len());
        written -= skipped;
        if skipped < part.len() {
            slices[count] = IoSlice::new(&part[skipped..]);
            count += 1;
        }
    }
    (slices, count)
}

fn broken<T>(why: &str) -> Poll<Result<T, SendError>> {
    Poll::Ready(Err(SendError::InDoubt(why.to_owned())))
}

//! One request as hyper reads it: its head, which is there already, and its body, to the byte.
//! What the client sends behind that is kept from hyper until the next request's turn.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::Asked;
use super::body::Body;
use super::head::Head;
use crate::read_buffer;

/// The socket as hyper sees it: there while a request is under way, and gone between two.
#[derive(Debug)]
pub(crate) struct RequestStream(Arc<Lent>);

/// What hyper's side of a connection and ours share.
#[derive(Debug, Default)]
pub(super) struct Lent {
    exchange: Mutex<Option<Exchange>>,
    progress: Progress,
}

/// The socket, and the request that is under way on it.
#[derive(Debug)]
struct Exchange {
    stream: TcpStream,
    asked: Asked,
    /// Bytes of the head that hyper has not taken yet.
    head: Vec<u8>,
    taken: usize,
    body: Body,
    /// What was read from the socket and belongs to nobody yet.
    behind: Vec<u8>,
    /// Something of the answer was written: what comes behind its head is not ours to read.
    begun: bool,
    /// What is left to write of a 101's head, as it is to go out.
    switching: Vec<u8>,
}

/// How far the answer to a request has come.
#[derive(Debug, Default)]
struct Progress {
    /// The answer is complete, as far as we make it.
    answered: AtomicBool,
    /// And it has left for the socket, all of it.
    flushed: AtomicBool,
    /// hyper has all of the request.
    read: AtomicBool,
    /// Bytes have moved since this was last looked at.
    moved: AtomicBool,
}

/// An answer's body that tells when hyper is done with it.
pub(super) struct Answer<B> {
    body: B,
    lent: Option<Arc<Lent>>,
}

/// How much is read in advance of a request's answer, only to see whether the client is there.
const AHEAD: usize = 4 << 10;

impl RequestStream {
    pub(super) fn new(lent: Arc<Lent>) -> Self {
        Self(lent)
    }

    /// The socket, and what was read from it and not used.
    pub(crate) fn into_inner(self) -> Option<(TcpStream, Vec<u8>)> {
        self.0.take()
    }
}

impl Lent {
    pub(super) fn lend(&self, stream: TcpStream, behind: Vec<u8>, head: Head, asked: Asked) {
        self.progress.begin();
        *self.lock() = Some(Exchange {
            stream,
            asked,
            head: head.bytes,
            taken: 0,
            body: head.body,
            behind,
            begun: false,
            switching: Vec::new(),
        });
    }

    /// The socket back, and what was read from it and not used.
    pub(super) fn take(&self) -> Option<(TcpStream, Vec<u8>)> {
        let exchange = self.lock().take()?;
        Some((exchange.stream, exchange.behind))
    }

    pub(super) fn asked(&self) -> io::Result<Asked> {
        let exchange = self.lock();
        let asked = exchange.as_ref().map(|exchange| exchange.asked.clone());
        asked.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Whether bytes have moved since this was last asked.
    pub(super) fn has_moved(&self) -> bool {
        self.progress.moved.swap(false, Ordering::Relaxed)
    }

    /// Whether hyper has nothing to do any more but to read another request.
    pub(super) fn is_over(&self) -> bool {
        self.progress.is_over()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Exchange>> {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exchange {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
        progress: &Progress,
    ) -> Poll<io::Result<()>> {
        if self.taken < self.head.len() {
            let rest = &self.head[self.taken..];
            let piece = &rest[..rest.len().min(buffer.remaining())];
            buffer.put_slice(piece);
            self.taken += piece.len();
            if self.taken == self.head.len() {
                (self.head, self.taken) = (Vec::new(), 0);
                progress.has_read(self.body.is_over());
            }
            return Poll::Ready(Ok(()));
        }
        if self.body.is_over() {
            return self.poll_gone(context, progress);
        }
        let polled = self.poll_body(context, &mut buffer);
        if polled.is_ready() {
            progress.moved();
            progress.has_read(self.body.is_over());
        }
        polled
    }

    fn poll_body(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.behind.is_empty() {
            let piece = &self.behind[..self.behind.len().min(buffer.remaining())];
            let count = self.body.take(piece);
            buffer.put_slice(&piece[..count]);
            self.behind.drain(..count);
            if self.behind.is_empty() {
                self.behind = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        read_buffer::with(|chunk| {
            let want = buffer.remaining().min(chunk.len());
            let mut read = ReadBuf::new(&mut chunk[..want]);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
            let bytes = read.filled();
            let (body, behind) = bytes.split_at(self.body.take(bytes));
            buffer.put_slice(body);
            self.behind.extend_from_slice(behind);
            Poll::Ready(Ok(()))
        })
    }

    /// All of the request is read: only whether the client goes away is of interest, and not even
    /// that once all of the answer is written.
    fn poll_gone(
        &mut self,
        context: &mut Context<'_>,
        progress: &Progress,
    ) -> Poll<io::Result<()>> {
        if !self.behind.is_empty() || progress.is_over() {
            return Poll::Pending;
        }
        read_buffer::with(|chunk| {
            let mut read = ReadBuf::new(&mut chunk[..AHEAD]);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
            self.behind.extend_from_slice(read.filled());
            if self.behind.is_empty() {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            }
        })
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = slices.iter().find(|slice| !slice.is_empty());
        if !self.begun
            && self.switching.is_empty()
            && let Some(head) = first.filter(|head| head.starts_with(SWITCHING))
        {
            self.switching = with_names_of_the_rfc(head);
        }
        let stream = Pin::new(&mut self.stream);
        let written = if self.switching.is_empty() {
            ready!(stream.poll_write_vectored(context, slices))
        } else {
            let written = ready!(stream.poll_write(context, &self.switching))?;
            self.switching.drain(..written);
            Ok(written)
        };
        self.begun = true;
        Poll::Ready(written)
    }
}

impl Read for RequestStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self.0.lock() {
            Some(exchange) => exchange.poll_read(context, buffer, &self.0.progress),
            None => Poll::Pending,
        }
    }
}

impl Write for RequestStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Some(exchange) = &mut *self.0.lock() else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let written = ready!(exchange.poll_write(context, slices));
        self.0.progress.moved();
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper flushes its stream once its own buffer is empty.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.progress.flush();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self.0.lock() {
            Some(exchange) => Pin::new(&mut exchange.stream).poll_shutdown(context),
            None => Poll::Ready(Ok(())),
        }
    }
}

const SWITCHING: &[u8] = b"HTTP/1.1 101 ";

/// Some clients look for these names as RFC 6455 writes them, and hyper writes names in lower case.
/// They are as long as before, so that what hyper counts as written is.
fn with_names_of_the_rfc(head: &[u8]) -> Vec<u8> {
    const NAMES: [&str; 4] = [
        "Upgrade",
        "Connection",
        "Sec-WebSocket-Accept",
        "Sec-WebSocket-Protocol",
    ];
    let mut head = head.to_vec();
    for line in head.split_mut(|byte| *byte == b'\n') {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(0);
        let found = &mut line[..colon];
        let same = |name: &&&str| found.eq_ignore_ascii_case(name.as_bytes());
        if let Some(name) = NAMES.iter().find(same) {
            found.copy_from_slice(name.as_bytes());
        }
    }
    head
}

impl Progress {
    fn begin(&self) {
        for flag in [&self.answered, &self.flushed, &self.read, &self.moved] {
            flag.store(false, Ordering::Relaxed);
        }
    }

    fn moved(&self) {
        self.moved.store(true, Ordering::Relaxed);
    }

    fn has_read(&self, all: bool) {
        self.read.store(all, Ordering::Relaxed);
    }

    fn flush(&self) {
        let answered = self.answered.load(Ordering::Relaxed);
        self.flushed.store(answered, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.flushed.load(Ordering::Relaxed) && self.read.load(Ordering::Relaxed)
    }
}

impl<B> Answer<B> {
    /// After a 101 there is no next request, and `lent` is `None`.
    pub(super) fn new(body: B, lent: Option<Arc<Lent>>) -> Self {
        Self { body, lent }
    }
}

impl<B> Drop for Answer<B> {
    fn drop(&mut self) {
        if let Some(lent) = &self.lent {
            lent.progress.answered.store(true, Ordering::Relaxed);
        }
    }
}

impl<B: HttpBody + Unpin> HttpBody for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

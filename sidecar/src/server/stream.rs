//! One request as hyper reads it: its head, which is there already, and its body, to the byte.
//! What the client sends behind that stays here until the next request's turn.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::body::Body;
use super::head::Head;
use crate::read_buffer;

#[derive(Debug)]
pub(crate) struct RequestStream {
    stream: TcpStream,
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
    progress: Arc<Progress>,
}

/// How far the answer to a request has come.
#[derive(Debug, Default)]
pub(super) struct Progress {
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
    progress: Option<Arc<Progress>>,
}

/// How much is read in advance of a request's answer, only to see whether the client is there.
const AHEAD: usize = 4 << 10;

impl RequestStream {
    pub(super) fn new(
        stream: TcpStream,
        head: Head,
        behind: Vec<u8>,
        progress: Arc<Progress>,
    ) -> Self {
        Self {
            stream,
            head: head.bytes,
            taken: 0,
            body: head.body,
            behind,
            begun: false,
            switching: Vec::new(),
            progress,
        }
    }

    /// The socket, and what was read from it and not used.
    pub(crate) fn into_inner(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.behind)
    }

    fn note_read(&self) {
        let read = self.taken == self.head.len() && self.body.is_over();
        self.progress.read.store(read, Ordering::Relaxed);
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

    /// All of the request is read: only whether the client goes away is of interest.
    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.behind.is_empty() {
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
}

impl Read for RequestStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.taken < this.head.len() {
            let rest = &this.head[this.taken..];
            let piece = &rest[..rest.len().min(buffer.remaining())];
            buffer.put_slice(piece);
            this.taken += piece.len();
            if this.taken == this.head.len() {
                (this.head, this.taken) = (Vec::new(), 0);
                this.note_read();
            }
            return Poll::Ready(Ok(()));
        }
        if this.body.is_over() {
            return this.poll_gone(context);
        }
        let polled = this.poll_body(context, &mut buffer);
        if polled.is_ready() {
            this.progress.moved();
            this.note_read();
        }
        polled
    }
}

impl Write for RequestStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.begun && self.switching.is_empty() && bytes.starts_with(SWITCHING) {
            self.switching = with_names_of_the_rfc(bytes);
        }
        if !self.switching.is_empty() {
            let this = &mut *self;
            let written = ready!(Pin::new(&mut this.stream).poll_write(context, &this.switching))?;
            this.switching.drain(..written);
            this.begun = true;
            this.progress.moved();
            return Poll::Ready(Ok(written));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        self.begun = true;
        self.progress.moved();
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if (!self.begun || !self.switching.is_empty())
            && let Some(head) = slices.iter().find(|slice| !slice.is_empty())
            && (!self.switching.is_empty() || head.starts_with(SWITCHING))
        {
            return self.poll_write(context, head);
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, slices));
        self.begun = true;
        self.progress.moved();
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper flushes its stream once its own buffer is empty.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let answered = self.progress.answered.load(Ordering::Relaxed);
        self.progress.flushed.store(answered, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
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
    fn moved(&self) {
        self.moved.store(true, Ordering::Relaxed);
    }

    /// Whether bytes have moved since this was last asked.
    pub(super) fn has_moved(&self) -> bool {
        self.moved.swap(false, Ordering::Relaxed)
    }

    /// Whether hyper has nothing to do any more but to read another request.
    pub(super) fn is_over(&self) -> bool {
        self.flushed.load(Ordering::Relaxed) && self.read.load(Ordering::Relaxed)
    }
}

impl<B> Answer<B> {
    /// After a 101 there is no next request.
    pub(super) fn new(body: B, progress: Option<Arc<Progress>>) -> Self {
        Self { body, progress }
    }
}

impl<B> Drop for Answer<B> {
    fn drop(&mut self) {
        if let Some(progress) = &self.progress {
            progress.answered.store(true, Ordering::Relaxed);
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

//! The client's side of a session: bytes in and out, and the closing handshake.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::budget::Budget;
use crate::connection::Connection;
use crate::ws::{self, CloseReason, Decoder};

pub(super) struct Socket<S> {
    /// `None` once the client's side is over.
    stream: Option<S>,
    pub(super) decoder: Decoder,
    /// The rest of what the client has not taken in one go.
    writing: Option<Box<Bytes>>,
    /// What was read but not decoded, because the lane was full.
    stash: Option<Box<[u8]>>,
    /// Nothing can be written any more.
    deaf: bool,
    closing: Option<Box<Closing>>,
}

/// RFC 6455 §7.1.1: both close frames, then our end of the stream, then we read until the
/// client's end. Whoever has not come so far by the deadline is cut off.
struct Closing {
    /// To be written behind what waits for the client.
    frame: Option<Bytes>,
    /// Nothing the client sends is of interest any more.
    client_done: bool,
    shut_down: bool,
    deadline: Pin<Box<Sleep>>,
}

pub(super) enum Read {
    /// So many bytes in the buffer.
    Data(usize),
    /// What an earlier read left over.
    Stashed(Box<[u8]>),
    /// Something came that is of no interest any more.
    Discarded,
    /// The stream has ended.
    End,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    pub(super) fn new(stream: S, early: &[u8]) -> Self {
        Self {
            stream: Some(stream),
            decoder: Decoder::default(),
            writing: None,
            stash: (!early.is_empty()).then(|| early.into()),
            deaf: false,
            closing: None,
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    pub(super) fn is_gone(&self) -> bool {
        self.stream.is_none()
    }

    /// Bytes that this side keeps for later.
    pub(super) fn held(&self) -> usize {
        self.stash.as_ref().map_or(0, |stash| stash.len()) + self.decoder.held()
    }

    pub(super) fn drop_stream(&mut self) {
        self.stream = None;
        self.closing = None;
        self.stash = None;
        self.decoder = Decoder::default();
        self.writing = None;
    }

    /// The client takes nothing any more. What it sent before it left is still to be read: a
    /// last message and a hang-up must not become a hang-up.
    pub(super) fn stop_writing(&mut self) {
        self.deaf = true;
        self.writing = None;
        if self.is_closing() {
            self.drop_stream();
        }
    }

    pub(super) fn stash(&mut self, rest: &[u8]) {
        self.stash = (!rest.is_empty()).then(|| rest.into());
    }

    pub(super) fn begin_close(&mut self, reason: &CloseReason, patience: Duration) {
        let frame = match reason {
            CloseReason::Vanished => return self.drop_stream(),
            _ if self.deaf => return self.drop_stream(),
            CloseReason::Client { code: 1005, .. } => ws::close(None, ""),
            CloseReason::Client { code, .. } => ws::close(Some(*code), ""),
            reason => ws::close(Some(reason.code()), &reason.reason()),
        };
        self.closing = Some(Box::new(Closing {
            frame: Some(frame),
            client_done: false,
            shut_down: false,
            deadline: Box::pin(tokio::time::sleep(patience)),
        }));
    }

    /// The client's close frame is here.
    pub(super) fn peer_closed(&mut self) {
        if let Some(closing) = &mut self.closing {
            closing.client_done = true;
        }
    }

    /// What comes now cannot be understood any more, so the client's close frame is not waited for.
    pub(super) fn stop_decoding(&mut self) {
        self.peer_closed();
        self.decoder = Decoder::default();
    }

    /// Writes what waits, then the close frame, then the end of the stream.
    pub(super) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        connection: &Connection,
        budget: &Budget,
    ) -> io::Result<()> {
        let Some(stream) = self.stream.as_mut().filter(|_| !self.deaf) else {
            return Ok(());
        };
        let mut rest = self.writing.take().map(|rest| *rest);
        while let Some(mut frame) = rest
            .take()
            .or_else(|| connection.take_outgoing(budget))
            .or_else(|| self.closing.as_mut()?.frame.take())
        {
            match Pin::new(&mut *stream).poll_write(context, &frame) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => frame.advance(count),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    self.writing = Some(Box::new(frame));
                    return Ok(());
                }
            }
            rest = Some(frame).filter(|frame| !frame.is_empty());
        }
        if let Some(closing) = self
            .closing
            .as_mut()
            .filter(|closing| closing.wants_shutdown())
            && let Poll::Ready(result) = Pin::new(stream).poll_shutdown(context)
        {
            closing.shut_down = true;
            return result;
        }
        Ok(())
    }

    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<Read>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Pending;
        };
        let decoding = self
            .closing
            .as_ref()
            .is_none_or(|closing| !closing.client_done);
        if decoding && let Some(stash) = self.stash.take() {
            return Poll::Ready(Ok(Read::Stashed(stash)));
        }
        if let Some(closing) = &mut self.closing
            && closing.deadline.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Ok(Read::End));
        }
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(stream).poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(match buffer.filled().len() {
            0 => Read::End,
            count if decoding => Read::Data(count),
            _ => Read::Discarded,
        }))
    }
}

impl Closing {
    fn wants_shutdown(&self) -> bool {
        self.client_done && self.frame.is_none() && !self.shut_down
    }
}

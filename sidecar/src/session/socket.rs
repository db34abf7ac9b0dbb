//! The client's side of a session: bytes in and out, and the closing handshake.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::unfinished::Unfinished;
use crate::connection::{Connection, Room};
use crate::protocol::CloseReason;
use ws_codec::Decoder;

pub(super) struct Socket<S> {
    /// `None` once the client's side is over.
    stream: Option<S>,
    pub(super) decoder: Decoder,
    /// The rest of what the client has not taken in one go.
    writing: Option<Box<Bytes>>,
    /// There only while something is: most clients are between two messages.
    begun: Option<Box<Begun>>,
    closing: Option<Box<Closing>>,
    /// What was read from a client since it last took anything.
    unheeded: u32,
    /// Nothing can be written any more.
    deaf: bool,
}

/// What a client has begun to send.
#[derive(Default)]
struct Begun {
    /// What was read but not decoded, because the lane was full.
    stash: Box<[u8]>,
    unfinished: Option<Unfinished>,
}

/// RFC 6455 §7.1.1: both close frames, then our end of the stream, then we read until the
/// client's end. Whoever has not come so far by the deadline is cut off.
struct Closing {
    /// To be written behind what waits for the client.
    frame: Option<Bytes>,
    /// Nothing the client sends is of interest any more.
    client_done: bool,
    shut_down: bool,
    /// Each time that the client takes something it has so long again,
    patience: Duration,
    /// but no longer than this.
    latest: Instant,
    deadline: Pin<Box<Sleep>>,
}

/// What a client took in one go.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken {
    pub(super) bytes: usize,
    /// It had not taken all before.
    pub(super) at_last: bool,
}

/// So much of a frame in hand is finished before a close that throws away what waits.
const LAST_FRAME: usize = 16 << 10;
/// So much is read from a client that does not take what waits for it, for the pings in it.
const UNHEEDED: u32 = 64 << 10;

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
            begun: (!early.is_empty()).then(|| {
                Box::new(Begun {
                    stash: early.into(),
                    unfinished: None,
                })
            }),
            closing: None,
            unheeded: 0,
            deaf: false,
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
        self.begun.as_ref().map_or(0, |begun| begun.stash.len()) + self.decoder.held()
    }

    pub(super) fn drop_stream(&mut self) {
        self.stream = None;
        self.closing = None;
        self.begun = None;
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
        if !rest.is_empty() {
            self.begun.get_or_insert_default().stash = rest.into();
        }
    }

    // --- `limits.unfinished` ---

    /// After so many bytes; `new_message`: what is under way was begun with them. 0 is no limit.
    pub(super) fn has_begun(&mut self, bytes: usize, new_message: bool, patience: Duration) {
        if self.decoder.is_between() || patience.is_zero() {
            self.begun.take_if(|begun| begun.stash.is_empty());
            return;
        }
        let begun = self.begun.get_or_insert_default();
        if new_message || begun.unfinished.is_none() {
            begun.unfinished = Some(Unfinished::begin(patience));
        }
        if let Some(unfinished) = &mut begun.unfinished {
            unfinished.received(bytes);
        }
    }

    /// Whether a message was begun too long ago.
    pub(super) fn is_unfinished(&mut self, context: &mut Context<'_>, patience: Duration) -> bool {
        self.closing.is_none()
            && self
                .unfinished()
                .is_some_and(|unfinished| unfinished.is_over(context, patience))
    }

    fn unfinished(&mut self) -> Option<&mut Unfinished> {
        self.begun.as_mut()?.unfinished.as_mut()
    }

    /// Nothing is read from the client for now.
    pub(super) fn pause(&mut self) {
        if let Some(unfinished) = self.unfinished() {
            unfinished.pause();
        }
    }

    pub(super) fn resume(&mut self) {
        if let Some(unfinished) = self.unfinished() {
            unfinished.resume();
        }
    }

    /// Whether a client may be read from that is behind with reading, or not.
    pub(super) fn is_heeded(&mut self, unread: bool) -> bool {
        if !unread {
            self.unheeded = 0;
        }
        self.unheeded < UNHEEDED
    }

    // --- closing ---

    pub(super) fn begin_close(&mut self, reason: &CloseReason, patience: Duration, most: Duration) {
        let frame = match reason {
            CloseReason::Abnormal => return self.drop_stream(),
            _ if self.deaf => return self.drop_stream(),
            CloseReason::Client { code: 1005, .. } => ws_codec::close(None, ""),
            CloseReason::Client { code, .. } => ws_codec::close(Some(*code), ""),
            reason => ws_codec::close(Some(reason.code()), &reason.reason()),
        };
        let in_hand = self.writing.as_ref().map_or(0, |rest| rest.len());
        if reason.discards_outbox() && in_hand > LAST_FRAME {
            // It would not get as far as the close frame.
            return self.drop_stream();
        }
        let now = Instant::now();
        self.closing = Some(Box::new(Closing {
            frame: Some(frame),
            client_done: false,
            shut_down: false,
            patience,
            latest: now + patience.max(most),
            deadline: Box::pin(tokio::time::sleep_until(now + patience)),
        }));
    }

    /// Nothing more is kept for this client than it takes to end.
    pub(super) fn let_go(&mut self) {
        self.begun = None;
        self.stop_decoding();
        let in_hand = self.writing.as_ref().map_or(0, |rest| rest.len());
        if in_hand > LAST_FRAME {
            self.drop_stream();
        }
    }

    /// However long it was to have: the client has no more than this to take its close frame.
    pub(super) fn hurry(&mut self, most: Duration) {
        if let Some(closing) = &mut self.closing {
            closing.latest = closing.latest.min(Instant::now() + most);
            closing.go_on();
        }
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
        self.begun = None;
    }

    /// Writes what waits, then the close frame, then the end of the stream.
    pub(super) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        connection: &Arc<Connection>,
        room: &Room<'_>,
    ) -> io::Result<Taken> {
        let mut taken = Taken::default();
        let Some(stream) = self.stream.as_mut().filter(|_| !self.deaf) else {
            return Ok(taken);
        };
        let mut rest = self.writing.take().map(|rest| *rest);
        let was_behind = rest.is_some();
        while let Some(mut frame) = rest
            .take()
            .or_else(|| connection.take_outgoing(room))
            .or_else(|| self.closing.as_mut()?.frame.take())
        {
            match Pin::new(&mut *stream).poll_write(context, &frame) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => {
                    frame.advance(count);
                    taken.bytes += count;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    self.writing = Some(Box::new(frame));
                    break;
                }
            }
            rest = Some(frame).filter(|frame| !frame.is_empty());
        }
        if taken.bytes > 0 {
            self.unheeded = 0;
            taken.at_last = was_behind;
            if let Some(closing) = &mut self.closing {
                closing.go_on();
            }
        }
        if self.writing.is_some() {
            return Ok(taken);
        }
        if let Some(closing) = self
            .closing
            .as_mut()
            .filter(|closing| closing.wants_shutdown())
            && let Poll::Ready(result) = Pin::new(stream).poll_shutdown(context)
        {
            closing.shut_down = true;
            result?;
        }
        Ok(taken)
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
        if decoding
            && let Some(begun) = &mut self.begun
            && !begun.stash.is_empty()
        {
            return Poll::Ready(Ok(Read::Stashed(std::mem::take(&mut begun.stash))));
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
            count if decoding => {
                let count_32 = u32::try_from(count).unwrap_or(u32::MAX);
                self.unheeded = self.unheeded.saturating_add(count_32);
                Read::Data(count)
            }
            _ => Read::Discarded,
        }))
    }
}

impl Closing {
    /// The client has taken something.
    fn go_on(&mut self) {
        let due = (Instant::now() + self.patience).min(self.latest);
        self.deadline.as_mut().reset(due);
    }

    fn wants_shutdown(&self) -> bool {
        self.client_done && self.frame.is_none() && !self.shut_down
    }
}

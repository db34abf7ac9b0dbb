//! Bytes from a client become frames; fragments become messages.
//!
//! Between messages the decoder is one null pointer: a connection that is idle pays nothing for
//! having once received a large message. What is declared is never allocated: buffers grow with
//! the bytes that arrived.

#![allow(
    clippy::mut_mut,
    reason = "a decoder advances its caller's slice, as std's Read for &[u8] does"
)]

mod header;

use std::borrow::Cow;

use super::{Opcode, utf8};
use header::{Header, unmask};

#[derive(Debug, Default)]
pub struct Decoder {
    unfinished: Option<Box<Unfinished>>,
}

/// What a client sent, in place where it came in one piece; data messages are whole.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    Text(Cow<'a, str>),
    Binary(Cow<'a, [u8]>),
    Ping(Cow<'a, [u8]>),
    Pong,
    Close { code: Option<u16>, reason: Box<str> },
}

/// Why the connection has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    Protocol(&'static str),
    InvalidText,
    TooBig,
}

/// A frame or a message of which more is to come.
#[derive(Debug, Default)]
struct Unfinished {
    /// The first bytes of a header that is not whole.
    head: Vec<u8>,
    /// The frame whose payload is arriving.
    frame: Option<Arriving>,
    /// The payload of a control frame so far.
    control: Vec<u8>,
    /// The data message so far.
    message: Option<Assembly>,
}

#[derive(Clone, Copy, Debug)]
struct Arriving {
    header: Header,
    remaining: u64,
}

#[derive(Debug)]
struct Assembly {
    text: bool,
    bytes: Vec<u8>,
    /// Up to here the text is known to be UTF-8.
    checked: usize,
}

// === impl Decoder ===

impl Decoder {
    /// The next frame in `input`, which is advanced behind it. `None`: more bytes are needed,
    /// and `input` is empty. After an error nothing more may be decoded.
    pub fn next<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        max_message: usize,
    ) -> Result<Option<Frame<'a>>, Violation> {
        self.next_within(input, max_message, usize::MAX)
    }

    /// The same, for so many steps: a step is a frame's header or what is there of its payload.
    /// After as many it is `None`, and `input` is not empty.
    pub fn next_within<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        max_message: usize,
        steps: usize,
    ) -> Result<Option<Frame<'a>>, Violation> {
        for _ in 0..steps {
            if self
                .unfinished
                .as_ref()
                .is_none_or(|state| state.at_border())
            {
                match whole_frame(input, self.in_message(), max_message)? {
                    Found::Frame(frame) => return Ok(Some(frame)),
                    Found::Nothing if input.is_empty() => return Ok(None),
                    Found::Nothing => {}
                }
            }
            let state = self.unfinished.get_or_insert_default();
            let step = state.step(input, max_message)?;
            if state.is_empty() {
                self.unfinished = None;
            }
            match step {
                Step::Frame(frame) => return Ok(Some(frame)),
                Step::Again => {}
                Step::NeedMore => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Bytes held for a message that is not whole.
    pub fn held(&self) -> usize {
        self.unfinished.as_ref().map_or(0, |state| {
            state
                .message
                .as_ref()
                .map_or(0, |message| message.bytes.capacity())
        })
    }

    /// Whether nothing is begun that more is to come of.
    pub fn is_between(&self) -> bool {
        self.unfinished.is_none()
    }

    /// Whether a data message is begun.
    pub fn in_message(&self) -> bool {
        self.unfinished
            .as_ref()
            .is_some_and(|state| state.message.is_some())
    }
}

enum Found<'a> {
    Frame(Frame<'a>),
    Nothing,
}

enum Step {
    Frame(Frame<'static>),
    Again,
    NeedMore,
}

/// The usual case, without a copy: a frame that is whole in `input` and is all of its message,
/// or a control frame.
fn whole_frame<'a>(
    input: &mut &'a mut [u8],
    in_message: bool,
    max_message: usize,
) -> Result<Found<'a>, Violation> {
    let Some((header, head_len)) = Header::parse(input)? else {
        return Ok(Found::Nothing);
    };
    header.check(in_message, 0, max_message)?;
    let data = matches!(header.opcode, Opcode::Text | Opcode::Binary) && header.fin;
    let Ok(len) = usize::try_from(header.len) else {
        return Ok(Found::Nothing);
    };
    if !(data || header.opcode.is_control()) || input.len() - head_len < len {
        return Ok(Found::Nothing);
    }
    let (frame, rest) = std::mem::take(input).split_at_mut(head_len + len);
    *input = rest;
    let payload = &mut frame[head_len..];
    unmask(payload, header.mask, 0);
    let payload: &'a [u8] = payload;
    match header.opcode {
        Opcode::Text => match simdutf8::basic::from_utf8(payload) {
            Ok(text) => Ok(Found::Frame(Frame::Text(Cow::Borrowed(text)))),
            Err(_) => Err(Violation::InvalidText),
        },
        Opcode::Binary => Ok(Found::Frame(Frame::Binary(Cow::Borrowed(payload)))),
        opcode => control(opcode, Cow::Borrowed(payload)).map(Found::Frame),
    }
}

fn control(opcode: Opcode, payload: Cow<'_, [u8]>) -> Result<Frame<'_>, Violation> {
    match opcode {
        Opcode::Ping => Ok(Frame::Ping(payload)),
        Opcode::Close => parse_close(&payload),
        _ => Ok(Frame::Pong),
    }
}

fn parse_close(body: &[u8]) -> Result<Frame<'static>, Violation> {
    let Some((code, reason)) = body.split_first_chunk::<2>() else {
        return match body {
            [] => Ok(Frame::Close {
                code: None,
                reason: Box::default(),
            }),
            _ => Err(Violation::Protocol("close frame of one byte")),
        };
    };
    let code = u16::from_be_bytes(*code);
    // RFC 6455 §7.4.2 and the IANA registry: what may stand in a frame.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Violation::Protocol("close code that may not be sent"));
    }
    let reason = std::str::from_utf8(reason).map_err(|_| Violation::InvalidText)?;
    Ok(Frame::Close {
        code: Some(code),
        reason: reason.into(),
    })
}

// === impl Unfinished ===

impl Unfinished {
    fn at_border(&self) -> bool {
        self.head.is_empty() && self.frame.is_none()
    }

    fn is_empty(&self) -> bool {
        self.at_border() && self.message.is_none()
    }

    fn step(&mut self, input: &mut &mut [u8], max_message: usize) -> Result<Step, Violation> {
        let Some(mut frame) = self.frame else {
            return self.step_header(input, max_message);
        };
        let available = usize::try_from(frame.remaining)
            .unwrap_or(usize::MAX)
            .min(input.len());
        let (chunk, rest) = std::mem::take(input).split_at_mut(available);
        *input = rest;
        let done = frame.header.len - frame.remaining;
        unmask(chunk, frame.header.mask, done);
        frame.remaining -= chunk.len() as u64;
        self.frame = (frame.remaining > 0).then_some(frame);
        if frame.header.opcode.is_control() {
            self.control.extend_from_slice(chunk);
        } else if let Some(message) = &mut self.message {
            message.push(chunk, frame.remaining)?;
        }
        if self.frame.is_some() {
            return Ok(Step::NeedMore);
        }
        self.finish_frame(frame.header)
    }

    /// Collects a header byte by byte until it is whole; a header is at most 14 bytes.
    fn step_header(
        &mut self,
        input: &mut &mut [u8],
        max_message: usize,
    ) -> Result<Step, Violation> {
        let header = loop {
            if let Some((header, _)) = Header::parse(&self.head)? {
                break header;
            }
            let Some((first, rest)) = std::mem::take(input).split_first_mut() else {
                return Ok(Step::NeedMore);
            };
            self.head.push(*first);
            *input = rest;
        };
        self.head.clear();
        let so_far = self
            .message
            .as_ref()
            .map_or(0, |message| message.bytes.len());
        header.check(self.message.is_some(), so_far, max_message)?;
        if matches!(header.opcode, Opcode::Text | Opcode::Binary) {
            let text = header.opcode == Opcode::Text;
            self.message = Some(Assembly {
                text,
                bytes: Vec::new(),
                checked: 0,
            });
        }
        self.frame = Some(Arriving {
            header,
            remaining: header.len,
        });
        Ok(Step::Again)
    }

    fn finish_frame(&mut self, header: Header) -> Result<Step, Violation> {
        if header.opcode.is_control() {
            let payload = Cow::Owned(std::mem::take(&mut self.control));
            return control(header.opcode, payload).map(Step::Frame);
        }
        if !header.fin {
            return Ok(Step::Again);
        }
        match self.message.take() {
            Some(message) => message.finish().map(Step::Frame),
            None => Ok(Step::Again),
        }
    }
}

impl Assembly {
    /// With so many more to come in this frame: no room is taken for more than that.
    fn push(&mut self, chunk: &[u8], to_come: u64) -> Result<(), Violation> {
        let (len, room) = (self.bytes.len(), self.bytes.capacity());
        if chunk.len() > room - len {
            let whole = usize::try_from(to_come).map_or(usize::MAX, |to_come| {
                (len + chunk.len()).saturating_add(to_come)
            });
            let wanted = (2 * room).max(len + chunk.len()).min(whole);
            self.bytes.reserve_exact(wanted - len);
        }
        self.bytes.extend_from_slice(chunk);
        if self.text {
            self.checked =
                utf8::advance(&self.bytes, self.checked).map_err(|_| Violation::InvalidText)?;
        }
        Ok(())
    }

    fn finish(self) -> Result<Frame<'static>, Violation> {
        if !self.text {
            return Ok(Frame::Binary(Cow::Owned(self.bytes)));
        }
        let text = String::from_utf8(self.bytes).map_err(|_| Violation::InvalidText)?;
        Ok(Frame::Text(Cow::Owned(text)))
    }
}

#[cfg(test)]
mod tests;

//! A frame's header (RFC 6455 §5.2), and the mask that it gives.

use super::Violation;
use crate::{MAX_CONTROL, Opcode};

#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    pub(super) mask: [u8; 4],
    pub(super) len: u64,
}

impl Header {
    /// The header and its length, or `None` while it is not whole.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Violation> {
        let Some((&[first, second], rest)) = bytes.split_first_chunk::<2>() else {
            return Ok(None);
        };
        if first & 0x70 != 0 {
            return Err(Violation::Protocol("reserved bit set"));
        }
        let opcode = Opcode::parse(first & 0x0F)?;
        if second & 0x80 == 0 {
            return Err(Violation::Protocol("frame is not masked"));
        }
        let (len, rest, len_size) = match second & 0x7F {
            126 => match rest.split_first_chunk::<2>() {
                Some((len, rest)) => (u64::from(u16::from_be_bytes(*len)), rest, 2),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk::<8>() {
                Some((len, rest)) => (u64::from_be_bytes(*len), rest, 8),
                None => return Ok(None),
            },
            len => (u64::from(len), rest, 0),
        };
        if len > i64::MAX as u64 {
            return Err(Violation::Protocol("length has its highest bit set"));
        }
        let Some((mask, _)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let header = Self {
            fin: first & 0x80 != 0,
            opcode,
            mask: *mask,
            len,
        };
        Ok(Some((header, 2 + len_size + 4)))
    }

    pub(super) fn check(
        &self,
        in_message: bool,
        so_far: usize,
        max_message: usize,
    ) -> Result<(), Violation> {
        if self.opcode.is_control() {
            return match self {
                Self { fin: false, .. } => Err(Violation::Protocol("fragmented control frame")),
                Self { len, .. } if *len > MAX_CONTROL as u64 => {
                    Err(Violation::Protocol("control frame over 125 bytes"))
                }
                _ => Ok(()),
            };
        }
        match (self.opcode, in_message) {
            (Opcode::Continuation, false) => Err(Violation::Protocol("continuation of nothing")),
            (Opcode::Text | Opcode::Binary, true) => {
                Err(Violation::Protocol("new message inside a fragmented one"))
            }
            _ if (so_far as u64).saturating_add(self.len) > max_message as u64 => {
                Err(Violation::TooBig)
            }
            _ => Ok(()),
        }
    }
}

impl Opcode {
    fn parse(nibble: u8) -> Result<Self, Violation> {
        Ok(match nibble {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return Err(Violation::Protocol("reserved opcode")),
        })
    }

    pub(super) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// RFC 6455 §5.3; `offset` is how much of the payload came before. Eight bytes at a time, which
/// the compiler turns into vector instructions.
pub(super) fn unmask(payload: &mut [u8], mask: [u8; 4], offset: u64) {
    let shift = usize::try_from(offset % 4).unwrap_or_default();
    let mut mask = mask;
    mask.rotate_left(shift);
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

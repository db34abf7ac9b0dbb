//! Frames to send, each encoded once however many connections get it.

use bytes::{BufMut, Bytes, BytesMut};

use super::{MAX_CONTROL, Opcode};

/// A data message, ready to be written to any number of sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message(Bytes);

impl Message {
    pub fn text(payload: &str) -> Self {
        Self(frame(Opcode::Text, payload.as_bytes()))
    }

    pub fn binary(payload: &[u8]) -> Self {
        Self(frame(Opcode::Binary, payload))
    }

    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

pub fn ping(payload: &[u8]) -> Bytes {
    frame(Opcode::Ping, &payload[..payload.len().min(MAX_CONTROL)])
}

pub fn pong(payload: &[u8]) -> Bytes {
    frame(Opcode::Pong, &payload[..payload.len().min(MAX_CONTROL)])
}

/// A close frame; `None` has no body, which the peer reports as 1005.
pub fn close(code: Option<u16>, reason: &str) -> Bytes {
    let mut body = Vec::with_capacity(2 + reason.len());
    if let Some(code) = code {
        body.extend_from_slice(&code.to_be_bytes());
        body.extend_from_slice(truncated(reason, MAX_CONTROL - 2).as_bytes());
    }
    frame(Opcode::Close, &body)
}

fn frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    const FIN: u8 = 0x80;
    let mut out = BytesMut::with_capacity(payload.len() + 10);
    out.put_u8(FIN | opcode as u8);
    match payload.len() {
        len @ 0..=125 => out.put_u8(u8::try_from(len).unwrap_or_default()),
        len => {
            if let Ok(len) = u16::try_from(len) {
                out.put_u8(126);
                out.put_u16(len);
            } else {
                out.put_u8(127);
                out.put_u64(len as u64);
            }
        }
    }
    out.put_slice(payload);
    out.freeze()
}

/// The longest prefix of whole characters that fits.
fn truncated(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_shortest_form() {
        let head = |len: usize| Message::binary(&vec![0; len]).into_bytes()[..2].to_vec();
        assert_eq!(head(125), [0x82, 125]);
        assert_eq!(head(126), [0x82, 126]);
        assert_eq!(head(65_535), [0x82, 126]);
        assert_eq!(head(65_536), [0x82, 127]);
    }

    #[test]
    fn a_long_close_reason_is_cut_at_a_character() {
        let frame = close(Some(1000), &"é".repeat(100));
        assert_eq!(frame.len(), 2 + 2 + 122);
    }
}

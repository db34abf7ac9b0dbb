//! WebSocket frames, from the client's side.

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// A frame as servers send it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub opcode: u8,
    pub payload: &'a [u8],
    /// Bytes of the whole frame.
    pub size: usize,
}

/// The first whole frame in `bytes`, if it is whole.
pub(crate) fn decode(bytes: &[u8]) -> Option<Frame<'_>> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (start, length) = match second & 0x7f {
        126 => (
            4,
            usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
        ),
        127 => (
            10,
            usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?,
        ),
        short => (2, usize::from(short)),
    };
    let payload = bytes.get(start..start + length)?;
    Some(Frame {
        opcode: first & 0x0f,
        payload,
        size: start + length,
    })
}

/// A masked frame, as clients must send it.
pub(crate) fn encode(opcode: u8, payload: &[u8], into: &mut Vec<u8>) {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    into.push(0x80 | opcode);
    head_length(payload.len(), 0x80, into);
    into.extend_from_slice(&MASK);
    into.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
}

/// An unmasked frame, as servers send it.
pub(crate) fn encode_as_server(opcode: u8, payload: &[u8], into: &mut Vec<u8>) {
    into.push(0x80 | opcode);
    head_length(payload.len(), 0, into);
    into.extend_from_slice(payload);
}

fn head_length(length: usize, flag: u8, into: &mut Vec<u8>) {
    match length {
        0..126 => into.push(flag | u8::try_from(length).unwrap_or(125)),
        126..65536 => {
            into.push(flag | 0x7e);
            into.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        }
        _ => {
            into.push(flag | 0x7f);
            into.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_encodes_is_decoded() {
        for length in [0, 1, 125, 126, 65535, 65536] {
            let mut bytes = Vec::new();
            encode_as_server(TEXT, &vec![7; length], &mut bytes);
            let frame = decode(&bytes).unwrap();
            assert_eq!(
                (frame.opcode, frame.payload.len(), frame.size),
                (TEXT, length, bytes.len())
            );
            assert_eq!(decode(&bytes[..bytes.len() - 1]), None);
        }
    }
}

//! What clients of a WebSocket server say, and what it answers, byte by byte.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;

/// A request to become a WebSocket; `headers` are whole lines.
pub(crate) fn upgrade(target: &str, headers: &str) -> Vec<u8> {
    format!(
        "GET {target} HTTP/1.1\r\nHost: pod\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
    )
    .into_bytes()
}

/// A masked frame, as clients must send it. The mask is zero, which is allowed and cheap.
pub(crate) fn frame(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame_head(fin, opcode, payload.len());
    bytes.extend_from_slice(payload);
    bytes
}

pub(crate) fn frame_head(fin: bool, opcode: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![if fin { 0x80 } else { 0 } | opcode];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..126), _) => bytes.push(0x80 | short),
        (_, Ok(medium)) => {
            bytes.push(0xfe);
            bytes.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            bytes.push(0xff);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes
}

/// Reads an answer's head, without taking a byte of what follows, and says its status.
pub(crate) async fn status(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<u16> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
        if head.len() > 1 << 16 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    let digits = head.get(9..12).and_then(|it| std::str::from_utf8(it).ok());
    digits
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The next frame of a server: opcode and payload.
pub(crate) async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    let opcode = stream.read_u8().await? & 0x0f;
    let length = match stream.read_u8().await? & 0x7f {
        126 => u64::from(stream.read_u16().await?),
        127 => stream.read_u64().await?,
        short => short.into(),
    };
    // No message of a conversation comes near; a server gone mad must not take us along.
    if length > 1 << 24 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut payload = vec![0; usize::try_from(length).unwrap_or(0)];
    stream.read_exact(&mut payload).await?;
    Ok((opcode, payload))
}

/// Why a server closed: the code, 1005 where it gave none.
pub(crate) fn close_code(payload: &[u8]) -> u16 {
    payload
        .first_chunk()
        .map_or(1005, |code| u16::from_be_bytes(*code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_as_short_as_they_can_be() {
        assert_eq!(
            frame(true, TEXT, b"hi"),
            [0x81, 0x82, 0, 0, 0, 0, b'h', b'i']
        );
        assert_eq!(frame_head(false, BINARY, 126)[..4], [0x02, 0xfe, 0, 126]);
        assert_eq!(frame_head(true, PING, 1 << 16).len(), 14);
    }

    #[tokio::test]
    async fn an_answer_and_what_follows_are_told_apart() {
        let mut bytes: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\n\x88\x02\x03\xf5";
        assert_eq!(status(&mut bytes).await.unwrap(), 101);
        let (opcode, payload) = read_frame(&mut bytes).await.unwrap();
        assert_eq!((opcode, close_code(&payload)), (CLOSE, 1013));
    }
}

//! A socket on which the test says every byte itself.

use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::http::{self, Response};
use super::{Gateway, soon};

pub struct Raw {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;

const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

impl Raw {
    /// A connection on which nothing was said yet.
    pub async fn dial(address: SocketAddr) -> Self {
        let stream = soon("a connection", TcpStream::connect(address))
            .await
            .unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// The same from this address of ours.
    pub async fn dial_from(ip: IpAddr, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(ip, 0)).unwrap();
        let stream = soon("a connection", socket.connect(address)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Everything until the other side ends.
    pub async fn rest(&mut self) -> Vec<u8> {
        soon("the end", self.stream.read_to_end(&mut self.buffer))
            .await
            .unwrap();
        std::mem::take(&mut self.buffer)
    }

    /// Whether the other side has neither ended nor reset it, as far as we know by now. What it
    /// has sent is thrown away.
    pub fn is_open(&self) -> bool {
        let mut rest = [0; 1024];
        loop {
            match self.stream.try_read(&mut rest) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
            }
        }
    }

    /// A WebSocket.
    pub async fn open(gateway: &Gateway) -> Self {
        Self::open_with(gateway, &[]).await
    }

    pub async fn open_with(gateway: &Gateway, headers: &[(&str, &str)]) -> Self {
        let mut raw = Self::dial(gateway.clients).await;
        raw.upgrade(headers).await;
        raw
    }

    /// A WebSocket whose end of the connection takes few bytes, so that one that does not read
    /// is full soon.
    pub async fn open_narrow(gateway: &Gateway, headers: &[(&str, &str)]) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = soon("a connection", socket.connect(gateway.clients))
            .await
            .unwrap();
        let mut raw = Self {
            stream,
            buffer: Vec::new(),
        };
        raw.upgrade(headers).await;
        raw
    }

    pub async fn upgrade(&mut self, headers: &[(&str, &str)]) {
        self.send(&http::request(
            "GET",
            "/ws",
            &http::upgrade_headers(headers),
            b"",
        ))
        .await;
        let response = self.response().await;
        assert_eq!(response.status, 101, "{response:?}");
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Sends as much as the other side takes: it may hang up in the middle.
    pub async fn send_what_goes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    pub async fn response(&mut self) -> Response {
        soon(
            "an answer",
            http::read_response(&mut self.stream, &mut self.buffer),
        )
        .await
        .unwrap()
    }

    /// The next frame of the server: opcode and payload. `None`: its end of the stream, or a reset.
    pub async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        soon("a frame", async {
            self.fill(2).await?;
            let (extended, len) = match self.buffer[1] {
                126 => (2, None),
                127 => (8, None),
                len => (0, Some(usize::from(len))),
            };
            self.fill(2 + extended).await?;
            let declared = self.buffer[2..2 + extended]
                .iter()
                .fold(0, |len, byte| len << 8 | usize::from(*byte));
            let (head, len) = (2 + extended, len.unwrap_or(declared));
            self.fill(head + len).await?;
            let opcode = self.buffer[0] & 0x0F;
            let payload = self.buffer[head..head + len].to_vec();
            self.buffer.drain(..head + len);
            Some((opcode, payload))
        })
        .await
    }

    async fn fill(&mut self, len: usize) -> Option<()> {
        while self.buffer.len() < len {
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
        Some(())
    }

    /// The code of the server's close frame, whatever comes before it. `None`: it hung up without.
    pub async fn close_code(&mut self) -> Option<u16> {
        loop {
            let (opcode, payload) = self.frame().await?;
            if opcode == CLOSE {
                return Some(u16::from_be_bytes([payload[0], payload[1]]));
            }
        }
    }

    /// Waits for the server's end of the stream.
    pub async fn ended(&mut self) {
        while self.frame().await.is_some() {}
    }

    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

/// A whole frame, masked as a client's has to be.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    piece(true, opcode, payload)
}

/// A frame that may be a fragment.
pub fn piece(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(fin, opcode, payload.len() as u64);
    bytes.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}

/// A header with its mask, for a payload of any declared length.
pub fn header(fin: bool, opcode: u8, len: u64) -> Vec<u8> {
    let mut bytes = vec![u8::from(fin) << 7 | opcode];
    match len {
        0..=125 => bytes.push(0x80 | u8::try_from(len).unwrap()),
        126..=0xFFFF => {
            bytes.push(0x80 | 0x7E);
            bytes.extend_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 0x7F);
            bytes.extend_from_slice(&len.to_be_bytes());
        }
    }
    bytes.extend_from_slice(&MASK);
    bytes
}

/// A close frame's payload.
pub fn close_body(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), reason].concat()
}

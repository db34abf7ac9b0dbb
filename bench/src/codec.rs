//! What the frames alone cost: the gateway's codec beside tungstenite's, without sockets, tasks
//! or an app. tungstenite with a read buffer of 4 KiB, as its default of 128 KiB would be held by
//! every connection.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message as TheirMessage};
use ws_codec::{Decoder, Frame, Message};

use crate::inner::{self, cpu, resident};
use crate::load::Metrics;
use crate::peer::Peer;
use crate::wire::frame::{TEXT, encode};

const CONNECTIONS: usize = 10_000;
const ROUNDS: usize = 50;
const LARGE: usize = 60_000;
const IN: usize = 128;
const OUT: usize = 256;

/// What the inner process prints.
#[derive(Debug, Deserialize, Serialize)]
struct Figures {
    bytes: f64,
    bytes_after_large: f64,
    receive: f64,
    send: f64,
}

/// Measures in a process of its own, whose memory is nobody else's.
pub(crate) fn measure(core: usize, peer: Peer) -> anyhow::Result<Metrics> {
    let figures: Figures = inner::run(core, &["codec", peer.name()])?;
    Ok(Metrics::from([
        ("bytes", figures.bytes),
        ("bytes_after_large", figures.bytes_after_large),
        ("receive", figures.receive),
        ("send", figures.send),
    ]))
}

/// `ws-bench codec PEER`
pub(crate) fn main(peer: &str) -> anyhow::Result<()> {
    let input = Cell::new(&[][..]);
    let figures = if peer == Peer::Tungstenite.name() {
        run(|| Theirs::new(&input))
    } else {
        run(Ours::default)
    }?;
    serde_json::to_writer(io::stdout(), &figures)?;
    Ok(())
}

/// One connection's frames.
trait Codec<'a> {
    /// A message that was encoded before, as its recipients get it.
    type Encoded: Clone;

    fn encoded(payload: &str) -> Self::Encoded;
    /// The length of the one message in `bytes`.
    fn receive(&mut self, bytes: &'a [u8], scratch: &mut Vec<u8>) -> anyhow::Result<usize>;
    /// How much goes to the socket.
    fn send(&mut self, message: Self::Encoded) -> anyhow::Result<usize>;
}

fn run<'a, C: Codec<'a>>(new: impl Fn() -> C) -> anyhow::Result<Figures> {
    let (large, small) = (client_frame(LARGE), client_frame(IN));
    let mut scratch = Vec::with_capacity(2 * LARGE);
    let mut all = Vec::with_capacity(CONNECTIONS);
    all.resize_with(CONNECTIONS, || None);
    let before = resident()?;
    all.fill_with(|| Some(new()));
    let mut all: Vec<C> = all.into_iter().flatten().collect();
    let mut receive = |codec: &mut C, frame, length| {
        let received = codec.receive(frame, &mut scratch)?;
        ensure!(received == length, "{received} bytes came, not {length}");
        Ok(())
    };
    for codec in &mut all {
        receive(codec, small, IN)?;
    }
    let bytes = resident()?.saturating_sub(before);
    for codec in &mut all {
        receive(codec, large, LARGE)?;
    }
    let bytes_after_large = resident()?.saturating_sub(before);

    let start = cpu()?;
    for _ in 0..ROUNDS {
        for codec in &mut all {
            receive(codec, small, IN)?;
        }
    }
    let received = cpu()?.saturating_sub(start);

    let start = cpu()?;
    for _ in 0..ROUNDS {
        let message = C::encoded(&"x".repeat(OUT));
        for codec in &mut all {
            let sent = codec.send(message.clone())?;
            ensure!(sent == OUT + 4, "{sent} bytes went, not {}", OUT + 4);
        }
    }
    let sent = cpu()?.saturating_sub(start);

    let kept = |bytes: u64| bytes as f64 / CONNECTIONS as f64;
    let each = |cpu: Duration| cpu.as_secs_f64() * 1e9 / (CONNECTIONS * ROUNDS) as f64;
    Ok(Figures {
        bytes: kept(bytes),
        bytes_after_large: kept(bytes_after_large),
        receive: each(received),
        send: each(sent),
    })
}

/// Lives as long as the process, as streams in memory read from it.
fn client_frame(length: usize) -> &'static [u8] {
    let mut frame = Vec::new();
    encode(TEXT, "x".repeat(length).as_bytes(), &mut frame);
    frame.leak()
}

#[derive(Default)]
struct Ours {
    decoder: Decoder,
    writing: Option<bytes::Bytes>,
}

impl Codec<'_> for Ours {
    type Encoded = bytes::Bytes;

    fn encoded(payload: &str) -> bytes::Bytes {
        Message::text(payload).into_bytes()
    }

    fn receive(&mut self, bytes: &[u8], scratch: &mut Vec<u8>) -> anyhow::Result<usize> {
        // As from a socket: into the buffer that all share.
        scratch.clear();
        scratch.extend_from_slice(bytes);
        let frame = self.decoder.next(&mut scratch.as_mut_slice(), LARGE);
        match frame.ok().flatten() {
            Some(Frame::Text(text)) => Ok(Box::<str>::from(&*text).len()),
            other => anyhow::bail!("no text but {other:?}"),
        }
    }

    fn send(&mut self, message: bytes::Bytes) -> anyhow::Result<usize> {
        self.writing = Some(message);
        Ok(self.writing.take().map_or(0, |frame| frame.len()))
    }
}

struct Theirs<'a>(WebSocket<Memory<'a>>);

impl<'a> Theirs<'a> {
    fn new(input: &'a Cell<&'a [u8]>) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(4 << 10)
            .write_buffer_size(0);
        let memory = Memory { input, written: 0 };
        Self(WebSocket::from_raw_socket(
            memory,
            Role::Server,
            Some(config),
        ))
    }
}

impl<'a> Codec<'a> for Theirs<'a> {
    type Encoded = TheirMessage;

    fn encoded(payload: &str) -> TheirMessage {
        TheirMessage::text(payload)
    }

    fn receive(&mut self, bytes: &'a [u8], _: &mut Vec<u8>) -> anyhow::Result<usize> {
        self.0.get_mut().input.set(bytes);
        Ok(self.0.read()?.len())
    }

    fn send(&mut self, message: TheirMessage) -> anyhow::Result<usize> {
        let before = self.0.get_ref().written;
        match self.0.send(message) {
            Ok(()) => Ok(self.0.get_ref().written - before),
            Err(Error::Io(error)) => Err(error).context("memory takes everything"),
            Err(error) => Err(error.into()),
        }
    }
}

/// A socket that has what was put into it last, and takes everything.
struct Memory<'a> {
    input: &'a Cell<&'a [u8]>,
    written: usize,
}

impl Read for Memory<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut input = self.input.get();
        if input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = input.read(buffer)?;
        self.input.set(input);
        Ok(count)
    }
}

impl Write for Memory<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

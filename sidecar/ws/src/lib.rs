//! The WebSocket protocol (RFC 6455) as a server speaks it, without any IO.
//!
//! Own code and not tokio-tungstenite because of what a connection costs: tungstenite keeps a
//! read buffer for life once a message has filled it (over 120 KB) and copies each outgoing
//! frame, where this decoder holds nothing between messages and one encoded frame is shared by
//! all its recipients. tungstenite is the oracle of the tests below and of the fuzz targets.

mod decode;
mod encode;
mod handshake;
mod utf8;

pub use decode::{Decoder, Frame, Violation};
pub use encode::{Message, close, ping, pong};
pub use handshake::accept_key;

/// RFC 6455 §5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xA,
}

/// RFC 6455 §5.5: a control frame's payload is at most this long.
const MAX_CONTROL: usize = 125;

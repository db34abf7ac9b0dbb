use std::net::SocketAddr;

use super::body::Body;
use super::head::{Head, Scan};
use super::proxy_protocol::{self, Beginning};

/// What a stream's beginning is found to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Unfinished,
    Refused(u16, String),
    /// The head as hyper is to read it, its header lines, and how many bytes behind it are the
    /// body's.
    Request {
        head: Vec<u8>,
        lines: usize,
        body: usize,
    },
}

/// How long a PROXY protocol header at the beginning is, and whom it names.
pub fn proxy_header(stream: &[u8]) -> Option<(usize, SocketAddr)> {
    match proxy_protocol::read(stream) {
        Beginning::Header { length, client } => Some((length, client)),
        _ => None,
    }
}

/// Reads a stream that arrives in such pieces.
pub fn head(stream: &[u8], piece: usize) -> Outcome {
    let mut scan = Scan::default();
    let mut arrived = 0;
    while arrived < stream.len() {
        arrived = arrived.saturating_add(piece).min(stream.len());
        let end = match scan.end(&stream[..arrived]) {
            Ok(None) => continue,
            Ok(Some(end)) => end,
            Err(refusal) => return Outcome::Refused(refusal.status.as_u16(), refusal.message),
        };
        return match Head::read(&scan, stream[..end].to_vec(), None) {
            Err(refusal) => Outcome::Refused(refusal.status.as_u16(), refusal.message),
            Ok(read) => Outcome::Request {
                lines: read.lines,
                body: body_length(read.body, &stream[end..], piece),
                head: read.bytes,
            },
        };
    }
    Outcome::Unfinished
}

/// How much of the stream is a chunked body.
pub fn body(stream: &[u8], piece: usize) -> usize {
    body_length(Body::chunked(), stream, piece)
}

fn body_length(mut body: Body, stream: &[u8], piece: usize) -> usize {
    stream.chunks(piece).map(|piece| body.take(piece)).sum()
}

//! Any bytes from a client, in pieces cut by the first byte: no panic, no message over the
//! limit, nothing held beyond what arrived, and the same frames as in one piece.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_gateway::inbound::classify;
use ws_codec::{Decoder, Frame};

const LIMIT: usize = 1000;

fuzz_target!(|data: &[u8]| {
    let Some((&cut, stream)) = data.split_first() else { return };
    let whole = decode(stream, usize::MAX);
    let pieces = decode(stream, usize::from(cut).max(1));
    assert_eq!(whole, pieces);
});

fn decode(stream: &[u8], cut: usize) -> Vec<Vec<u8>> {
    let mut decoder = Decoder::default();
    let mut seen = Vec::new();
    let mut stream = stream.to_vec();
    for piece in stream.chunks_mut(cut) {
        let mut input = piece;
        loop {
            let frame = match decoder.next(&mut input, LIMIT) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(_) => {
                    seen.push(b"violation".to_vec());
                    return seen;
                }
            };
            match frame {
                Frame::Text(text) => {
                    assert!(text.len() <= LIMIT);
                    classify(&text, true);
                    seen.push(text.as_bytes().to_vec());
                }
                Frame::Binary(bytes) => {
                    assert!(bytes.len() <= LIMIT);
                    seen.push(bytes.to_vec());
                }
                Frame::Ping(payload) => seen.push(payload.to_vec()),
                Frame::Pong => seen.push(Vec::new()),
                Frame::Close { .. } => return seen,
            }
        }
        assert!(decoder.held() <= 2 * LIMIT + 64);
    }
    seen
}

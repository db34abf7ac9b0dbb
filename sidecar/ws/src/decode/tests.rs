//! The decoder against tungstenite, on whole and cut-up streams.

use proptest::prelude::*;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::*;

const LIMIT: usize = 300;

#[derive(Debug, PartialEq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
    Violation,
}

fn client_frame(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 0xF4];
    let mut out = vec![u8::from(fin) << 7 | opcode];
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | u8::try_from(len).unwrap()),
        len => {
            out.push(0x80 | 0x7E);
            out.extend_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    out
}

/// What our decoder makes of a stream that arrives in the given pieces.
fn ours(stream: &[u8], cuts: &[usize]) -> Vec<Seen> {
    let mut decoder = Decoder::default();
    let mut seen = Vec::new();
    let mut stream = stream.to_vec();
    let mut rest: &mut [u8] = &mut stream;
    let mut cuts = cuts.iter().copied().chain(std::iter::repeat(usize::MAX));
    while !rest.is_empty() {
        let at = cuts.next().unwrap_or(usize::MAX).clamp(1, rest.len());
        let (piece, later) = rest.split_at_mut(at);
        rest = later;
        let mut piece = piece;
        loop {
            match decoder.next(&mut piece, LIMIT) {
                Ok(None) => break,
                Ok(Some(Frame::Text(text))) => {
                    seen.push(Seen::Text(text.into_owned()));
                }
                Ok(Some(Frame::Binary(bytes))) => seen.push(Seen::Binary(bytes.to_vec())),
                Ok(Some(Frame::Ping(bytes))) => seen.push(Seen::Ping(bytes.to_vec())),
                Ok(Some(Frame::Pong)) => seen.push(Seen::Pong),
                Ok(Some(Frame::Close { code, .. })) => {
                    seen.push(Seen::Close(code));
                    return seen;
                }
                Err(_) => {
                    seen.push(Seen::Violation);
                    return seen;
                }
            }
        }
    }
    seen
}

struct Stream<'a>(&'a [u8]);

impl std::io::Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(std::io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl std::io::Write for Stream<'_> {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        Ok(buffer.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn tungstenite(stream: &[u8]) -> Vec<Seen> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(LIMIT))
        .max_frame_size(Some(LIMIT));
    let mut context = WebSocketContext::new(Role::Server, Some(config));
    let mut stream = Stream(stream);
    let mut seen = Vec::new();
    loop {
        seen.push(match context.read(&mut stream) {
            Ok(Message::Text(text)) => Seen::Text(text.to_string()),
            Ok(Message::Binary(bytes)) => Seen::Binary(bytes.to_vec()),
            Ok(Message::Ping(bytes)) => Seen::Ping(bytes.to_vec()),
            Ok(Message::Pong(_)) => Seen::Pong,
            Ok(Message::Close(frame)) => {
                seen.push(Seen::Close(frame.map(|frame| frame.code.into())));
                return seen;
            }
            Ok(Message::Frame(_)) => continue,
            Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => return seen,
            Err(_) => {
                seen.push(Seen::Violation);
                return seen;
            }
        });
    }
}

fn frames() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        "[a-zé€]{0,40}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..20),
        Just(vec![b'x'; 200]),
    ];
    let opcode = prop_oneof![4 => 0u8..=2, 1 => 9u8..=10, 1 => Just(8u8), 1 => 0u8..16];
    let frame = (any::<bool>(), opcode, payload).prop_map(|(fin, opcode, payload)| {
        // Closing frames with codes that tungstenite and the registry judge alike.
        let payload = if opcode == 8 {
            1000u16.to_be_bytes().to_vec()
        } else {
            payload
        };
        client_frame(fin || opcode >= 8, opcode, &payload)
    });
    proptest::collection::vec(frame, 0..8).prop_map(|frames| frames.concat())
}

proptest! {
    #[test]
    fn whole_or_in_pieces_it_is_the_same(stream in frames(), cuts in proptest::collection::vec(1usize..40, 0..30)) {
        prop_assert_eq!(ours(&stream, &cuts), ours(&stream, &[]));
    }

    #[test]
    fn tungstenite_agrees(stream in frames(), cuts in proptest::collection::vec(1usize..40, 0..30)) {
        prop_assert_eq!(ours(&stream, &cuts), tungstenite(&stream));
    }

    #[test]
    fn no_bytes_make_it_panic(stream in proptest::collection::vec(any::<u8>(), 0..200)) {
        ours(&stream, &[]);
    }
}

#[track_caller]
fn violates(stream: &[u8], expected: Violation) {
    let mut stream = stream.to_vec();
    let mut input: &mut [u8] = &mut stream;
    let mut decoder = Decoder::default();
    assert_eq!(decoder.next(&mut input, LIMIT), Err(expected));
}

#[test]
fn a_declared_length_is_refused_before_anything_is_kept() {
    let mut huge = vec![0x82, 0x80 | 127];
    huge.extend_from_slice(&(i64::MAX as u64).to_be_bytes());
    huge.extend_from_slice(&[0; 4]);
    violates(&huge, Violation::TooBig);
    huge[2] = 0xFF;
    violates(&huge, Violation::Protocol("length has its highest bit set"));
}

#[test]
fn unmasked_frames_are_refused() {
    violates(
        &[0x81, 0x01, b'x'],
        Violation::Protocol("frame is not masked"),
    );
}

#[test]
fn close_codes_are_checked() {
    for code in [0u16, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
        let frame = client_frame(true, 8, &code.to_be_bytes());
        violates(
            &frame,
            Violation::Protocol("close code that may not be sent"),
        );
    }
}

#[test]
fn wrong_text_is_refused_as_soon_as_it_is_wrong() {
    let whole = client_frame(false, 1, "κόσμε\u{1F600}".as_bytes());
    let mut stream = whole;
    let wrong = client_frame(true, 0, &[0xF4, 0x90, 0x80, 0x80]);
    stream.extend_from_slice(&wrong[..8]);
    violates(&stream, Violation::InvalidText);
}

#[test]
fn nothing_is_held_between_messages() {
    let mut decoder = Decoder::default();
    let mut stream = client_frame(false, 2, &[7; 150]);
    stream.extend(client_frame(true, 0, &[7; 150]));
    for byte in &mut stream {
        let mut input = std::slice::from_mut(byte);
        decoder.next(&mut input, LIMIT).unwrap();
    }
    assert!(decoder.unfinished.is_none());
}

//! Any bytes of a stranger's connection, in pieces cut by the first byte: no panic; the same
//! request as in one piece, with a head that httparse reads too and no bytes of it in the body;
//! and no spelling of the callback's path gets past the border.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_gateway::fuzzing::{CALLBACK, Outcome, body, head, is_callback};

fuzz_target!(|data: &[u8]| {
    let Some((&cut, stream)) = data.split_first() else { return };
    let piece = usize::from(cut).max(1);
    assert_eq!(body(stream, piece), body(stream, usize::MAX));
    let found = head(stream, usize::MAX);
    assert_eq!(found, head(stream, piece));
    let Outcome::Request { head, lines, .. } = found else { return };
    let mut headers = vec![httparse::EMPTY_HEADER; lines];
    let mut parsed = httparse::Request::new(&mut headers);
    let status = parsed.parse(&head).expect("what was read is HTTP");
    assert_eq!(status, httparse::Status::Complete(head.len()));
    let request = http::Request::builder()
        .method("POST")
        .uri(parsed.path.expect("a whole head"))
        .body("{}".to_owned())
        .expect("hyper takes what we take");
    if decoded(request.uri().path()) == CALLBACK.as_bytes() {
        assert!(is_callback(&request), "{:?}", request.uri());
    }
});

/// Escapes undone once, empty segments and the last slash gone: what a plain router does.
fn decoded(path: &str) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let escaped = behind.get(..2).filter(|_| byte == b'%');
        let escaped = escaped.and_then(|hex| std::str::from_utf8(hex).ok());
        let escaped = escaped.filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let value = escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        rest = if value.is_some() { &behind[2..] } else { behind };
        let byte = value.unwrap_or(byte);
        if byte != b'/' || plain.last() != Some(&b'/') {
            plain.push(byte);
        }
    }
    if plain.len() > 1 && plain.ends_with(b"/") {
        plain.pop();
    }
    plain
}

//! The first bytes of a stranger's connection in front of the app: what it speaks is known after a
//! preface's length, no later byte changes it, and nothing that is a request to a server of HTTP/1
//! goes to the app unseen.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_gateway::fuzzing::passes_unseen;

/// RFC 9113 §3.4.
const PREFACE: usize = 24;

fuzz_target!(|data: &[u8]| {
    let at = |len: usize| passes_unseen(&data[..len]);
    let Some(known) = (0..=data.len()).find(|len| at(*len).is_some()) else {
        assert!(data.len() < PREFACE);
        return;
    };
    assert!(known <= PREFACE);
    let unseen = at(known);
    for len in known..=data.len() {
        assert_eq!(at(len), unseen);
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    if request.parse(data).is_ok() {
        assert_eq!(unseen, Some(false));
    }
});

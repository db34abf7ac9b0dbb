//! The server's proof that it understood the handshake (RFC 6455 §4.2.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`. The proof is over the text, whatever it stands
/// for: clients send constants that are no 16 bytes, or whose unused bits are not 0, as the example
/// of RFC 6455 §4.1. `None` if it is none, over 64 characters, or has other than visible ones.
pub fn accept_key(key: &[u8]) -> Option<String> {
    const LONGEST: usize = 64;
    let visible = key.iter().all(u8::is_ascii_graphic);
    if key.is_empty() || key.len() > LONGEST || !visible {
        return None;
    }
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    Some(STANDARD.encode(hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        let accept = accept_key(b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept.as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }

    #[test]
    fn any_visible_text_is_a_key() {
        for key in ["AQIDBAUGBwgJCgsMDQ4PEC==", "SGVsbG8sIHdvcmxkIQ==", "short"] {
            assert!(accept_key(key.as_bytes()).is_some(), "{key}");
        }
        assert!(accept_key(&[b'x'; 64]).is_some());
        for none in [&b""[..], b"a b", b"a\xff", &[b'x'; 65]] {
            assert_eq!(accept_key(none), None);
        }
    }
}

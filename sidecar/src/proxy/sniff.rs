//! What a connection speaks, from its first bytes, which stay where they are.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    /// HTTP/2 with prior knowledge (gRPC).
    Http2,
    /// TLS.
    Tls,
}

/// `None`: the client went away, or said nothing in time.
pub(crate) async fn sniff(stream: &TcpStream, patience: Duration) -> Option<Protocol> {
    let deadline = Instant::now() + patience;
    tokio::time::timeout_at(deadline, async {
        let mut first = [0; 4];
        loop {
            let count = stream
                .peek(&mut first)
                .await
                .ok()
                .filter(|count| *count > 0)?;
            if let Some(protocol) = judge(&first[..count]) {
                return Some(protocol);
            }
            // "P" alone may become PRI or POST. No event tells of more bytes behind a peek, and
            // a client that sends its first four bytes one by one can wait a moment.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .ok()
    .flatten()
}

/// RFC 8446 §5.1: a TLS record of type 22 begins a handshake. RFC 9113 §3.4: the HTTP/2 preface
/// begins with "PRI ".
fn judge(first: &[u8]) -> Option<Protocol> {
    const PREFACE: &[u8] = b"PRI ";
    match first {
        [0x16, ..] => Some(Protocol::Tls),
        _ if first.starts_with(PREFACE) => Some(Protocol::Http2),
        _ if PREFACE.starts_with(first) => None,
        _ => Some(Protocol::Http1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes() {
        assert_eq!(judge(b"GET "), Some(Protocol::Http1));
        assert_eq!(judge(b"PR"), None);
        assert_eq!(judge(b"PRI "), Some(Protocol::Http2));
        assert_eq!(judge(b"PRO"), Some(Protocol::Http1));
        assert_eq!(judge(b"PUT "), Some(Protocol::Http1));
        assert_eq!(judge(&[0x16, 3]), Some(Protocol::Tls));
    }
}

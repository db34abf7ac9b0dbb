//! What a connection speaks, from its first bytes.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    /// HTTP/2 with prior knowledge (gRPC).
    Http2,
    /// TLS.
    Tls,
}

/// RFC 8446 §5.1: a TLS record of type 22 begins a handshake. RFC 9113 §3.4: the HTTP/2 preface
/// begins with "PRI ". `None`: so few bytes may become either.
pub(crate) fn sniff(first: &[u8]) -> Option<Protocol> {
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
        assert_eq!(sniff(b"GET "), Some(Protocol::Http1));
        assert_eq!(sniff(b"PR"), None);
        assert_eq!(sniff(b"PRI "), Some(Protocol::Http2));
        assert_eq!(sniff(b"PRO"), Some(Protocol::Http1));
        assert_eq!(sniff(b"PUT "), Some(Protocol::Http1));
        assert_eq!(sniff(&[0x16, 3]), Some(Protocol::Tls));
    }
}

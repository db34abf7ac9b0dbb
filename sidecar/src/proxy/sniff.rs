//! What a connection speaks, from its first bytes.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    /// HTTP/2 with prior knowledge (gRPC).
    Http2,
    /// TLS.
    Tls,
}

/// RFC 9113 §3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// RFC 8446 §5.1: a TLS record of type 22, whose version begins with 3, begins a handshake. Of
/// HTTP/2 all of the preface has to be there: servers of HTTP/1 stop reading at it, while `PRI` is
/// a method to them, and nobody would look at what is behind it. `None`: so few bytes may become
/// either.
pub(crate) fn sniff(first: &[u8]) -> Option<Protocol> {
    match first {
        [0x16, 3, ..] => Some(Protocol::Tls),
        [0x16] => None,
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
        assert_eq!(sniff(b""), None);
        assert_eq!(sniff(b"GET "), Some(Protocol::Http1));
        assert_eq!(sniff(b"PR"), None);
        assert_eq!(sniff(b"PRO"), Some(Protocol::Http1));
        assert_eq!(sniff(b"PUT "), Some(Protocol::Http1));
        assert_eq!(sniff(&PREFACE[..PREFACE.len() - 1]), None);
        assert_eq!(sniff(PREFACE), Some(Protocol::Http2));
        assert_eq!(sniff(b"PRI / HTTP/1.1"), Some(Protocol::Http1));
        assert_eq!(sniff(b"PRI * HTTP/2.0\r\nHost"), Some(Protocol::Http1));
        assert_eq!(sniff(&[0x16]), None);
        assert_eq!(sniff(&[0x16, 3]), Some(Protocol::Tls));
        assert_eq!(sniff(&[0x16, b'G']), Some(Protocol::Http1));
    }
}

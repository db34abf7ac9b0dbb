//! A request's head, as it is before hyper has it: where it ends, whether it is one, and what it
//! says of the body behind it.
//!
//! hyper's server would answer without a word what it cannot read, takes line ends that it should
//! not, and knows no deadline for a head that has begun apart from that for one that has not.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use http::{StatusCode, Uri};
use ipnet::IpNet;

use super::body::Body;
use crate::client_address;
use crate::metrics::RefusalReason;

#[derive(Debug)]
pub(super) struct Head {
    /// As hyper is to read it.
    pub bytes: Vec<u8>,
    pub lines: usize,
    pub body: Body,
    /// Whose request a trusted proxy brings.
    pub client: Option<IpAddr>,
}

/// Why a head is refused: the answer, and the value of the metric's label.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: StatusCode,
    pub label: RefusalReason,
    pub message: String,
}

/// Looks for a head's end as the bytes come in.
#[derive(Debug, Default)]
pub(super) struct Scan {
    seen: usize,
    lines: usize,
}

impl Scan {
    /// Where the head ends. An error is one that no further byte can mend.
    pub(super) fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        if self.seen == 0 {
            first_byte(bytes)?;
        }
        while let Some(at) = bytes[self.seen..].iter().position(|byte| *byte == b'\n') {
            let at = self.seen + at;
            let Some(line) = bytes[..at].strip_suffix(b"\r") else {
                // RFC 9112 §2.2 allows to take it; who stands before us may have read it otherwise.
                return Err(malformed("a line ends with LF alone; expected CR LF"));
            };
            self.seen = at + 1;
            self.lines += 1;
            if line.ends_with(b"\r\n") {
                return Ok(Some(at + 1));
            }
        }
        self.seen = bytes.len();
        Ok(None)
    }
}

impl Head {
    /// Takes a whole head: `bytes` end where it does. `proxy`: the peer, if it is a trusted one, with
    /// all that are.
    pub(super) fn read(
        scan: &Scan,
        mut bytes: Vec<u8>,
        proxy: Option<(SocketAddr, &[IpNet])>,
    ) -> Result<Self, Refusal> {
        const FEW: usize = 64;
        // First, as httparse holds text only.
        make_readable(&mut bytes)?;
        // One of the lines is the request's, one is empty.
        let lines = scan.lines.saturating_sub(2);
        let mut few = [httparse::EMPTY_HEADER; FEW];
        let mut many = Vec::new();
        let headers = if lines <= FEW {
            &mut few[..lines]
        } else {
            many.resize(lines, httparse::EMPTY_HEADER);
            &mut many[..]
        };
        let mut request = httparse::Request::new(headers);
        request.parse(&bytes).map_err(|error| {
            malformed(format!("this is no HTTP/1.1 request: {}", describe(error)))
        })?;
        check_host(&request)?;
        let body = body(&request)?;
        let client = proxy.map(|(peer, trusted)| {
            client_address::of(peer, named(&request, "x-forwarded-for"), trusted)
        });
        Ok(Self {
            bytes,
            lines,
            body,
            client,
        })
    }
}

pub(super) fn too_long(limit: usize) -> Refusal {
    Refusal {
        status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        label: RefusalReason::Header,
        message: format!("the request's head is over {limit} bytes (limits.header)"),
    }
}

pub(super) fn overloaded() -> Refusal {
    Refusal {
        status: StatusCode::SERVICE_UNAVAILABLE,
        label: RefusalReason::Overloaded,
        message: "too much waits already for a request with so long a head (limits.buffered)"
            .to_owned(),
    }
}

pub(super) fn malformed(message: impl Into<String>) -> Refusal {
    Refusal {
        status: StatusCode::BAD_REQUEST,
        label: RefusalReason::Malformed,
        message: message.into(),
    }
}

/// A request begins with a method; what does not is told at once, not when its time is over.
fn first_byte(bytes: &[u8]) -> Result<(), Refusal> {
    match bytes {
        [] => Ok(()),
        [0x16, ..] => Err(malformed(
            "this looks like TLS, which ends before the gateway; expected plain HTTP/1.1",
        )),
        [byte, ..] if byte.is_ascii_graphic() => Ok(()),
        _ => Err(malformed("this is no HTTP/1.1 request")),
    }
}

fn describe(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "a header's name is wrong",
        httparse::Error::HeaderValue => "a header's value is wrong",
        httparse::Error::NewLine => "a line's end is wrong",
        httparse::Error::Version => "its version is another",
        _ => "its first line is wrong",
    }
}

/// RFC 9112 §3.2.
fn check_host(request: &httparse::Request<'_, '_>) -> Result<(), Refusal> {
    let hosts = named(request, "host").count();
    match (hosts, request.version) {
        (1, _) | (0, Some(0)) => Ok(()),
        (0, _) => Err(malformed("expected a Host header (RFC 9112)")),
        _ => Err(malformed(
            "expected one Host header, found several (RFC 9112)",
        )),
    }
}

/// RFC 9112 §6.3. What hyper would refuse without a word is refused here.
fn body(request: &httparse::Request<'_, '_>) -> Result<Body, Refusal> {
    let mut codings = named(request, "transfer-encoding").peekable();
    if codings.peek().is_some() {
        // §6.1 allows to take it; who stands before us may have gone by the length.
        if named(request, "content-length").next().is_some() {
            return Err(malformed(
                "expected Content-Length or Transfer-Encoding, found both (RFC 9112)",
            ));
        }
        // No other is spoken here, and chunked is not applied twice (§6.1).
        let only = codings.next().filter(|_| codings.next().is_none());
        let chunked = only.is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
        if !chunked || request.version != Some(1) {
            return Err(malformed(
                "Transfer-Encoding: expected chunked and nothing else, in HTTP/1.1",
            ));
        }
        return Ok(Body::chunked());
    }
    let mut length = None;
    for value in named(request, "content-length") {
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let value = str::from_utf8(value).ok().filter(|_| digits);
        let value: Option<u64> = value.and_then(|value| value.parse().ok());
        // hyper keeps the largest numbers for itself.
        let value = value.filter(|value| *value < u64::MAX - 2);
        if value.is_none() || length.is_some_and(|before| Some(before) != value) {
            return Err(malformed("Content-Length: expected one number"));
        }
        length = value;
    }
    Ok(Body::of_length(length.unwrap_or_default()))
}

fn named<'a>(
    request: &'a httparse::Request<'_, '_>,
    name: &'static str,
) -> impl DoubleEndedIterator<Item = &'a [u8]> {
    request
        .headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value)
}

/// Where in the head the target is: between the first two blanks.
fn target(bytes: &[u8]) -> Range<usize> {
    let blank = |from: usize| {
        let at = bytes[from..].iter().position(|byte| *byte == b' ');
        at.map_or(bytes.len(), |at| from + at)
    };
    let start = (blank(0) + 1).min(bytes.len());
    start..blank(start)
}

/// Apps take targets that `http::Uri` does not hold; what it does not hold is encoded, as browsers
/// do before they send it (WHATWG URL, path state).
fn make_readable(bytes: &mut Vec<u8>) -> Result<(), Refusal> {
    /// hyper's and the crate's own limit.
    const LONGEST: usize = u16::MAX as usize - 1;
    let too_long = || Refusal {
        status: StatusCode::URI_TOO_LONG,
        label: RefusalReason::Header,
        message: format!("the request's target is over {LONGEST} bytes"),
    };
    let target = target(bytes);
    let found = &bytes[target.clone()];
    if found.len() > LONGEST {
        return Err(too_long());
    }
    if Uri::try_from(found).is_ok() {
        return Ok(());
    }
    let no_target = || malformed("the request's target is no path and no URL");
    if !found
        .iter()
        .all(|byte| byte.is_ascii_graphic() || *byte >= 0x80)
    {
        return Err(no_target());
    }
    let text = str::from_utf8(found).is_ok();
    let mut encoded = Vec::with_capacity(found.len() + 16);
    for &byte in found {
        if matches!(byte, b'"' | b'<' | b'>' | b'`') || (byte >= 0x80 && !text) {
            encoded.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            encoded.push(byte);
        }
    }
    if encoded.len() > LONGEST {
        return Err(too_long());
    }
    if Uri::try_from(encoded.as_slice()).is_err() {
        return Err(no_target());
    }
    bytes.splice(target, encoded);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<Head, Refusal> {
        let mut scan = Scan::default();
        // Byte by byte and at once must come to the same.
        let mut slow = Scan::default();
        let end = (1..=text.len())
            .map(|len| slow.end(&text[..len]))
            .find(|end| !matches!(end, Ok(None)));
        let at_once = scan.end(text);
        if let Some(end) = end {
            assert_eq!(end, at_once);
        }
        let end = at_once?.expect("a whole head");
        Head::read(&scan, text[..end].to_vec(), None)
    }

    #[track_caller]
    fn refused(head: &str, why: &str) {
        let refusal = read(head.as_bytes()).expect_err(head);
        assert_eq!(refusal.status, StatusCode::BAD_REQUEST, "{head}");
        assert!(refusal.message.contains(why), "{head}: {}", refusal.message);
    }

    #[test]
    fn heads_that_are_none() {
        refused("GET / HTTP/1.1\nHost: a\n\n", "LF alone");
        refused("GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", "LF alone");
        refused("GET / HTTP/1.1\r\nHost: a\r\n\n", "LF alone");
        refused("GET / HTTP/1.1\r\n\r\n", "Host");
        refused("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", "Host");
        refused("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", "name");
        refused("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", "value");
        refused("PRI * HTTP/2.0\r\n\r\n", "version");
        refused("\u{16}\u{3}\u{1}", "TLS");
        refused("\0", "no HTTP");
        refused("GET foo/bar HTTP/1.1\r\nHost: a\r\n\r\n", "target");
        refused("GET /a\r\nX:y HTTP/1.1\r\nHost: a\r\n\r\n", "target");
        refused("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "version");
        refused("GET /a\r\n\r\n", "target");
        for framing in [
            "Content-Length: +1",
            "Content-Length: 1, 1",
            "Content-Length: 1\r\nContent-Length: 2",
            "Content-Length: 18446744073709551615",
            "Content-Length:",
        ] {
            let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
            refused(&head, "Content-Length");
        }
        let twice = "chunked\r\nTransfer-Encoding: chunked";
        for framing in [
            "xchunked",
            "chunked, identity",
            "gzip",
            "gzip, chunked",
            "chunked, chunked",
            twice,
            "",
        ] {
            let head =
                format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {framing}\r\n\r\n");
            refused(&head, "Transfer-Encoding");
        }
        let both = "Content-Length: 3\r\nTransfer-Encoding: chunked";
        for framing in [both, "Transfer-Encoding: chunked\r\nContent-Length: 0"] {
            let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
            refused(&head, "found both");
        }
        let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        refused(old, "Transfer-Encoding");
    }

    #[test]
    fn old_clients_need_no_host() {
        assert!(read(b"GET / HTTP/1.0\r\n\r\n").is_ok());
    }

    #[test]
    fn any_number_of_headers() {
        let many = "X: y\r\n".repeat(2_000);
        let head = read(format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n").as_bytes()).unwrap();
        assert_eq!(head.lines, 2_001);
    }

    #[test]
    fn targets_that_a_uri_does_not_hold() {
        let cases: [(&[u8], &str); 6] = [
            (b"/a?b=%20", "/a?b=%20"),
            (b"/ws?filter={\"a\":1}", "/ws?filter={%22a%22:1}"),
            (b"/<b>`x`?`<q>`", "/%3Cb%3E%60x%60?%60%3Cq%3E%60"),
            ("/ä?ö".as_bytes(), "/ä?ö"),
            (b"/\xe4?\xf6\"", "/%E4?%F6%22"),
            (b"http://a/<b>", "http://a/%3Cb%3E"),
        ];
        for (target, readable) in cases {
            let head = [b"GET ", target, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
            let head = read(&head).unwrap();
            let text = String::from_utf8(head.bytes).unwrap();
            let expected = format!("GET {readable} HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn a_target_may_be_as_long_as_hyper_reads() {
        let of = |len: usize| {
            read(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "<".repeat(len)).as_bytes())
        };
        assert!(of(20_000).is_ok());
        assert_eq!(of(30_000).unwrap_err().status, StatusCode::URI_TOO_LONG);
    }
}

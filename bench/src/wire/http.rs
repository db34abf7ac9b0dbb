//! HTTP/1.1 messages with a Content-Length.

use memchr::memmem;

/// Where a message's parts are in the bytes that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub head: usize,
    pub size: usize,
}

/// The first whole message, if it is whole.
pub(crate) fn message(bytes: &[u8]) -> Option<Extent> {
    let head = memmem::find(bytes, b"\r\n\r\n")? + 4;
    let body = content_length(&bytes[..head]).unwrap_or(0);
    (bytes.len() >= head + body).then_some(Extent {
        head,
        size: head + body,
    })
}

pub(crate) fn content_length(head: &[u8]) -> Option<usize> {
    std::str::from_utf8(header(head, b"content-length")?)
        .ok()?
        .parse()
        .ok()
}

/// A header's value; `name` in lower case.
pub(crate) fn header<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let line = head.split(|&byte| byte == b'\n').find(|line| {
        line.len() > name.len()
            && line[name.len()] == b':'
            && line[..name.len()].eq_ignore_ascii_case(name)
    })?;
    Some(line[name.len() + 1..].trim_ascii())
}

/// The status of an answer.
pub(crate) fn status(bytes: &[u8]) -> u16 {
    let digits = bytes
        .get(9..12)
        .and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

pub(crate) fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut request = head.into_bytes();
    request.extend_from_slice(body);
    request
}

pub(crate) fn ok(content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut answer = head.into_bytes();
    answer.extend_from_slice(body);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_whole_with_its_body() {
        let bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcHTTP";
        assert_eq!(message(bytes), Some(Extent { head: 38, size: 41 }));
        assert_eq!(message(&bytes[..40]), None);
        assert_eq!(status(bytes), 200);
    }
}

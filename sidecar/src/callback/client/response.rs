//! An HTTP/1.1 answer from its bytes, without IO (RFC 9112).

mod head;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::super::Beginning;
use head::{Framing, Head};

/// What of an answer is of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// Its status, and its body if it acts.
    Actions,
    /// All of it.
    Everything,
}

#[derive(Debug, Default)]
pub(super) struct Response {
    pub status: StatusCode,
    /// Only where everything is wanted.
    pub headers: HeaderMap,
    pub retry_after: Option<Duration>,
    /// How long the app keeps the connection, where it says so.
    pub keep_alive: Option<Duration>,
    pub body: Option<Bytes>,
    /// Only of what does not act, where nothing but that is wanted.
    pub beginning: Option<Box<Beginning>>,
    /// Whether the connection may be used again.
    pub reusable: bool,
}

#[derive(Debug)]
pub(super) struct Reader {
    want: Want,
    limit: usize,
    /// Bytes that are not a whole head, or not a whole chunk.
    pending: Vec<u8>,
    head: Option<Head>,
    body: Vec<u8>,
    /// Bytes of the body so far, kept or not.
    seen: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub &'static str);

/// Enough to see what an answer is that does not act.
const BEGINNING: usize = 2 << 10;
const MAX_HEAD: usize = 64 << 10;

impl Reader {
    /// An answer that acts may have `limit` bytes, as an admin request (`limits.adminBody`); any
    /// other is read, up to the same size, so that its connection can be used again.
    pub(super) fn new(want: Want, limit: usize) -> Self {
        Self {
            want,
            limit,
            pending: Vec::new(),
            head: None,
            body: Vec::new(),
            seen: 0,
        }
    }

    /// Takes more bytes; whether the answer is whole.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<bool, Malformed> {
        if self.head.is_some() {
            return self.feed_body(bytes);
        }
        let mut pending = std::mem::take(&mut self.pending);
        let source = if pending.is_empty() {
            bytes
        } else {
            pending.extend_from_slice(bytes);
            &pending
        };
        match Head::parse(source, self.want)? {
            Some((head, len)) => {
                self.head = Some(head);
                self.feed_body(&source[len..])
            }
            None if source.len() > MAX_HEAD => Err(Malformed("the head of the answer is too long")),
            None => {
                self.pending = source.to_vec();
                Ok(false)
            }
        }
    }

    /// The stream has ended; whether that makes the answer whole.
    pub(super) fn feed_end(&self) -> bool {
        let until_end = |head: &Head| head.framing == Framing::UntilEnd;
        self.head.as_ref().is_some_and(until_end)
    }

    /// Whether a byte of an answer has come.
    pub(super) fn has_begun(&self) -> bool {
        self.head.is_some() || !self.pending.is_empty()
    }

    pub(super) fn finish(self) -> Response {
        let Some(head) = self.head else {
            return Response::default();
        };
        let mut response = head.response;
        response.body = head.keeps_body.then(|| self.body.into());
        response
    }

    fn feed_body(&mut self, bytes: &[u8]) -> Result<bool, Malformed> {
        let Some(head) = &mut self.head else {
            return Ok(false);
        };
        match head.framing {
            Framing::Length(length) => {
                let missing = length - self.seen;
                let (ours, stray) = bytes.split_at(missing.min(bytes.len()));
                head.response.reusable &= stray.is_empty();
                Ok(self.take(ours) || self.seen == length)
            }
            Framing::UntilEnd => Ok(self.take(bytes)),
            Framing::Chunked => {
                self.pending.extend_from_slice(bytes);
                self.feed_chunks()
            }
        }
    }

    fn feed_chunks(&mut self) -> Result<bool, Malformed> {
        let pending = std::mem::take(&mut self.pending);
        let mut rest = pending.as_slice();
        loop {
            let size = httparse::parse_chunk_size(rest).map_err(|_| Malformed("bad chunk size"))?;
            let httparse::Status::Complete((start, size)) = size else {
                break;
            };
            let Ok(size) = usize::try_from(size) else {
                return Err(Malformed("a chunk is too long"));
            };
            if size == 0 {
                // Trailers, if any, and the blank line behind them.
                let Some(end) = end_of_trailers(&rest[start..]) else {
                    break;
                };
                if let Some(head) = &mut self.head {
                    head.response.reusable &= rest.len() == start + end;
                }
                return Ok(true);
            }
            if size > self.limit {
                self.give_up();
                return Ok(true);
            }
            if rest.len() < start + size + 2 {
                break;
            }
            if self.take(&rest[start..start + size]) {
                return Ok(true);
            }
            rest = &rest[start + size + 2..];
        }
        self.pending = rest.to_vec();
        Ok(false)
    }

    /// Keeps or counts a piece of the body; whether it has become too long to go on.
    fn take(&mut self, piece: &[u8]) -> bool {
        self.seen += piece.len();
        if self.seen > self.limit {
            self.give_up();
            return true;
        }
        if let Some(head) = &mut self.head {
            if head.keeps_body {
                self.body.extend_from_slice(piece);
            } else if self.want == Want::Actions {
                head.begin(piece);
            }
        }
        false
    }

    /// Too long for anything that could act: the status counts, the connection is not kept.
    fn give_up(&mut self) {
        self.body = Vec::new();
        if let Some(head) = &mut self.head {
            head.keeps_body = false;
            head.response.reusable = false;
        }
    }
}

fn end_of_trailers(bytes: &[u8]) -> Option<usize> {
    if bytes.starts_with(b"\r\n") {
        return Some(2);
    }
    let end = bytes.windows(4).position(|part| part == b"\r\n\r\n")?;
    Some(end + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the answer whole and byte by byte; both must come to the same.
    #[track_caller]
    fn read(text: &str) -> (u16, String, bool) {
        let read = |piece: usize| {
            let mut reader = Reader::new(Want::Everything, 16 << 20);
            let mut whole = false;
            for part in text.as_bytes().chunks(piece) {
                assert!(!whole, "whole before its end");
                whole = reader.feed(part).unwrap();
            }
            assert!(whole || reader.feed_end());
            let response = reader.finish();
            let body = String::from_utf8(response.body.unwrap().to_vec()).unwrap();
            (response.status.as_u16(), body, response.reusable)
        };
        assert_eq!(read(1), read(usize::MAX));
        read(1)
    }

    #[test]
    fn framings() {
        let length = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        assert_eq!(read(length), (200, "ok".to_owned(), true));
        let chunks = "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n\
                      2;x=y\r\nok\r\n3\r\nyes\r\n0\r\nX-T: 1\r\n\r\n";
        assert_eq!(read(chunks), (201, "okyes".to_owned(), true));
        let until_end = "HTTP/1.1 200 OK\r\n\r\nall the rest";
        assert_eq!(read(until_end), (200, "all the rest".to_owned(), false));
        assert_eq!(
            read("HTTP/1.1 204 No Content\r\n\r\n"),
            (204, String::new(), true)
        );
        let closes = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(read(closes), (200, String::new(), false));
        let old = "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(read(old), (200, String::new(), false));
        let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(read(interim), (503, String::new(), true));
    }

    /// As curl reads them.
    #[test]
    fn odd_heads() {
        for line in [
            "X-Blank : 1",
            "X-Folded: 1\r\n 2",
            "no colon",
            ": no name",
            "odd name: 1",
            "Content-Length: 2, 2",
            "Content-Length: 2\r\nX-Latin: \u{fc}",
            &"X: 1\r\n".repeat(200),
        ] {
            let line = line.trim_end();
            let text = format!("HTTP/1.1 201 Created\r\n{line}\r\nContent-Length: 2\r\n\r\nok");
            assert_eq!(read(&text), (201, "ok".to_owned(), true), "{line}");
        }
        let mut folded = Reader::new(Want::Everything, 1024);
        let text = "HTTP/1.1 200 OK\r\nX-A: 1\r\n\t2\r\nContent-Length: 0\r\n\r\n";
        assert!(folded.feed(text.as_bytes()).unwrap());
        assert_eq!(folded.finish().headers["x-a"], "1  \t2");
    }

    #[test]
    fn only_an_answer_that_acts_is_kept() {
        let kept = |content_type: &str| {
            let mut reader = Reader::new(Want::Actions, 16 << 20);
            let text = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: 2\r\n\r\n{{}}"
            );
            assert!(reader.feed(text.as_bytes()).unwrap());
            reader.finish().body
        };
        assert_eq!(kept("application/json"), None);
        assert!(kept("application/vnd.olares.ws+json; charset=utf-8").is_some());
    }

    #[test]
    fn bytes_behind_the_answer_spoil_the_connection() {
        let mut reader = Reader::new(Want::Actions, 16 << 20);
        assert!(
            reader
                .feed(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP")
                .unwrap()
        );
        assert!(!reader.finish().reusable);
    }

    #[test]
    fn an_endless_answer_is_given_up() {
        let mut reader = Reader::new(Want::Everything, 16 << 20);
        reader.feed(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let piece = vec![0; 1 << 20];
        let pieces = (0..100).position(|_| reader.feed(&piece).unwrap());
        assert_eq!(pieces, Some(16));
        assert_eq!(reader.finish().body, None);
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for text in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        ] {
            assert!(
                Reader::new(Want::Actions, 16 << 20)
                    .feed(text.as_bytes())
                    .is_err(),
                "{text}"
            );
        }
    }
}

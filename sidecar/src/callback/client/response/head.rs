//! The head of an answer: what it says of the body, and of the connection. Parsing is httparse's.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{BEGINNING, Malformed, Response, Want};
use crate::app_pool;
use crate::callback::answer;

/// More than most answers have; for those with more there is room made.
const FEW: usize = 64;

#[derive(Debug)]
pub(super) struct Head {
    pub(super) response: Response,
    pub(super) framing: Framing,
    pub(super) keeps_body: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(usize),
    Chunked,
    UntilEnd,
}

impl Head {
    /// The final head in `bytes` and where its body begins; interim ones (1xx) are passed over.
    pub(super) fn parse(bytes: &[u8], want: Want) -> Result<Option<(Self, usize)>, Malformed> {
        let mut start = 0;
        loop {
            let Some((head, len)) = Self::parse_one(&bytes[start..], want)? else {
                return Ok(None);
            };
            start += len;
            let interim = head.response.status.is_informational()
                && head.response.status != StatusCode::SWITCHING_PROTOCOLS;
            if !interim {
                return Ok(Some((head, start)));
            }
        }
    }

    /// As many headers as there are: the whole head is bounded.
    fn parse_one(bytes: &[u8], want: Want) -> Result<Option<(Self, usize)>, Malformed> {
        let mut few = [httparse::EMPTY_HEADER; FEW];
        let mut many = Vec::new();
        let mut headers = &mut few[..];
        loop {
            let room = headers.len();
            let mut parsed = httparse::Response::new(headers);
            match lenient().parse_response(&mut parsed, bytes) {
                Ok(httparse::Status::Complete(len)) => {
                    return Ok(Some((Self::new(&parsed, want)?, len)));
                }
                Ok(httparse::Status::Partial) => return Ok(None),
                Err(httparse::Error::TooManyHeaders) => {
                    many.clear();
                    many.resize(2 * room, httparse::EMPTY_HEADER);
                    headers = &mut many;
                }
                Err(_) => return Err(Malformed("not HTTP")),
            }
        }
    }

    fn new(parsed: &httparse::Response<'_, '_>, want: Want) -> Result<Self, Malformed> {
        let status = StatusCode::from_u16(parsed.code.unwrap_or_default());
        let mut response = Response {
            status: status.map_err(|_| Malformed("bad status"))?,
            reusable: parsed.version == Some(1),
            ..Response::default()
        };
        let (mut length, mut chunked) = (None, false);
        let mut keeps_body = want == Want::Everything;
        for header in parsed.headers.iter() {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            let text = || str::from_utf8(header.value).unwrap_or_default().trim();
            if is("content-length") {
                // RFC 9110 §8.6: one that was sent several times may be a list of the same.
                for value in text().split(',') {
                    let value = value.trim().parse();
                    let value = value.map_err(|_| Malformed("bad Content-Length"))?;
                    if length.is_some_and(|before| before != value) {
                        return Err(Malformed("two lengths"));
                    }
                    length = Some(value);
                }
            } else if is("transfer-encoding") {
                chunked = text().to_ascii_lowercase().ends_with("chunked");
            } else if is("connection") {
                let mut tokens = text().split(',').map(str::trim);
                response.reusable &= !tokens.any(|token| token.eq_ignore_ascii_case("close"));
            } else if is("keep-alive") {
                response.keep_alive = app_pool::allowed(text());
            } else if is("content-type") {
                keeps_body |= acts(text());
            } else if is("retry-after") && asks_again(response.status) {
                response.retry_after = retry_after(text());
            } else if is("location") && response.status.is_redirection() {
                response.beginning.get_or_insert_default().location = Some(text().to_owned());
            }
            if want == Want::Everything {
                append(&mut response.headers, header);
            }
        }
        // RFC 9112 §6.3, in its order.
        let bodiless = response.status.is_informational()
            || matches!(
                response.status,
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            );
        let framing = match length {
            _ if bodiless => Framing::Length(0),
            _ if chunked => Framing::Chunked,
            Some(length) => Framing::Length(length),
            None => Framing::UntilEnd,
        };
        response.reusable &= framing != Framing::UntilEnd;
        Ok(Self {
            response,
            framing,
            keeps_body,
        })
    }
}

impl Head {
    /// Takes note of how the body begins. Of a success only what looks like more than that is.
    pub(super) fn begin(&mut self, piece: &[u8]) {
        let told = |byte: &u8| matches!(byte, b'{' | b'<');
        let first = piece.iter().find(|byte| !byte.is_ascii_whitespace());
        let begun = self.response.beginning.is_some();
        if self.response.status.is_success() && !begun && !first.is_some_and(told) {
            return;
        }
        let body = &mut self.response.beginning.get_or_insert_default().body;
        let room = BEGINNING - body.len();
        body.extend_from_slice(&piece[..piece.len().min(room)]);
    }
}

/// As curl reads: the app has answered, and what is odd of its head is not what counts. A line that
/// is no header is none.
fn lenient() -> httparse::ParserConfig {
    let mut config = httparse::ParserConfig::default();
    config
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_multiple_spaces_in_response_status_delimiters(true)
        .ignore_invalid_headers_in_responses(true);
    config
}

/// RFC 6585 §4, RFC 9110 §15.6.4.
fn asks_again(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
    )
}

fn append(headers: &mut HeaderMap, header: &httparse::Header<'_>) {
    let name = HeaderName::from_bytes(header.name.as_bytes());
    // RFC 9112 §5.2: a folded line's end is a blank.
    let value = header.value.iter().map(|byte| match byte {
        b'\r' | b'\n' => b' ',
        byte => *byte,
    });
    let value: Vec<u8> = value.collect();
    if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(&value)) {
        headers.append(name, value);
    }
}

fn acts(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(answer::CONTENT_TYPE)
}

/// RFC 9110 §10.2.3: seconds, or a date.
fn retry_after(value: &str) -> Option<Duration> {
    value.parse().ok().map(Duration::from_secs).or_else(|| {
        let when = httpdate::parse_http_date(value).ok()?;
        Some(when.duration_since(SystemTime::now()).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_in_both_spellings() {
        assert_eq!(retry_after("3"), Some(Duration::from_secs(3)));
        assert_eq!(
            retry_after("Wed, 21 Oct 2015 07:28:00 GMT"),
            Some(Duration::ZERO)
        );
        assert_eq!(retry_after("soon"), None);
    }
}

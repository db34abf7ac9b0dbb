//! One HTTP request on a connection of its own, with exactly the headers that are given.

use std::net::SocketAddr;

use serde_json::Value as Json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::soon;

#[derive(Clone, Debug, Default)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    #[track_caller]
    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// `Host: localhost` unless `headers` say otherwise; an empty value leaves a header out.
pub async fn call(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    try_call(to, method, path, headers, body)
        .await
        .unwrap_or_else(|error| panic!("{method} {path} on {to}: {error}"))
}

pub async fn get(to: SocketAddr, path: &str) -> Response {
    call(to, "GET", path, &[], b"").await
}

pub async fn try_call(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Response> {
    let exchange = async {
        let mut stream = TcpStream::connect(to).await?;
        let mut all = vec![("Host", "localhost"), ("Connection", "close")];
        all.retain(|(name, _)| {
            !headers
                .iter()
                .any(|(given, _)| given.eq_ignore_ascii_case(name))
        });
        all.extend(headers.iter().filter(|(_, value)| !value.is_empty()));
        stream.write_all(&request(method, path, &all, body)).await?;
        read_response(&mut stream, &mut Vec::new()).await
    };
    soon(&format!("an answer to {method} {path}"), exchange).await
}

/// The headers of a WebSocket handshake, and `more`.
pub fn upgrade_headers<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut headers = vec![
        ("Host", "localhost"),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    headers.retain(|(name, _)| {
        !more
            .iter()
            .any(|(given, _)| given.eq_ignore_ascii_case(name))
    });
    headers.extend(more);
    headers
}

/// The answer to an upgrade request that is expected to be refused.
pub async fn upgrade(to: SocketAddr, path: &str, more: &[(&str, &str)]) -> Response {
    call(to, "GET", path, &upgrade_headers(more), b"").await
}

pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    for (name, value) in headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    if !body.is_empty() {
        text.extend(["Content-Length: ", &body.len().to_string(), "\r\n"]);
    }
    text += "\r\n";
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Reads a head: its first line and its headers. `buffer` keeps what came behind it. `None`: the
/// stream ended before.
pub async fn read_head(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
) -> std::io::Result<Option<(String, Vec<(String, String)>)>> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end + 4);
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default().to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    Ok(Some((first, headers.collect())))
}

/// Reads so many bytes more, or fewer where the stream ends.
pub async fn read_body(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
    len: usize,
) -> std::io::Result<Vec<u8>> {
    while buffer.len() < len {
        if stream.read_buf(buffer).await? == 0 {
            break;
        }
    }
    let rest = buffer.split_off(len.min(buffer.len()));
    Ok(std::mem::replace(buffer, rest))
}

pub async fn read_response(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
) -> std::io::Result<Response> {
    let Some((first, headers)) = read_head(stream, buffer).await? else {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    };
    let status = first
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_default();
    let len = match header(&headers, "content-length") {
        Some(len) => len.parse().unwrap_or_default(),
        None if status == 101 => 0,
        None => usize::MAX,
    };
    let body = read_body(stream, buffer, len).await?;
    Ok(Response {
        status,
        headers,
        body,
    })
}

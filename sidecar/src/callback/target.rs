//! Where callbacks go, worked out once: how a request for each of the app's paths begins.

use bytes::Bytes;
use stanza::CallbackTarget;
use stanza::field::{MessageType, TypePattern, UrlPath};

#[derive(Debug)]
pub struct Target {
    /// As people write it: `http://localhost:8888/ws/message`.
    pub url: String,
    /// The request line and the headers that all events share.
    pub start: Bytes,
    /// The same for the further paths of messages of a type.
    types: Vec<(TypePattern, Bytes)>,
}

impl Target {
    pub fn new(target: &CallbackTarget, types: &[MessageType]) -> Self {
        let start = |path: &UrlPath| Bytes::from(start(path, target));
        Self {
            url: format!("http://localhost:{}{}", target.port, target.path),
            start: start(&target.path),
            types: types
                .iter()
                .map(|entry| (entry.pattern.clone(), start(&entry.url)))
                .collect(),
        }
    }

    /// The paths that want messages of one of these types as well.
    pub fn also<'a>(&'a self, kinds: &'a [Box<str>]) -> impl Iterator<Item = &'a Bytes> {
        let wanted = move |(pattern, _): &&(TypePattern, Bytes)| {
            kinds.iter().any(|kind| pattern.matches(kind))
        };
        self.types.iter().filter(wanted).map(|(_, start)| start)
    }
}

fn start(path: &UrlPath, target: &CallbackTarget) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost:{}\r\nContent-Type: application/json\r\nUser-Agent: ws-gateway/{}\r\n",
        target.port,
        env!("CARGO_PKG_VERSION"),
    )
}

/// The path of a request that begins so, with its query.
pub(super) fn path(start: &[u8]) -> &str {
    let text = std::str::from_utf8(start).unwrap_or_default();
    text.split(' ').nth(1).unwrap_or_default()
}

/// `localhost` and the port that a request goes to that begins so.
pub(super) fn host(start: &[u8]) -> &str {
    let text = std::str::from_utf8(start).unwrap_or_default();
    let line = text.split("\r\n").nth(1).unwrap_or_default();
    line.strip_prefix("Host: ").unwrap_or_default()
}

/// The same request for another path of the same app.
pub(super) fn moved(start: &[u8], to: &str) -> Bytes {
    let text = std::str::from_utf8(start).unwrap_or_default();
    let (_, rest) = text.split_once(" HTTP/1.1").unwrap_or_default();
    Bytes::from(format!("POST {to} HTTP/1.1{rest}"))
}

//! Where callbacks go, worked out once: how a request for each of the app's paths begins.

use bytes::Bytes;
use stanza::CallbackTarget;
use stanza::field::{MessageType, UrlPath};

#[derive(Debug)]
pub struct Target {
    /// As people write it: `http://localhost:8888/ws/message`.
    pub url: String,
    /// The request line and the headers that all events share.
    pub start: Bytes,
    /// The same for the further paths of messages of a type.
    types: Vec<(String, Bytes)>,
}

impl Target {
    pub fn new(target: &CallbackTarget, types: &[MessageType]) -> Self {
        let start = |path: &UrlPath| Bytes::from(start(path, target));
        Self {
            url: format!("http://localhost:{}{}", target.port, target.path),
            start: start(&target.path),
            types: types
                .iter()
                .map(|entry| (entry.name.clone(), start(&entry.url)))
                .collect(),
        }
    }

    /// The paths that want messages of this type as well.
    pub fn also<'a>(&'a self, kind: Option<&'a str>) -> impl Iterator<Item = &'a Bytes> {
        let wanted = move |(name, _): &&(String, Bytes)| kind == Some(name);
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

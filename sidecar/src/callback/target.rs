//! Where callbacks go, worked out once: a URI and a Host header per path.

use http::{HeaderValue, Uri};
use stanza::CallbackTarget;
use stanza::field::{MessageType, UrlPath};

#[derive(Debug)]
pub struct Target {
    pub host: HeaderValue,
    pub uri: Uri,
    /// Further paths for messages of a type.
    types: Vec<(String, Uri)>,
}

impl Target {
    pub fn new(target: &CallbackTarget, types: &[MessageType]) -> Self {
        let host = HeaderValue::from_str(&format!("localhost:{}", target.port));
        let types = types
            .iter()
            .map(|entry| (entry.name.clone(), uri(&entry.url)));
        Self {
            host: host.unwrap_or(HeaderValue::from_static("localhost")),
            uri: uri(&target.path),
            types: types.collect(),
        }
    }

    /// The paths that want messages of this type as well.
    pub fn also<'a>(&'a self, kind: Option<&'a str>) -> impl Iterator<Item = &'a Uri> {
        let wanted = move |(name, _): &&(String, Uri)| kind == Some(name);
        self.types.iter().filter(wanted).map(|(_, uri)| uri)
    }
}

/// A `UrlPath` is what may stand in a request line, so it always parses.
fn uri(path: &UrlPath) -> Uri {
    path.as_str().parse().unwrap_or_default()
}

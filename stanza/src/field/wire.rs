//! What addresses, requests and frames are made of.

use std::fmt;
use std::num::NonZeroU16;

use ipnet::IpNet;
use serde_json::Value as Json;

use super::Field;
use crate::node::{Node, Value};

/// A path on a server, as it stands in a request line: `/ws/message`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UrlPath(String);

/// A port that an app may listen on: 1 to 65535, but none of the gateway's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AppPort(NonZeroU16);

/// An HTTP header's name, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderName(String);

/// The address of something that is fetched: `https://login.example.com/keys`. It bears no
/// password, so that it can be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl(String);

/// One entry of `types`: messages of this type are posted to this path as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageType {
    pub pattern: TypePattern,
    pub url: UrlPath,
}

/// What a message's type has to be: a text, or with `*` or `#` at its end how it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypePattern(String);

/// A WebSocket close code that a server may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseCode(pub u16);

// === impl UrlPath ===

impl UrlPath {
    pub fn new(text: &str) -> Option<Self> {
        let clean = text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'#');
        (text.starts_with('/') && clean).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UrlPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Field for UrlPath {
    const ALLOWED: &'static str =
        "a path that begins with a slash and has no blanks, such as /ws/message";

    fn read(node: &Node) -> Option<Self> {
        Self::new(node.as_text()?)
    }

    fn to_json(&self) -> Json {
        Json::from(self.0.as_str())
    }
}

// === impl AppPort ===

impl AppPort {
    pub fn new(port: u16) -> Option<Self> {
        (!crate::env::GATEWAY_PORTS.contains(&port)).then_some(Self(NonZeroU16::new(port)?))
    }

    pub fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for AppPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Field for AppPort {
    const ALLOWED: &'static str =
        "the app's port, 1 to 65535 (40010 to 40012 are the gateway's own)";

    fn read(node: &Node) -> Option<Self> {
        // Helm templates often quote numbers, and upstream accepts the quoted form.
        let port = match &node.value {
            Value::Integer(number) => u16::try_from(*number).ok()?,
            Value::Text(text) => text.trim().parse().ok()?,
            _ => return None,
        };
        Self::new(port)
    }

    fn to_json(&self) -> Json {
        Json::from(self.get())
    }
}

// === impl HeaderName ===

impl Field for HeaderName {
    const ALLOWED: &'static str = "HTTP header names such as X-BFL-USER";

    fn read(node: &Node) -> Option<Self> {
        let text = node.as_text()?;
        // RFC 9110 §5.6.2: a field name is a token.
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        (!text.is_empty() && text.bytes().all(token)).then(|| Self(text.to_ascii_lowercase()))
    }

    fn to_json(&self) -> Json {
        Json::from(self.0.as_str())
    }
}

impl HeaderName {
    pub fn from_static(name: &'static str) -> Self {
        Self(name.to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl HttpUrl ===

impl HttpUrl {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Field for HttpUrl {
    const ALLOWED: &'static str =
        "an address such as https://login.example.com/keys, without user, password and #";

    fn read(node: &Node) -> Option<Self> {
        let text = node.as_text()?;
        let rest = ["https://", "http://"]
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme))?;
        let authority = rest.split(['/', '?']).next()?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let clean = text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'#');
        let known = port.is_none_or(|port| port.parse().is_ok_and(|port: u16| port > 0));
        let right = clean && known && !host.is_empty() && !authority.contains('@');
        right.then(|| Self(text.to_owned()))
    }

    fn to_json(&self) -> Json {
        Json::from(self.0.as_str())
    }
}

// === impl IpNet ===

impl Field for IpNet {
    const ALLOWED: &'static str =
        "addresses or networks such as 10.0.0.0/8, 192.168.1.7 or fd00::/8";

    fn read(node: &Node) -> Option<Self> {
        let text = node.as_text()?.trim();
        text.parse().ok().or_else(|| {
            text.parse()
                .ok()
                .map(|address: std::net::IpAddr| address.into())
        })
    }

    fn to_json(&self) -> Json {
        Json::from(self.to_string())
    }
}

// === impl MessageType ===

impl Field for MessageType {
    const ALLOWED: &'static str = "a list of {type: <name>, url: /path}";

    fn read(node: &Node) -> Option<Self> {
        let name = String::read(node.get("type")?).filter(|name| !name.is_empty())?;
        let pattern = TypePattern(name);
        let known = node
            .entries()
            .all(|(key, _)| matches!(key.name.as_str(), "type" | "url"));
        known.then_some(Self {
            pattern,
            url: UrlPath::read(node.get("url")?)?,
        })
    }

    fn amiss(entry: &Node) -> String {
        if !matches!(entry.value, Value::Map(_)) {
            return format!("{entry} is none");
        }
        let mut keys = entry.entries().map(|(key, _)| key.name.as_str());
        match keys.find(|key| !matches!(*key, "type" | "url")) {
            Some("publish") => "publish is no key of it; did you mean url?".to_owned(),
            Some(key) => format!("{key} is no key of it; expected type and url"),
            None if entry.get("url").and_then(UrlPath::read).is_none() => {
                format!("url: expected {}", UrlPath::ALLOWED)
            }
            None => "type: expected a non-empty string".to_owned(),
        }
    }

    fn to_json(&self) -> Json {
        serde_json::json!({"type": self.pattern.0, "url": self.url.as_str()})
    }
}

// === impl TypePattern ===

impl TypePattern {
    pub fn matches(&self, kind: &str) -> bool {
        match self.0.strip_suffix(['*', '#']) {
            Some(beginning) => kind.starts_with(beginning),
            None => kind == self.0,
        }
    }
}

// === impl CloseCode ===

impl Field for CloseCode {
    const ALLOWED: &'static str =
        "a close code a server may send: 1000 to 1003, 1007 to 1014, 3000 to 4999";

    fn read(node: &Node) -> Option<Self> {
        u32::read(node)
            .and_then(|code| u16::try_from(code).ok())
            .and_then(Self::new)
    }

    fn to_json(&self) -> Json {
        Json::from(self.0)
    }
}

impl CloseCode {
    /// RFC 6455 §7.4 and the IANA registry: 1004 to 1006 and 1015 never stand in a frame.
    pub fn new(code: u16) -> Option<Self> {
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999).then_some(Self(code))
    }
}

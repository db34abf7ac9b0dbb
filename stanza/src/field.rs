//! The kinds of value that a setting can have: how each is written, read and checked.

use std::fmt;
use std::num::NonZeroU16;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::Value as Json;

use crate::node::{Node, Value};

/// A kind of value. `read` takes every spelling, `to_json` writes the canonical one.
pub trait Field: Sized {
    /// What is allowed, as the end of the sentence "expected …".
    const ALLOWED: &'static str;
    fn read(node: &Node) -> Option<Self>;
    fn to_json(&self) -> Json;
}

/// A path on a server, as it stands in a request line: `/ws/message`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UrlPath(String);

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub usize);

/// A port that an app may listen on: 1 to 65535, but none of the gateway's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AppPort(NonZeroU16);

/// An entry of the `origins` allow-list: `https://app.example.com`, `https://*.example.com`, `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern(String);

/// An HTTP header's name, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderName(String);

/// One entry of `types`: messages of this type are posted to this path as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageType {
    pub name: String,
    pub url: UrlPath,
}

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

// === impl Duration ===

impl Field for Duration {
    const ALLOWED: &'static str = "a duration such as 30s, 500ms or 2m (a bare number is seconds)";

    fn read(node: &Node) -> Option<Self> {
        match &node.value {
            Value::Integer(seconds) => u64::try_from(*seconds).ok().map(Duration::from_secs),
            Value::Float(seconds) => Duration::try_from_secs_f64(*seconds).ok(),
            Value::Text(text) => humantime::parse_duration(text.trim())
                .ok()
                .or_else(|| text.trim().parse().ok().map(Duration::from_secs)),
            _ => None,
        }
        .filter(|span| *span <= MAX_DURATION)
    }

    fn to_json(&self) -> Json {
        Json::from(
            humantime::format_duration(*self)
                .to_string()
                .replace(' ', ""),
        )
    }
}

/// A century: far more than any deadline, and far from the timer's overflow.
const MAX_DURATION: Duration = Duration::from_hours(100 * 365 * 24);

// === impl ByteSize ===

const UNITS: [(&str, usize); 7] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("", 1),
];

impl Field for ByteSize {
    const ALLOWED: &'static str = "a number of bytes such as 65536, 64Ki or 1Mi";

    fn read(node: &Node) -> Option<Self> {
        let text = match &node.value {
            Value::Integer(number) => return usize::try_from(*number).ok().map(Self),
            Value::Text(text) => text.trim(),
            _ => return None,
        };
        let (digits, unit) = text.split_at(
            text.find(|c: char| !c.is_ascii_digit())
                .unwrap_or(text.len()),
        );
        let factor = UNITS.iter().find(|(name, _)| *name == unit)?.1;
        digits.parse::<usize>().ok()?.checked_mul(factor).map(Self)
    }

    fn to_json(&self) -> Json {
        let binary = UNITS[..3].iter().rev();
        let unit = binary
            .clone()
            .find(|(_, factor)| self.0 > 0 && self.0.is_multiple_of(*factor));
        match unit {
            Some((name, factor)) => Json::from(format!("{}{name}", self.0 / factor)),
            None => Json::from(self.0),
        }
    }
}

// === impl scalars ===

impl Field for u32 {
    const ALLOWED: &'static str = "a whole number, 0 or more";

    fn read(node: &Node) -> Option<Self> {
        match &node.value {
            Value::Integer(number) => u32::try_from(*number).ok(),
            Value::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    fn to_json(&self) -> Json {
        Json::from(*self)
    }
}

impl Field for bool {
    const ALLOWED: &'static str = "true or false";

    fn read(node: &Node) -> Option<Self> {
        match &node.value {
            Value::Bool(flag) => Some(*flag),
            Value::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    fn to_json(&self) -> Json {
        Json::from(*self)
    }
}

impl Field for String {
    const ALLOWED: &'static str = "a text";

    fn read(node: &Node) -> Option<Self> {
        match &node.value {
            Value::Text(text) => Some(text.clone()),
            Value::Integer(_) | Value::Bool(_) => Some(node.to_string()),
            _ => None,
        }
    }

    fn to_json(&self) -> Json {
        Json::from(self.as_str())
    }
}

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

// === impl lists and options ===

impl<T: Field> Field for Option<T> {
    const ALLOWED: &'static str = T::ALLOWED;

    fn read(node: &Node) -> Option<Self> {
        if node.value == Value::Null {
            Some(None)
        } else {
            T::read(node).map(Some)
        }
    }

    fn to_json(&self) -> Json {
        self.as_ref().map_or(Json::Null, Field::to_json)
    }
}

impl<T: Field> Field for Vec<T> {
    const ALLOWED: &'static str = T::ALLOWED;

    /// A list, or one text with commas: flags and environment variables have no lists.
    fn read(node: &Node) -> Option<Self> {
        match &node.value {
            Value::Null => Some(Vec::new()),
            Value::List(items) => items.iter().map(T::read).collect(),
            Value::Text(text) => text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(|part| {
                    T::read(&Node {
                        value: Value::Text(part.to_owned()),
                        position: node.position,
                    })
                })
                .collect(),
            _ => T::read(node).map(|one| vec![one]),
        }
    }

    fn to_json(&self) -> Json {
        self.iter().map(Field::to_json).collect()
    }
}

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

impl Field for MessageType {
    const ALLOWED: &'static str = "a list of {type: <name>, url: /path}";

    fn read(node: &Node) -> Option<Self> {
        let name = String::read(node.get("type")?).filter(|name| !name.is_empty())?;
        let known = node
            .entries()
            .all(|(key, _)| matches!(key.name.as_str(), "type" | "url"));
        known.then_some(Self {
            name,
            url: UrlPath::read(node.get("url")?)?,
        })
    }

    fn to_json(&self) -> Json {
        serde_json::json!({"type": self.name, "url": self.url.as_str()})
    }
}

// === impl OriginPattern ===

impl OriginPattern {
    /// Whether a request's `Origin` header is covered. Scheme and host compare without
    /// regard to case (RFC 6454 §4); `*` stands for one or more leading host labels.
    pub fn covers(&self, origin: &str) -> bool {
        if self.0 == "*" {
            return true;
        }
        let origin = origin.to_ascii_lowercase();
        match self.0.split_once("*.") {
            None => self.0 == origin,
            Some((scheme, domain)) => origin
                .strip_prefix(scheme)
                .and_then(|host| host.strip_suffix(domain))
                .is_some_and(|labels| {
                    labels.len() > 1 && labels.ends_with('.') && !labels.contains(['/', ':', '@'])
                }),
        }
    }
}

impl Field for OriginPattern {
    const ALLOWED: &'static str =
        "origins such as https://app.example.com, https://*.example.com or * (any)";

    fn read(node: &Node) -> Option<Self> {
        let text = node.as_text()?.trim().to_ascii_lowercase();
        let (scheme, host) = text.split_once("://").unwrap_or(("", ""));
        let plain = |text: &str| !text.is_empty() && !text.contains(['/', '*', ' ', '@', '?', '#']);
        let full = plain(scheme) && plain(host.strip_prefix("*.").unwrap_or(host));
        (text == "*" || text == "null" || full).then_some(Self(text))
    }

    fn to_json(&self) -> Json {
        Json::from(self.0.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(yaml: &str) -> Node {
        Node::from_yaml(yaml).unwrap()
    }

    #[track_caller]
    fn check<T: Field>(yaml: &str, canonical: impl Into<Json>) {
        let value = T::read(&node(yaml)).unwrap_or_else(|| panic!("{yaml} was refused"));
        assert_eq!(value.to_json(), canonical.into(), "{yaml}");
    }

    #[track_caller]
    fn refused<T: Field>(yaml: &str) {
        assert!(T::read(&node(yaml)).is_none(), "{yaml} was accepted");
    }

    #[test]
    fn ports() {
        check::<AppPort>("8888", 8888);
        check::<AppPort>("'8888'", 8888);
        for wrong in [
            "0", "70000", "-1", "40010", "40011", "40012", "http", "[1]", "8.5",
        ] {
            refused::<AppPort>(wrong);
        }
    }

    #[test]
    fn paths() {
        check::<UrlPath>("/ws/message?a=b", "/ws/message?a=b");
        for wrong in ["ws", "''", "'/a b'", "'/a\\r\\nX: y'", "'/a#b'", "5"] {
            refused::<UrlPath>(wrong);
        }
    }

    #[test]
    fn durations() {
        check::<Duration>("30s", "30s");
        check::<Duration>("30", "30s");
        check::<Duration>("0", "0s");
        check::<Duration>("1m30s", "1m30s");
        check::<Duration>("1.5", "1s500ms");
        for wrong in ["-1", "soon", "30 parsecs", "1e300"] {
            refused::<Duration>(wrong);
        }
    }

    #[test]
    fn sizes() {
        check::<ByteSize>("64Ki", "64Ki");
        check::<ByteSize>("65536", "64Ki");
        check::<ByteSize>("1M", 1_000_000);
        for wrong in ["-1", "64KiB", "99999999999999999999", "Mi", "1.5Mi"] {
            refused::<ByteSize>(wrong);
        }
    }

    #[test]
    fn origins() {
        let covers =
            |pattern: &str, origin| OriginPattern::read(&node(pattern)).unwrap().covers(origin);
        assert!(covers("https://a.example", "https://A.example"));
        assert!(!covers("https://a.example", "http://a.example"));
        assert!(!covers("https://a.example", "https://a.example:8443"));
        assert!(covers("https://*.example.com", "https://a.b.example.com"));
        assert!(!covers("https://*.example.com", "https://example.com"));
        assert!(!covers("https://*.example.com", "https://.example.com"));
        assert!(!covers(
            "https://*.example.com",
            "https://evil.com/.example.com"
        ));
        assert!(covers("'*'", "null"));
        refused::<OriginPattern>("example.com");
        refused::<OriginPattern>("https://a.example/path");
        refused::<OriginPattern>("https://a.*.example");
    }

    #[test]
    fn lists_may_be_written_with_commas() {
        check::<Vec<IpNet>>(
            "10.0.0.0/8, 127.0.0.1",
            serde_json::json!(["10.0.0.0/8", "127.0.0.1/32"]),
        );
        refused::<Vec<IpNet>>("[10.0.0.0/8, nowhere]");
    }
}

//! Origins (RFC 6454): what a browser says of the page that asks, and which are let in.

use serde_json::Value as Json;

use super::Field;
use crate::node::Node;

/// The `Origin` of a request, parsed. Scheme and host are in lower case; a port that is its
/// scheme's own is left out, as browsers leave it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

/// An entry of the `origins` allow-list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern {
    text: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Any,
    /// What browsers say of pages without an origin: of files, and of sandboxed frames.
    Null,
    Of {
        scheme: String,
        host: Host,
        port: Port,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Any,
    Exactly(String),
    /// One or more labels in front of this.
    Under(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Port {
    Any,
    Exactly(Option<u16>),
}

impl Origin {
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let (scheme, authority) = split(&text)?;
        let (host, port) = split_port(authority)?;
        // Web views say `file://` of a page from a file; nothing else has no host.
        let known = is_host(host) || (scheme == "file" && host.is_empty());
        known.then(|| Self {
            scheme: scheme.to_owned(),
            host: host.to_owned(),
            port: own_port(scheme, port),
        })
    }

    /// Whether a request with this `Host` asks the very server that the page came from. The scheme
    /// is not compared, as TLS ends before.
    pub fn is_of(&self, host: &str) -> bool {
        let host = host.trim().to_ascii_lowercase();
        split_port(&host).is_some_and(|(name, port)| {
            is_host(name) && name == self.host && own_port(&self.scheme, port) == self.port
        })
    }
}

impl OriginPattern {
    /// Whether a request's `Origin` header is covered.
    pub fn covers(&self, origin: &str) -> bool {
        let (scheme, host, port) = match &self.kind {
            Kind::Any => return true,
            Kind::Null => return origin == "null",
            Kind::Of { scheme, host, port } => (scheme, host, port),
        };
        Origin::parse(origin).is_some_and(|origin| {
            origin.scheme == *scheme && host.covers(&origin.host) && port.covers(origin.port)
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        let (text, kind) = match text.as_str() {
            "*" => (text, Kind::Any),
            "null" => (text, Kind::Null),
            other => Self::of(
                other
                    .strip_suffix('/')
                    .filter(|_| other != "file://")
                    .unwrap_or(other),
            )?,
        };
        Some(Self { text, kind })
    }

    fn of(text: &str) -> Option<(String, Kind)> {
        let (scheme, authority) = split(text)?;
        let (authority, port) = match authority.strip_suffix(":*") {
            Some(authority) => (authority, Port::Any),
            None => (authority, Port::Exactly(None)),
        };
        let (name, stated) = split_port(authority)?;
        let port = match port {
            Port::Exactly(_) => Port::Exactly(own_port(scheme, stated)),
            // `localhost:80:*`
            Port::Any if stated.is_some() => return None,
            Port::Any => Port::Any,
        };
        let host = match name.strip_prefix("*.") {
            _ if name == "*" => Host::Any,
            Some(domain) if is_host(domain) => Host::Under(format!(".{domain}")),
            None if is_host(name) => Host::Exactly(name.to_owned()),
            None if scheme == "file" && name.is_empty() => Host::Exactly(String::new()),
            _ => return None,
        };
        let tail = match &port {
            Port::Any => ":*".to_owned(),
            Port::Exactly(Some(port)) => format!(":{port}"),
            Port::Exactly(None) => String::new(),
        };
        let scheme = scheme.to_owned();
        let text = format!("{scheme}://{name}{tail}");
        Some((text, Kind::Of { scheme, host, port }))
    }
}

impl Field for OriginPattern {
    const ALLOWED: &'static str = "origins as browsers send them: https://app.example.com, \
         https://*.example.com, http://localhost:* (any port), null (files, sandboxed frames), \
         * (any); other letters than ASCII as xn--…";

    fn read(node: &Node) -> Option<Self> {
        Self::parse(node.as_text()?)
    }

    fn to_json(&self) -> Json {
        Json::from(self.text.as_str())
    }
}

impl Host {
    fn covers(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(name) => name == host,
            Self::Under(domain) => host
                .strip_suffix(domain.as_str())
                .is_some_and(|labels| !labels.is_empty()),
        }
    }
}

impl Port {
    fn covers(&self, port: Option<u16>) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(wanted) => *wanted == port,
        }
    }
}

fn split(text: &str) -> Option<(&str, &str)> {
    let (scheme, authority) = text.split_once("://")?;
    // RFC 3986 §3.1
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let known =
        scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(letter);
    known.then_some((scheme, authority))
}

/// `None`: what stands behind the colon is no port.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    match authority.rsplit_once(':') {
        // The colons of an address are no port's.
        Some((_, rest)) if rest.ends_with(']') => Some((authority, None)),
        Some((host, port)) => Some((host, Some(port.parse().ok()?))),
        None => Some((authority, None)),
    }
}

fn own_port(scheme: &str, port: Option<u16>) -> Option<u16> {
    port.filter(|port| !matches!((scheme, port), ("http" | "ws", 80) | ("https" | "wss", 443)))
}

/// A name, or an address in brackets, as it may stand in a URL without an escape.
fn is_host(host: &str) -> bool {
    let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let address = |byte: u8| byte.is_ascii_hexdigit() || b":.".contains(&byte);
    match host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(inside) => inside.contains(':') && inside.bytes().all(address),
        None => !host.is_empty() && !host.starts_with('.') && host.bytes().all(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(pattern: &str, origin: &str) -> bool {
        OriginPattern::parse(pattern).unwrap().covers(origin)
    }

    #[test]
    fn exact_origins() {
        assert!(covers("https://a.example", "https://A.example"));
        assert!(covers("https://a.example/", "https://a.example"));
        assert!(!covers("https://a.example", "http://a.example"));
        assert!(!covers("https://a.example", "https://a.example:8443"));
        assert!(covers("https://a.example:8443", "https://a.example:8443"));
        assert!(covers("http://[::1]:3000", "http://[::1]:3000"));
        assert!(covers("*", "null"));
        assert!(covers("null", "null"));
        assert!(!covers("https://a.example", "null"));
        for own in [
            "tauri://localhost",
            "chrome-extension://abc",
            "app://obsidian.md",
        ] {
            assert!(covers(own, own), "{own}");
        }
    }

    #[test]
    fn default_ports_may_be_written() {
        assert!(covers("https://a.example:443", "https://a.example"));
        assert!(covers("https://a.example", "https://a.example:443"));
        assert!(covers("http://a.example:80", "http://a.example"));
        assert!(!covers("http://a.example:443", "http://a.example"));
    }

    #[test]
    fn any_port_any_host_and_subdomains() {
        assert!(covers("http://localhost:*", "http://localhost:5173"));
        assert!(covers("http://localhost:*", "http://localhost"));
        assert!(!covers(
            "http://localhost:*",
            "http://localhost.evil.example"
        ));
        assert!(covers("vscode-webview://*", "vscode-webview://0abc"));
        assert!(covers("https://*.example.com", "https://a.b.example.com"));
        assert!(covers(
            "https://*.example.com:*",
            "https://a.example.com:8443"
        ));
        assert!(!covers(
            "https://*.example.com",
            "https://a.example.com:8443"
        ));
        for foreign in [
            "https://example.com",
            "https://.example.com",
            "https://evil.com/.example.com",
            "https://evil.com?.example.com",
            "https://evil.com#.example.com",
            "https://x@evil.com:1.example.com",
        ] {
            assert!(!covers("https://*.example.com", foreign), "{foreign}");
        }
    }

    /// Chrome and Firefox say `null` of a page from a file, web views `file://`.
    #[test]
    fn files() {
        assert!(covers("file://", "file://"));
        assert!(!covers("file://", "null"));
        assert!(!covers("file://", "https://a.example"));
        assert!(!covers("https://a.example", "file://"));
    }

    #[test]
    fn what_no_browser_sends_is_refused() {
        for wrong in [
            "example.com",
            "https://a.example/path",
            "https://a.*.example",
            "https://bücher.example",
            "https://a.example:80:*",
            "https://a.example:http",
            "https://",
            "https://a b",
            "",
        ] {
            assert_eq!(OriginPattern::parse(wrong), None, "{wrong}");
        }
        assert!(OriginPattern::ALLOWED.contains("xn--"));
    }

    #[test]
    fn a_pages_own_host() {
        let is_of = |origin: &str, host| Origin::parse(origin).unwrap().is_of(host);
        assert!(is_of("https://a.example", "a.example"));
        assert!(is_of("https://a.example", "A.example:443"));
        assert!(is_of("http://a.example", "a.example:80"));
        assert!(is_of("http://[::1]:40010", "[::1]:40010"));
        assert!(is_of("https://a.example:8443", "a.example:8443"));
        assert!(!is_of("https://a.example:8443", "a.example"));
        assert!(!is_of("https://a.example", "a.example:80"));
        assert!(!is_of("https://a.example", "b.example"));
        assert!(!is_of("https://a.example", ""));
        assert!(!is_of("file://", ""));
        assert_eq!(Origin::parse("null"), None);
        assert_eq!(Origin::parse(""), None);
    }
}

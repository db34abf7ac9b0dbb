//! What never gets from outside to the app: callbacks that are none of ours, and headers that a
//! stranger made up.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderValue, Method, Request};
use hyper::body::Body;
use stanza::field::UrlPath;
use stanza::{CallbackTarget, settings};
use tracing::warn;

use crate::throttle::Throttle;
use crate::{hop_by_hop, trust};

/// Between everyone outside and the app's own port.
#[derive(Debug)]
pub(crate) struct Border {
    identity: settings::Identity,
    callbacks: Vec<Callback>,
    /// Where the app wants its callbacks.
    callback_port: Option<u16>,
    lines: Throttle,
    http2_lines: Throttle,
}

/// A path that gets callbacks, as [`segments`] has it.
#[derive(Debug, PartialEq, Eq)]
struct Callback(Vec<Vec<u8>>);

impl Border {
    pub(crate) fn new(settings: &settings::Gateway, target: Option<&CallbackTarget>) -> Self {
        let types = settings.routes.types.iter().map(|entry| &entry.url);
        let paths = target
            .into_iter()
            .flat_map(|target| types.clone().chain([&target.path]));
        Self {
            identity: settings.identity.clone(),
            callbacks: paths.map(Callback::new).collect(),
            callback_port: target.map(|target| target.port.get()),
            lines: Throttle::new(),
            http2_lines: Throttle::new(),
        }
    }

    /// Whether the request may pass for a callback, however its path is spelled. A page may be
    /// asked for there; what has a body may not.
    pub(super) fn refuses<B: Body>(&self, request: &Request<B>) -> bool {
        let reads = matches!(
            *request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS
        );
        if reads && request.body().is_end_stream() {
            return false;
        }
        let path = request.uri().path();
        let refused = self.callbacks.iter().any(|callback| callback.may_be(path));
        if refused && let Some(left_out) = self.lines.pass() {
            warn!(
                method = %request.method(),
                left_out,
                "404 to a request from outside for a path of the app's callbacks (url, types): \
                 only the gateway may post there"
            );
        }
        refused
    }

    /// Requests in HTTP/2 cannot be looked into.
    pub(super) fn refuses_http2(&self, app: SocketAddr) -> bool {
        let refused = self.callback_port == Some(app.port());
        if refused && let Some(left_out) = self.http2_lines.pass() {
            warn!(
                port = app.port(),
                left_out,
                "HTTP/2 with prior knowledge was refused: callbacks go to this port too (port), \
                 and a stranger's could not be told apart; serve it on another port"
            );
        }
        refused
    }

    /// What the app may see of a request's headers.
    pub(super) fn clean(&self, headers: &mut HeaderMap, peer: SocketAddr) {
        let trusted = trust::trusts(&self.identity, peer, headers);
        trust::filter(headers, &self.identity, peer, trusted);
        hop_by_hop::remove(headers, |name| {
            hop_by_hop::is_end_to_end(name)
                || trust::is_about_the_client(&self.identity, name.as_str())
        });
        append_forwarded_for(headers, peer);
        if trust::is_no_proxy(&self.identity, peer, trusted)
            && let Ok(peer) = HeaderValue::from_str(&address(peer))
        {
            headers.insert("x-real-ip", peer);
        }
    }
}

fn address(peer: SocketAddr) -> String {
    peer.ip().to_canonical().to_string()
}

/// As nginx' `$proxy_add_x_forwarded_for`: what is left of the peer's address is its own word, so
/// an app counts proxies from the right.
fn append_forwarded_for(headers: &mut HeaderMap, peer: SocketAddr) {
    const NAME: &str = "x-forwarded-for";
    let mut list = Vec::new();
    for before in headers.get_all(NAME) {
        list.extend_from_slice(before.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(address(peer).as_bytes());
    if let Ok(list) = HeaderValue::from_bytes(&list) {
        headers.insert(NAME, list);
    }
}

impl Callback {
    fn new(url: &UrlPath) -> Self {
        let path = url.as_str().split('?').next().unwrap_or_default();
        Self(segments(&decode(path.as_bytes())))
    }

    /// Errs on the side of the app: what some server or framework takes for this path is it.
    fn may_be(&self, path: &str) -> bool {
        let whole = decode(path.as_bytes());
        // Where one or another reader ends it.
        let ends = b";?#\0".map(|end| whole.split(|byte| *byte == end).next().unwrap_or(&whole));
        self.may_be_decoded(&whole) || ends.iter().any(|path| self.may_be_decoded(path))
    }

    fn may_be_decoded(&self, path: &[u8]) -> bool {
        let found = segments(path);
        if found.iter().any(|segment| segment == b"..") {
            // Which segments it takes away depends on what is decoded and merged before. No client
            // that means well leaves dots to the server.
            return self.is_in(&found);
        }
        // `//host/path` is a host and a path to who parses it as a reference (RFC 3986 §4.2).
        let behind_host = path
            .get(..2)
            .is_some_and(|start| start.iter().all(|byte| is_slash(*byte)));
        self.is(&found) || (behind_host && found.get(1..).is_some_and(|rest| self.is(rest)))
    }

    fn is(&self, found: &[Vec<u8>]) -> bool {
        let Some((last, before)) = self.0.split_last() else {
            return found.is_empty();
        };
        let Some((tail, rest)) = found.get(before.len()..).and_then(<[_]>::split_first) else {
            return false;
        };
        // Rails: `/message.json`. A script (`/message.php/more`) is asked for by what begins so.
        let format = tail.strip_prefix(last.as_slice());
        let same = format.is_some_and(|format| format.is_empty() || format.starts_with(b"."));
        let script = last.contains(&b'.');
        found.starts_with(before) && same && (rest.is_empty() || script)
    }

    /// Whether all segments come, in order, somewhere among these.
    fn is_in(&self, found: &[Vec<u8>]) -> bool {
        let mut found = found.iter();
        self.0
            .iter()
            .all(|wanted| found.any(|segment| segment.starts_with(wanted)))
    }
}

/// Lower case (Express, IIS), without escapes, however often they were escaped themselves: one
/// decoder stands behind the other. Control characters go, as parsers of URLs drop them.
fn decode(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    for byte in path {
        decoded.push(byte.to_ascii_lowercase());
        // A decoded byte may end another escape.
        while let [.., b'%', high, low] = decoded[..]
            && let Some(byte) = hex(high, low)
        {
            decoded.truncate(decoded.len() - 3);
            decoded.push(byte.to_ascii_lowercase());
        }
    }
    decoded.retain(|byte| !byte.is_ascii_control() || *byte == 0);
    decoded
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// Without parameters (`;…`, RFC 3986 §3.3), empty ones and single dots; Windows knows `\` too.
fn segments(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| is_slash(*byte))
        .filter_map(|segment| segment.split(|byte| *byte == b';').next())
        .map(<[u8]>::trim_ascii)
        .filter(|segment| !matches!(*segment, b"" | b"."))
        .map(<[u8]>::to_vec)
        .collect()
}

fn is_slash(byte: u8) -> bool {
    matches!(byte, b'/' | b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is(url: &str, path: &str) -> bool {
        Callback::new(&UrlPath::new(url).unwrap()).may_be(path)
    }

    #[test]
    fn every_spelling() {
        for path in [
            "/ws/message",
            "/ws/message/",
            "//ws//message",
            "/WS/Message",
            "/%77s/message",
            "/ws%2Fmessage",
            "/ws%252fmessage",
            "/ws/mess%252561ge",
            "/%2577%73/message",
            "/ws/%4%64essage",
            "/./ws/./message/.",
            "/ws/x/../message",
            "/ws/x/%2e%2e/message",
            "/ws/x/%252e%252e/message",
            "/ws//../message",
            "/a%2fb/../ws/message",
            "/../ws/message",
            "/ws/..;/ws/message",
            "/ws;a=b/message;c=d",
            "/ws/message%3bx",
            "/ws/message%3fx=y",
            "/ws/message%23x",
            "/ws/message%00.png",
            "/ws/message%0a",
            "/ws/mes%09sage",
            "/ws/message%20",
            "\\ws\\message",
            "/ws%5cmessage",
            "/a%5cb/../ws/message",
            "//host/ws/message",
            "/\\host/ws/message",
            "/ws/message.json",
        ] {
            assert!(is("/ws/message", path), "{path}");
        }
    }

    #[test]
    fn other_paths_are_the_apps() {
        for path in [
            "/",
            "/ws",
            "/ws/messages",
            "/ws/message/more",
            "/ws/mess/age",
            "/x/ws/message",
            "/message",
            "/ws/auth",
            "/a/../b",
        ] {
            assert!(!is("/ws/message", path), "{path}");
        }
        assert!(is("/", "/"));
        assert!(is("/", "/."));
        assert!(!is("/", "/login"));
    }

    #[test]
    fn a_script_also_with_more_behind_it() {
        for path in [
            "/app/callback.php",
            "/app/callback.php/more",
            "/app/callback.php;x",
        ] {
            assert!(is("/app/callback.php?kind=ws", path), "{path}");
        }
        assert!(!is("/app/callback.php", "/app/other.php"));
    }

    /// Linear: a stranger chooses the path.
    #[test]
    fn nested_escapes_end() {
        let nested = format!("/%{}77s", "25".repeat(20_000));
        assert_eq!(decode(nested.as_bytes()), b"/ws");
    }

    fn spelled(byte: u8, how: u8) -> String {
        match how {
            0 => char::from(byte).to_string(),
            1 => char::from(byte.to_ascii_uppercase()).to_string(),
            2 => format!("%{byte:02x}"),
            3 => format!("%{byte:02X}"),
            4 => format!("%25{byte:02x}"),
            _ => format!("%2525{byte:02x}"),
        }
    }

    proptest::proptest! {
        #[test]
        fn any_mixture_of_spellings(
            letters in proptest::collection::vec(0_u8..6, 9),
            slashes in proptest::collection::vec(0_usize..9, 2),
            end in 0_usize..6,
        ) {
            let slash = ["/", "//", "/./", "/x/../", "\\", "%2f", "%255c", ";p/", "/%2e%2E;/ws/"];
            let mut path = String::new();
            for (index, byte) in b"wsmessage".iter().enumerate() {
                match index {
                    0 => path += slash[slashes[0]].trim_start_matches(";p"),
                    2 => path += slash[slashes[1]],
                    _ => {}
                }
                path += &spelled(*byte, letters[index]);
            }
            path += ["", "/", ";p=v", "%00x", "%20", ".json"][end];
            proptest::prop_assert!(is("/ws/message", &path), "{path}");
        }

        #[test]
        fn nothing_panics(path: String, url in "/[!-\"$-~]{0,20}") {
            let _ = is(&url, &path);
        }
    }
}

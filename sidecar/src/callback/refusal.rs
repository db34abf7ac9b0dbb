//! What is said of an answer that does not do what its app meant: where a redirect leads, what to
//! do about a status, and how the answer begins. Query strings are left out, as tokens stand there.

use http::StatusCode;
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};

use super::target;

/// How much of an answer's first line is shown.
const SHOWN: usize = 120;

/// The path, with its query, on the same host and port that a redirect leads to (RFC 9110
/// §15.4.8, §15.4.9). Only these two statuses keep method and body.
pub(super) fn redirected(status: StatusCode, start: &[u8], location: &str) -> Option<String> {
    let keeps = matches!(
        status,
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
    );
    let location = location.split('#').next().unwrap_or_default();
    if !keeps || !location.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let path = target::path(start);
    let path = path.split('?').next().unwrap_or_default();
    let to = match location.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => {
            let ours = scheme.eq_ignore_ascii_case("http");
            on_our_host(start, rest).filter(|_| ours)?.to_owned()
        }
        _ if location.starts_with("//") => on_our_host(start, &location[2..])?.to_owned(),
        _ if location.starts_with('/') => location.to_owned(),
        _ if location.starts_with('?') => format!("{path}{location}"),
        // Relative to the folder (RFC 3986 §5.2.3).
        _ => {
            let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
            format!("{folder}{}", location.trim_start_matches("./"))
        }
    };
    let dots = |segment: &str| matches!(segment, "." | "..");
    let odd = to.split(['/', '?']).any(dots) || to.starts_with("//") || !to.starts_with('/');
    (!odd).then_some(to)
}

fn is_scheme(text: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(rest)
}

/// `localhost:8888/a` is `/a` where the request went to that host.
fn on_our_host<'a>(start: &[u8], url: &'a str) -> Option<&'a str> {
    let end = url.find(['/', '?']).unwrap_or(url.len());
    let (host, path) = url.split_at(end);
    let (name, port) = host.rsplit_once(':').unwrap_or((host, "80"));
    let (_, our_port) = target::host(start).rsplit_once(':')?;
    let loopback = ["localhost", "127.0.0.1", "[::1]"];
    let ours = loopback.iter().any(|ours| name.eq_ignore_ascii_case(ours)) && port == our_port;
    ours.then_some(if path.is_empty() { "/" } else { path })
}

/// Whether a path is another's with or without a slash at its end.
pub(super) fn is_same_but_a_slash(path: &str, other: &str) -> bool {
    let bare = |path: &str| {
        let path = path.split('?').next().unwrap_or_default();
        path.strip_suffix('/').unwrap_or(path).to_owned()
    };
    bare(path) == bare(other)
}

/// A URL or path as it may be shown.
pub(super) fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    // `https://name:password@host`
    let url = match url.split_once("://") {
        Some((scheme, rest)) => {
            let host = rest.split('/').next().unwrap_or_default();
            let name = host.rfind('@').map_or(0, |at| at + 1);
            format!("{scheme}://{}", &rest[name..])
        }
        None => url.to_owned(),
    };
    escaped(&url)
}

/// The first line of an answer that says something: of a page it is the title.
pub(super) fn first_line(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    let line = line.unwrap_or_default();
    let title = || {
        let at = text.to_ascii_lowercase().find("<title>")? + "<title>".len();
        let title = text[at..].split('<').next()?.trim();
        title.lines().next()
    };
    let page = line.starts_with('<');
    escaped(title().filter(|_| page).unwrap_or(line))
}

fn escaped(text: &str) -> String {
    let mut shown = String::new();
    for letter in text.chars().take(SHOWN) {
        match letter {
            '"' | '\'' | '\\' => shown.push(letter),
            _ => shown.extend(letter.escape_debug()),
        }
    }
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// What to do about a status.
pub(super) fn hint(status: StatusCode, location: Option<&str>) -> &'static str {
    match status.as_u16() {
        300..400 if location.is_some_and(|to| to.starts_with("https:")) => {
            "the app sends everybody to HTTPS: exempt url from that (Django: SECURE_REDIRECT_EXEMPT)"
        }
        300..400 => {
            "set url to where the app really is, with or without a slash at its end; only 307 and 308 to the same host and port are followed"
        }
        400 => {
            "does the app take requests for Host localhost? (Django: ALLOWED_HOSTS, Rails: config.hosts)"
        }
        401 => "the app asks for a login there: exempt url, and look at user_name in the callback",
        403 | 419 => "exempt url from the app's CSRF protection and login (Django: csrf_exempt)",
        404 | 410 => "the app has nothing at that path: look at url",
        405 => "the app has to take POST at url",
        413 => {
            "the app's limit for bodies is below limits.message: raise the one or lower the other"
        }
        415 | 422 => "the app has to take JSON as docs/protocol.md shows it",
        421 => "the app does not take requests for Host localhost",
        429 => "exempt url from the app's rate limit, or answer with Retry-After",
        431 => "the client's cookies are too long for the app",
        503 => "an app that is busy may answer with Retry-After, and gets the event again",
        500..600 => "see the app's own log",
        _ => "any 2xx will do",
    }
}

/// What is odd about a success that does not act, if it looks as if it was meant to.
pub(super) fn looks_like_more(body: &[u8]) -> Option<&'static str> {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace())?;
    match first {
        b'<' => Some("the answer is a page; is url right, and is there a login in front of it?"),
        b'{' if has_key_that_acts(body) => Some(
            "the answer looks as if it were to act, and does not: that takes Content-Type application/vnd.olares.ws+json",
        ),
        _ => None,
    }
}

/// Whether a JSON object, of which only the beginning may be there, has such a key.
fn has_key_that_acts(body: &[u8]) -> bool {
    struct Keys<'a>(&'a mut bool);
    impl<'de> Visitor<'de> for Keys<'_> {
        type Value = ();

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            while let Some(key) = map.next_key::<String>()? {
                *self.0 |= matches!(key.as_str(), "reply" | "send" | "broadcast" | "close");
                map.next_value::<IgnoredAny>()?;
            }
            Ok(())
        }
    }
    let mut found = false;
    // It breaks off where only the beginning is there.
    let _ = serde_json::Deserializer::from_slice(body).deserialize_map(Keys(&mut found));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &[u8] = b"POST /ws/message?key=1 HTTP/1.1\r\nHost: localhost:8888\r\n";

    #[test]
    fn redirects_that_stay_here() {
        let to = |location| redirected(StatusCode::TEMPORARY_REDIRECT, START, location);
        for (location, path) in [
            ("/ws/message/", "/ws/message/"),
            ("http://localhost:8888/ws/message/", "/ws/message/"),
            ("HTTP://LOCALHOST:8888", "/"),
            ("http://127.0.0.1:8888/a?b=c", "/a?b=c"),
            ("//[::1]:8888/a", "/a"),
            ("message/", "/ws/message/"),
            ("./other", "/ws/other"),
            ("?a", "/ws/message?a"),
        ] {
            assert_eq!(to(location).as_deref(), Some(path), "{location}");
        }
        for location in [
            "https://localhost:8888/ws/message/",
            "http://localhost/ws/message/",
            "http://localhost:8889/",
            "http://chat.example:8888/",
            "//chat.example/",
            "http://localhost:8888@chat.example/",
            "../admin",
            "/a/../b",
            "/a b",
            "/a\r\nX: y",
            "http://localhost:8888//chat",
        ] {
            assert_eq!(to(location), None, "{location}");
        }
        let moved = redirected(StatusCode::MOVED_PERMANENTLY, START, "/a");
        assert_eq!(moved, None, "it would become a GET");
    }

    #[test]
    fn what_is_shown_is_short_and_harmless() {
        assert_eq!(
            shown("https://ann:secret@host/a?token=1#b"),
            "https://host/a"
        );
        assert_eq!(shown("/a?token=1"), "/a");
        assert_eq!(
            first_line(b"\n  not here\x1b[2J\nsecret"),
            "not here\\u{1b}[2J"
        );
        let page = b"<!doctype html>\n<html><title>\nDisallowedHost at /ws</title>";
        assert_eq!(first_line(page), "DisallowedHost at /ws");
        assert_eq!(
            first_line("\u{e4}".repeat(500).as_bytes()).chars().count(),
            SHOWN + 1
        );
        assert_eq!(first_line(b""), "");
    }

    #[test]
    fn what_looks_as_if_it_were_to_act() {
        assert!(looks_like_more(br#" {"ok":1,"reply":{"a":1}}"#).is_some());
        assert!(looks_like_more(br#"{"broadcast":{"pay"#).is_some());
        assert!(looks_like_more(b"\n<!doctype html>").is_some());
        for plain in [
            &b""[..],
            b"ok",
            br#"{"ok":true}"#,
            br#"{"a":{"reply":1}}"#,
            b"[]",
            b"{",
        ] {
            assert_eq!(looks_like_more(plain), None);
        }
    }
}

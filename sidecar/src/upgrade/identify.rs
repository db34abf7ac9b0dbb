//! Who a client is, from its request: the hook's word, a verified token, a trusted header, the
//! name in the URL that the hook allowed; else nobody.

use std::io::Write as _;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Request, header};
use stanza::choice::Namespaces;
use stanza::settings;

use super::hook::HookAnswer;
use super::jwt::Claimed;
use crate::identity::{Identity, Part, Token};
use crate::{latin1, trace_context};

/// How the line of cookies begins.
const COOKIE: &[u8] = b"Cookie: ";
/// The cookie that Olares' edge sets.
const TOKEN_COOKIE: &str = "auth_token";

/// Of headers that [`crate::trust::filter`] has seen.
pub fn identity<B>(
    request: &Request<B>,
    settings: &settings::Identity,
    carried: &Arc<[u8]>,
    claimed: Option<&Claimed>,
    hook: Option<&HookAnswer>,
) -> Identity {
    let headers = request.headers();
    let user = hook
        .and_then(|hook| hook.user.clone())
        .or_else(|| claimed.map(|claimed| claimed.user.clone()))
        .or_else(|| header_user(headers, settings))
        // Only a claim until somebody checked the password; a hook that looks at a cookie did not.
        .or_else(|| {
            hook.filter(|_| settings.basic)
                .and_then(|_| basic_user(headers))
        })
        .unwrap_or_default();
    let namespace =
        hook.and_then(|hook| hook.namespace.clone())
            .or_else(|| match settings.namespaces {
                Namespaces::Client => query_namespace(request),
                Namespaces::Hook => claimed.and_then(|claimed| claimed.namespace.clone()),
            });
    let token = token(carried).map_or_else(Token::random, Token::Private);
    Identity {
        user: user.into(),
        namespace: namespace.map(Into::into),
        token,
    }
}

/// The value of the first cookie of that name. Bytes: RFC 6265 §4.1.1 allows ASCII alone, but
/// browsers send what pages have set, and one odd cookie must not hide the others.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a [u8]> {
    let mut all = headers.get_all(header::COOKIE).iter();
    all.find_map(|value| {
        let bytes = value.as_bytes();
        bytes.get(cookie_in(bytes, wanted)?)
    })
}

/// Where the value of the first cookie of that name stands in a Cookie header, without the quotes
/// that may be around it (RFC 6265 §4.1.1).
fn cookie_in(header: &[u8], wanted: &str) -> Option<Range<usize>> {
    let mut next = 0;
    for pair in header.split(|&byte| byte == b';') {
        let start = next;
        next += pair.len() + 1;
        let pair = pair.trim_ascii_end();
        let name = pair.trim_ascii_start().strip_prefix(wanted.as_bytes());
        let value = name.and_then(|rest| rest.strip_prefix(b"="));
        let (value, quote) = match value {
            Some([b'"', value @ .., b'"']) => (value, 1),
            Some(value) => (value, 0),
            None => continue,
        };
        if !value.is_empty() {
            let end = start + pair.len() - quote;
            return Some(end - value.len()..end);
        }
    }
    None
}

/// What goes along on each callback, as lines of headers: the client's cookies in one (RFC 6265
/// §5.4), its trace and its address.
pub fn carried(headers: &HeaderMap, address: IpAddr) -> Arc<[u8]> {
    let mut lines = Vec::new();
    for cookie in headers.get_all(header::COOKIE) {
        let before: &[u8] = if lines.is_empty() { COOKIE } else { b"; " };
        lines.extend_from_slice(before);
        lines.extend_from_slice(cookie.as_bytes());
    }
    if !lines.is_empty() {
        lines.extend_from_slice(b"\r\n");
    }
    trace_context::append(&mut lines, headers);
    // Writing to a vector does not fail.
    let _ = write!(lines, "X-Real-IP: {address}\r\n");
    lines.into()
}

/// The cookie of Olares' name as the client's token, in place.
fn token(carried: &Arc<[u8]>) -> Option<Part> {
    let line = carried.split(|byte| *byte == b'\r').next()?;
    let place = cookie_in(line.strip_prefix(COOKIE)?, TOKEN_COOKIE)?;
    let place = COOKIE.len() + place.start..COOKIE.len() + place.end;
    let readable = carried.get(place.clone())?.is_ascii();
    readable.then(|| Part::new(carried, place)).flatten()
}

fn header_user(headers: &HeaderMap, settings: &settings::Identity) -> Option<String> {
    settings
        .headers
        .iter()
        .filter_map(|name| headers.get(name.as_str()))
        .map(|value| latin1::text(value.as_bytes()).trim().to_owned())
        .find(|user| !user.is_empty())
}

fn basic_user(headers: &HeaderMap) -> Option<String> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let value = all.next()?.to_str().ok()?;
    // Of two the hook may have checked the other.
    if all.next().is_some() {
        return None;
    }
    let (scheme, credentials) = value.split_once(' ')?;
    let decoded = scheme
        .eq_ignore_ascii_case("basic")
        .then(|| STANDARD.decode(credentials.trim()).ok())
        .flatten()?;
    let end = decoded.iter().position(|byte| *byte == b':')?;
    let name = latin1::text(&decoded[..end]).into_owned();
    Some(name).filter(|name| !name.is_empty())
}

fn query_namespace<B>(request: &Request<B>) -> Option<String> {
    let query = request.uri().query()?;
    let found = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "namespace");
    found
        .map(|(_, value)| value.into_owned())
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn request(headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().uri("/ws?namespace=space");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    fn identify(headers: &[(&str, &str)], hook: Option<&HookAnswer>, basic: bool) -> Identity {
        let settings = settings::Identity {
            basic,
            ..settings::Identity::default()
        };
        let request = request(headers);
        let carried = carried(request.headers(), Ipv4Addr::LOCALHOST.into());
        identity(&request, &settings, &carried, None, hook)
    }

    #[test]
    fn a_name_in_the_url_counts_only_where_the_hook_checks_passwords() {
        let allowed = HookAnswer::default();
        let user = |all: &[(&str, &str)], hook, basic| identify(all, hook, basic).user.to_string();
        let clown = ("authorization", "Basic Y2xvd246YmlnY2xvd24=");
        assert_eq!(user(&[clown], None, true), "");
        assert_eq!(user(&[clown], Some(&allowed), false), "");
        assert_eq!(user(&[clown], Some(&allowed), true), "clown");
        let admin = ("authorization", "Basic YWRtaW46eA==");
        assert_eq!(user(&[clown, admin], Some(&allowed), true), "");
        // J\xF6rg:x and J\xE4rg:x
        for (basic, name) in [("Basic SvZyZzp4", "Jörg"), ("Basic SuRyZzp4", "Järg")] {
            assert_eq!(
                user(&[("authorization", basic)], Some(&allowed), true),
                name
            );
        }
    }

    #[test]
    fn namespaces_of_the_hook_only() {
        let settings = settings::Identity {
            namespaces: Namespaces::Hook,
            ..settings::Identity::default()
        };
        let of = |hook: HookAnswer| {
            let found = identity(&request(&[]), &settings, &Arc::default(), None, Some(&hook));
            found.namespace.as_deref().map(str::to_owned)
        };
        assert_eq!(of(HookAnswer::default()), None);
        let hook = HookAnswer {
            namespace: Some("team".to_owned()),
            ..HookAnswer::default()
        };
        assert_eq!(of(hook).as_deref(), Some("team"));
    }

    #[test]
    fn the_cookie_is_the_token() {
        let identify = |headers: &[(&str, &str)]| identify(headers, None, false);
        let with = identify(&[("cookie", "a=b; auth_token=secret; c=d")]);
        assert!(with.token.equals("secret"));
        assert!(!with.token.is_public());
        let two = [
            ("cookie", "a=b"),
            ("cookie", "auth_token=\"s=1\" ;auth_token=t"),
        ];
        assert!(identify(&two).token.equals("s=1"));
        let empty = [("cookie", "auth_token=; xauth_token=u")];
        assert!(identify(&empty).token.is_public());
        assert!(identify(&[]).token.is_public());
        assert_eq!(with.namespace.as_deref(), Some("space"));
    }
}

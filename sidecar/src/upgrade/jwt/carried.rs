//! Where a request carries its token (`identity.jwt.from`).
//!
//! Query and subprotocol are for browsers, whose WebSocket API sets no header (RFC 6750 §2.3 and
//! Kubernetes show the way). What stands there is copied into logs and histories by whoever sees
//! the request, so the token is taken out of it before anyone else does.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Uri, header};
use stanza::choice::TokenPlace;
use stanza::settings;

use crate::upgrade::identify::cookie;

/// What stands before the token, in base64url without padding, in its subprotocol.
pub const SUBPROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

/// The request's token: of the first place of `from` that has one. Nothing is left of it in the
/// query and among the subprotocols.
pub fn take<B>(request: &mut Request<B>, settings: &settings::Jwt) -> Option<Vec<u8>> {
    let mut found = None;
    for place in &settings.from {
        let token = match place {
            TokenPlace::Header => bearer(request.headers()).map(<[u8]>::to_vec),
            TokenPlace::Cookie => cookie(request.headers(), &settings.cookie).map(<[u8]>::to_vec),
            TokenPlace::Query => take_query(request.uri_mut(), &settings.query),
            TokenPlace::Subprotocol => take_subprotocol(request.headers_mut()),
        };
        // In every place, as the others have to be cleared too.
        found = found.or(token);
    }
    found
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let blank = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, token) = value.split_at(blank);
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer") && !token.is_empty()).then_some(token)
}

/// The first parameter of that name; all of them are gone.
fn take_query(uri: &mut Uri, name: &str) -> Option<Vec<u8>> {
    let query = uri.query()?;
    let is_token = |pair: &&str| {
        let mut parsed = form_urlencoded::parse(pair.as_bytes());
        parsed.next().is_some_and(|(key, _)| key == name)
    };
    let first = query.split('&').find(is_token)?;
    let (_, token) = form_urlencoded::parse(first.as_bytes()).next()?;
    let token = token.into_owned().into_bytes();
    let rest: Vec<&str> = query.split('&').filter(|pair| !is_token(pair)).collect();
    let rest = rest.join("&");
    let path = uri.path();
    let left = if rest.is_empty() {
        Cow::from(path)
    } else {
        format!("{path}?{rest}").into()
    };
    let mut parts = uri.clone().into_parts();
    // A piece of a URI that was one before.
    parts.path_and_query = PathAndQuery::try_from(left.as_ref()).ok();
    *uri = Uri::from_parts(parts).unwrap_or_else(|_| Uri::from_static("/"));
    Some(token).filter(|token| !token.is_empty())
}

/// The first subprotocol that carries a token; all of them are gone, so that none is chosen.
fn take_subprotocol(headers: &mut HeaderMap) -> Option<Vec<u8>> {
    let offered = subprotocols(headers);
    let (tokens, others): (Vec<_>, Vec<_>) = offered
        .into_iter()
        .partition(|name| name.starts_with(SUBPROTOCOL.as_bytes()));
    let first = tokens.first()?;
    let token = URL_SAFE_NO_PAD.decode(&first[SUBPROTOCOL.len()..]);
    match HeaderValue::from_bytes(&others.join(&b", "[..])) {
        Ok(rest) if !rest.is_empty() => {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, rest);
        }
        _ => {
            headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
        }
    }
    // One that is no base64url is a bad token, not none.
    Some(token.unwrap_or_default())
}

/// What the client offers, in its order.
fn subprotocols(headers: &HeaderMap) -> Vec<Vec<u8>> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|name| name.trim_ascii().to_vec())
        .filter(|name| !name.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str, offered: &[&str]) -> Request<()> {
        let mut request = Request::builder().uri(uri);
        for value in offered {
            request = request.header(header::SEC_WEBSOCKET_PROTOCOL, *value);
        }
        request.body(()).unwrap()
    }

    fn settings(place: TokenPlace) -> settings::Jwt {
        settings::Jwt {
            from: vec![place],
            ..settings::Jwt::default()
        }
    }

    #[test]
    fn a_query_loses_the_token_and_nothing_else() {
        let settings = settings(TokenPlace::Query);
        for (before, token, after) in [
            ("/ws?access_token=a.b.c", Some("a.b.c"), "/ws"),
            ("/ws?x=1&access_token=a&y=%20+", Some("a"), "/ws?x=1&y=%20+"),
            ("/ws?access%5Ftoken=a&access_token=b", Some("a"), "/ws"),
            ("/ws?access_token=", None, "/ws"),
            ("/ws?access_token", None, "/ws"),
            ("/ws?xaccess_token=a&&b", None, "/ws?xaccess_token=a&&b"),
            ("/ws", None, "/ws"),
        ] {
            let mut request = request(before, &[]);
            let found = take(&mut request, &settings);
            assert_eq!(found.as_deref(), token.map(str::as_bytes), "{before}");
            assert_eq!(request.uri().to_string(), after, "{before}");
        }
    }

    #[test]
    fn the_subprotocols_lose_the_token_and_nothing_else() {
        let settings = settings(TokenPlace::Subprotocol);
        let carrier = format!("{SUBPROTOCOL}YS5iLmM");
        let both = format!("{carrier} ,chat");
        for (before, token, after) in [
            (
                &[both.as_str(), "more"][..],
                Some("a.b.c"),
                Some("chat, more"),
            ),
            (&["chat", &carrier], Some("a.b.c"), Some("chat")),
            (&[&carrier], Some("a.b.c"), None),
            (&["chat"], None, Some("chat")),
            (&[], None, None),
        ] {
            let mut request = request("/ws", before);
            let found = take(&mut request, &settings);
            assert_eq!(found.as_deref(), token.map(str::as_bytes), "{before:?}");
            let left = request.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
            assert_eq!(left.map(|left| left.to_str().unwrap()), after, "{before:?}");
        }
    }
}

//! RFC 9110 §7.6.1: what concerns one connection only stays behind.

use http::{HeaderMap, HeaderName, header};

const OURS: [HeaderName; 3] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Whether a header concerns this connection alone, whatever `Connection` says.
pub(crate) fn is_always(name: &HeaderName) -> bool {
    OURS.contains(name)
}

/// Removes them, and those that `Connection` names. `Upgrade`, `TE` and trailers stay: each caller
/// has its own way with them. What `keeps` says stays too: a client's `Connection` goes through
/// many a proxy as it is, and would take away what that proxy said of the client.
pub(crate) fn remove(headers: &mut HeaderMap, keeps: impl Fn(&HeaderName) -> bool) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| !matches!(*name, header::UPGRADE | header::TE) && !keeps(name))
        .collect();
    for name in named.iter().chain(&OURS) {
        headers.remove(name);
    }
}

/// Whether a header is a part of the message, and no proxy's to take away.
pub(crate) fn is_end_to_end(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::HOST
            | header::COOKIE
            | header::SET_COOKIE
            | header::AUTHORIZATION
            | header::WWW_AUTHENTICATE
            | header::ORIGIN
            | header::LOCATION
    ) || ["content-", "sec-"]
        .iter()
        .any(|family| name.as_str().starts_with(family))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_connection_names_goes_but_for_what_belongs_to_the_message() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, X-Hop, Host"),
            ("connection", "Content-Length"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("x-hop", "gone"),
            ("host", "kept"),
            ("content-length", "0"),
            ("x-kept", "kept"),
        ] {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        remove(&mut headers, is_end_to_end);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "host", "x-kept"]);
    }
}

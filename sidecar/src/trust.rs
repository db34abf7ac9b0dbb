//! Whose word counts, and by which names it is said.
//!
//! `-`, `_` and `.` count as one letter in a header's name: CGI and all that took its names from
//! it (PHP, WSGI) make `HTTP_X_BFL_USER` of each. A proxy overwrites one spelling, and passes a
//! stranger's other one on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::HeaderMap;
use http::header::HeaderName;
use stanza::settings::Identity;

/// Names that proxies give what they say of a client.
const PROXIES: [&str; 22] = [
    "cdn-loop",
    "client-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "forwarded",
    "proxy-client-ip",
    "true-client-ip",
    "via",
    "wl-proxy-client-ip",
    "x-appengine-user-ip",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-host",
    "x-nginx-proxy",
    "x-originating-ip",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-scheme",
];

/// Beginnings of such names: Envoy's, Cloudflare's and Linkerd's own among them.
const FAMILIES: [&str; 5] = ["x-forwarded", "x-envoy-", "x-original-", "cf-", "l5d-"];

/// Whether the peer is the pod itself. The rest of 127.0.0.0/8 is not: a mesh's sidecar brings
/// strangers in from 127.0.0.6.
pub fn is_the_pod(peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    peer == Ipv4Addr::LOCALHOST || peer == Ipv6Addr::LOCALHOST
}

/// Whether a header of that name is something that a proxy says.
pub fn tells_of_a_proxy(name: &str) -> bool {
    PROXIES.iter().any(|known| alike(known, name))
        || FAMILIES.iter().any(|family| {
            name.get(..family.len())
                .is_some_and(|start| alike(family, start))
        })
}

/// Whether the peer's identity headers count.
pub fn trusts(settings: &Identity, peer: SocketAddr, headers: &HeaderMap) -> bool {
    let ip = peer.ip().to_canonical();
    if let Some(proxies) = &settings.trusted_proxies {
        return proxies.iter().any(|net| net.contains(&ip));
    }
    // Nobody named the proxy in the pod that such a request came through.
    let from_a_proxy =
        |name: &HeaderName| tells_of_a_proxy(name.as_str()) && !names_users(settings, name);
    is_the_pod(ip) && !headers.keys().any(from_a_proxy)
}

/// Whether the peer is known to be no proxy. While none is listed, any peer may be one; and what
/// comes from within the pod, a mesh's sidecar may have brought in.
pub fn is_no_proxy(settings: &Identity, peer: SocketAddr, trusted: bool) -> bool {
    /// The IPv6 form of the 127.0.0.6 that Istio and Kuma bring strangers in from.
    const MESH: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6);
    let listed = settings.trusted_proxies.as_ref();
    let peer = peer.ip().to_canonical();
    listed.is_some_and(|proxies| !proxies.is_empty())
        && !trusted
        && !peer.is_loopback()
        && peer != MESH
}

/// Leaves nothing in the headers that a stranger may have made up: identity headers of a peer
/// that is not trusted, what proxies say where the peer is none, and, whoever the peer is, other
/// spellings of both. Of a repeated identity header the last stays: an edge that appends has the
/// last word.
pub fn filter(headers: &mut HeaderMap, settings: &Identity, peer: SocketAddr, trusted: bool) {
    let no_proxy = is_no_proxy(settings, peer, trusted);
    let made_up = |name: &&HeaderName| {
        if names_users(settings, name) {
            return !trusted;
        }
        let name = name.as_str();
        may_pass_for_another(settings, name) || (no_proxy && is_a_proxys_alone(name))
    };
    let made_up: Vec<HeaderName> = headers.keys().filter(made_up).cloned().collect();
    for name in made_up {
        headers.remove(name);
    }
    for name in &settings.headers {
        let mut all = headers.get_all(name.as_str()).iter();
        if let (Some(_), Some(last)) = (all.next(), all.next_back().cloned())
            && let Ok(name) = name.as_str().parse::<HeaderName>()
        {
            headers.insert(name, last);
        }
    }
}

/// Whether a header says who asks, or through whom, in any spelling.
pub fn is_about_the_client(settings: &Identity, name: &str) -> bool {
    tells_of_a_proxy(name) || is_like_identity(settings, name)
}

/// What any client of HTTP may send too stays: a loop is found by `Via` and `CDN-Loop` (RFC 8586).
fn is_a_proxys_alone(name: &str) -> bool {
    tells_of_a_proxy(name) && !matches!(name, "via" | "cdn-loop")
}

fn names_users(settings: &Identity, name: &HeaderName) -> bool {
    let mut known = settings.headers.iter();
    known.any(|known| known.as_str() == name.as_str())
}

fn may_pass_for_another(settings: &Identity, name: &str) -> bool {
    let odd = |byte: u8| !byte.is_ascii_alphanumeric() && byte != b'-';
    is_like_identity(settings, name) || (name.bytes().any(odd) && tells_of_a_proxy(name))
}

fn is_like_identity(settings: &Identity, name: &str) -> bool {
    let mut known = settings.headers.iter();
    known.any(|known| alike(known.as_str(), name))
}

/// What is neither letter nor digit counts as one letter.
fn alike(one: &str, other: &str) -> bool {
    let fold = |byte: u8| match byte.to_ascii_lowercase() {
        byte if byte.is_ascii_alphanumeric() => byte,
        _ => b'-',
    };
    one.len() == other.len() && one.bytes().map(fold).eq(other.bytes().map(fold))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 1);

    fn headers(all: &[(&str, &str)]) -> HeaderMap {
        let all = all.iter().map(|(name, value)| {
            (
                name.parse::<HeaderName>().unwrap(),
                value.parse::<http::HeaderValue>().unwrap(),
            )
        });
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            headers.append(name, value);
        }
        headers
    }

    fn trusted_by(proxies: Option<&str>, peer: &str, all: &[(&str, &str)]) -> bool {
        let settings = Identity {
            trusted_proxies: proxies.map(|net| vec![net.parse().unwrap()]),
            ..Identity::default()
        };
        trusts(&settings, peer.parse().unwrap(), &headers(all))
    }

    #[test]
    fn by_default_the_pod_itself_and_no_proxy_in_it() {
        for pod in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(trusted_by(None, pod, &[]), "{pod}");
            for said in [("x-forwarded-for", "1.2.3.4"), ("X_Real_IP", "1.2.3.4")] {
                assert!(!trusted_by(None, pod, &[said]), "{pod} {said:?}");
            }
        }
        for other in [
            "127.0.0.6:1",
            "127.0.1.1:1",
            "10.0.0.1:1",
            "[::ffff:10.0.0.1]:1",
        ] {
            assert!(!trusted_by(None, other, &[]), "{other}");
        }
    }

    #[test]
    fn named_proxies_and_nobody_else() {
        let said = [("x-forwarded-for", "1.2.3.4")];
        assert!(trusted_by(Some("10.0.0.0/8"), "10.1.2.3:1", &said));
        assert!(trusted_by(Some("10.0.0.0/8"), "[::ffff:10.1.2.3]:1", &[]));
        assert!(!trusted_by(Some("10.0.0.0/8"), "127.0.0.1:1", &[]));
        assert!(trusted_by(Some("127.0.0.1/32"), "127.0.0.1:1", &said));
    }

    #[test]
    fn a_header_that_names_users_is_no_sign_of_a_proxy() {
        let settings = Identity {
            headers: vec![stanza::field::HeaderName::from_static("x-forwarded-user")],
            ..Identity::default()
        };
        let pod = "127.0.0.1:1".parse().unwrap();
        assert!(trusts(
            &settings,
            pod,
            &headers(&[("x-forwarded-user", "a")])
        ));
    }

    #[test]
    fn proxies_names_in_any_spelling() {
        for name in [
            "Via",
            "Forwarded",
            "X-Forwarded",
            "x-forwarded-anything",
            "X_Forwarded_For",
            "X.Real.IP",
            "CF-Connecting-IP",
            "x-envoy-external-address",
            "X-Original-Forwarded-For",
            "True-Client-IP",
        ] {
            assert!(tells_of_a_proxy(name), "{name}");
        }
        for name in [
            "host",
            "cookie",
            "x-request-id",
            "traceparent",
            "x-custom",
            "cf",
        ] {
            assert!(!tells_of_a_proxy(name), "{name}");
        }
    }

    #[test]
    fn what_a_stranger_may_have_made_up_goes() {
        let sent = [
            ("x-bfl-user", "admin"),
            ("x_bfl_user", "admin"),
            ("x.bfl_user", "admin"),
            ("x_forwarded_for", "127.0.0.1"),
            ("x_original_uri", "/public"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x_custom", "kept"),
        ];
        let left = |trusted| {
            let mut headers = headers(&sent);
            filter(&mut headers, &Identity::default(), CLIENT, trusted);
            let mut left: Vec<_> = headers
                .keys()
                .map(|name| name.as_str().to_owned())
                .collect();
            left.sort();
            left
        };
        assert_eq!(left(false), ["x-forwarded-for", "x_custom"]);
        // Who is trusted overwrites one spelling.
        assert_eq!(left(true), ["x-bfl-user", "x-forwarded-for", "x_custom"]);
    }

    #[test]
    fn where_the_proxies_are_listed_nobody_else_speaks_as_one() {
        let said = [
            ("cdn-loop", "other"),
            ("forwarded", "for=192.0.2.1"),
            ("true-client-ip", "192.0.2.1"),
            ("via", "1.1 other"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "https"),
            ("x-real-ip", "192.0.2.1"),
        ];
        let left = |proxies: Option<&[&str]>, peer: &str, trusted| {
            let network = |net: &&str| net.parse().unwrap();
            let settings = Identity {
                trusted_proxies: proxies.map(|all| all.iter().map(network).collect()),
                ..Identity::default()
            };
            let mut headers = headers(&said);
            let peer = SocketAddr::new(peer.parse().unwrap(), 1);
            filter(&mut headers, &settings, peer, trusted);
            let mut left: Vec<_> = headers.keys().map(ToString::to_string).collect();
            left.sort();
            left
        };
        let listed = Some(&["10.0.0.0/8"][..]);
        let all = said.map(|(name, _)| name);
        assert_eq!(left(listed, "192.0.2.1", false), ["cdn-loop", "via"]);
        assert_eq!(left(listed, "10.0.0.1", true), all);
        // Nobody said who the proxies are: the operator lists none before a mesh.
        for none in [None, Some(&[][..])] {
            assert_eq!(left(none, "192.0.2.1", false), all);
        }
        for mesh in ["127.0.0.1", "127.0.0.6", "::1", "::6", "::ffff:127.0.0.6"] {
            assert_eq!(left(listed, mesh, false), all, "{mesh}");
        }
    }

    #[test]
    fn the_last_of_repeated_names_counts() {
        let mut all = headers(&[("x-bfl-user", "admin"), ("x-bfl-user", "ann")]);
        filter(&mut all, &Identity::default(), CLIENT, true);
        let values: Vec<_> = all.get_all("x-bfl-user").iter().collect();
        assert_eq!(values, ["ann"]);
    }
}

//! Who may use the admin API: processes in the same pod, and, with an admin token, whoever has it.
//!
//! The peer's address alone is not enough: a reverse proxy inside the pod (Envoy on older Olares)
//! carries strangers in from loopback, and a web page in a browser on the same machine (or behind
//! a port-forward) can post to loopback, or reach it by DNS rebinding. All betray themselves by
//! headers. A proxy that adds none and sends `Host: localhost` cannot be
//! told apart; against that one there is the token.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, Request, StatusCode, header};
use subtle::{Choice, ConstantTimeEq};
use tokio::sync::watch;

use super::Refusal;
use crate::secret_file::Current;
use crate::trust;

/// The bearer tokens that open the admin API, each by itself. Never shown.
#[derive(Clone)]
pub struct AdminTokens(Vec<String>);

/// The tokens as they are now; none is known while their file cannot be used.
#[derive(Clone, Debug)]
pub struct TokenLock(Current<AdminTokens>);

impl AdminTokens {
    /// A token a line, so that callers can change to a new one before the old one goes.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = Vec::new();
        for (index, line) in text.lines().map(str::trim).enumerate() {
            if !line.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(format!(
                    "line {}: expected a token of visible ASCII characters without blanks",
                    index + 1
                ));
            }
            tokens.extend(Some(line.to_owned()).filter(|line| !line.is_empty()));
        }
        if tokens.is_empty() {
            return Err("it is empty; expected a token a line".to_owned());
        }
        Ok(Self(tokens))
    }

    fn fit(&self, headers: &HeaderMap) -> bool {
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        // All are looked at: how long it takes tells of none.
        let fits = |given: &str| {
            let one = |token: &String| given.as_bytes().ct_eq(token.as_bytes());
            self.0
                .iter()
                .map(one)
                .fold(Choice::from(0), |all, one| all | one)
        };
        given.is_some_and(|given| fits(given).into())
    }
}

impl TokenLock {
    pub(crate) fn new(tokens: Current<AdminTokens>) -> Self {
        Self(tokens)
    }

    /// One that stays as long as the process.
    pub fn fixed(token: String) -> Self {
        let (_, tokens) = watch::channel(Some(AdminTokens(vec![token])));
        Self(tokens)
    }
}

impl std::fmt::Debug for AdminTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminTokens(…)")
    }
}

/// The API on the port that clients use too.
pub fn local<B>(
    request: &Request<B>,
    peer: SocketAddr,
    lock: Option<&TokenLock>,
) -> Result<(), Refusal> {
    from_the_pod(request, peer)?;
    match lock {
        Some(lock) => bearer(request, lock),
        None => Ok(()),
    }
}

/// Whether a process of this pod asks, for itself.
pub fn from_the_pod<B>(request: &Request<B>, peer: SocketAddr) -> Result<(), Refusal> {
    if !trust::is_the_pod(peer.ip()) {
        // To a stranger the API does not exist.
        return Err(Refusal::new(StatusCode::NOT_FOUND, "not found"));
    }
    let forbidden = |message: &str| Err(Refusal::new(StatusCode::FORBIDDEN, message));
    if !is_local_host(request) {
        return forbidden(
            "this is for the pod's own processes only: Host must be localhost, 127.0.0.1 or [::1]",
        );
    }
    if request
        .headers()
        .keys()
        .any(|name| trust::tells_of_a_proxy(name.as_str()))
    {
        return forbidden(
            "this is for the pod's own processes only: the request came through a proxy",
        );
    }
    if request.headers().contains_key(header::ORIGIN) || is_a_browser(request.headers()) {
        return forbidden(
            "this is for the pod's own processes only: the request came from a web page",
        );
    }
    Ok(())
}

/// The API on its own port: whoever has the token.
pub fn bearer<B>(request: &Request<B>, lock: &TokenLock) -> Result<(), Refusal> {
    match &*lock.0.borrow() {
        Some(tokens) if tokens.fit(request.headers()) => Ok(()),
        Some(_) => Err(Refusal::new(
            StatusCode::UNAUTHORIZED,
            "expected Authorization: Bearer with the admin token",
        )),
        // Never open for want of a token.
        None => Err(Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the file of the admin token cannot be used; the gateway's log says why",
        )),
    }
}

fn is_local_host<B>(request: &Request<B>) -> bool {
    let from_uri = request.uri().host();
    let from_header = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let hosts = request.headers().get_all(header::HOST).iter().count();
    let local = |host: &str| {
        let host = without_port(host);
        let address = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let address = match address {
            Some(v6) => v6.parse().map(IpAddr::V6).ok(),
            None => host.parse().map(IpAddr::V4).ok(),
        };
        host.eq_ignore_ascii_case("localhost") || address.is_some_and(trust::is_the_pod)
    };
    hosts <= 1 && from_header.is_some_and(local) && from_uri.is_none_or(local)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            name
        }
        _ => host,
    }
}

/// Fetch metadata of a browser, which sends no `Origin` with a GET that a page causes. Node's
/// `fetch` sends `Sec-Fetch-Mode: cors` and is no browser.
fn is_a_browser(headers: &HeaderMap) -> bool {
    let has = |name| headers.contains_key(name);
    let mode = headers.get("sec-fetch-mode");
    has("sec-fetch-site")
        || has("sec-fetch-dest")
        || has("sec-fetch-user")
        || mode.is_some_and(|mode| mode != "cors")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: &str = "127.0.0.1:5000";

    fn status(peer: &str, headers: &[(&str, &str)], token: Option<&str>) -> u16 {
        let mut request = Request::builder().uri("/tapr/ws/conn/list");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let lock = token.map(|token| TokenLock::fixed(token.to_owned()));
        match local(
            &request.body(()).unwrap(),
            peer.parse().unwrap(),
            lock.as_ref(),
        ) {
            Ok(()) => 200,
            Err(refusal) => refusal.status.as_u16(),
        }
    }

    #[test]
    fn only_this_pod() {
        let host = ("host", "localhost:40010");
        assert_eq!(status(LOOPBACK, &[host], None), 200);
        assert_eq!(status("[::1]:5000", &[("host", "[::1]:40010")], None), 200);
        assert_eq!(
            status("[::ffff:127.0.0.1]:5000", &[("host", "127.0.0.1")], None),
            200
        );
        assert_eq!(status("10.1.2.3:5000", &[host], None), 404);
        assert_eq!(status("127.0.0.6:5000", &[host], None), 404);
        for own in [
            "Localhost",
            "LOCALHOST:1",
            "[0:0:0:0:0:0:0:1]:40010",
            "[::ffff:127.0.0.1]",
        ] {
            assert_eq!(status(LOOPBACK, &[("host", own)], None), 200, "{own}");
        }
        for foreign in ["127.0.1.1", "::1", "127.1", "localhost.", "[127.0.0.1]"] {
            assert_eq!(
                status(LOOPBACK, &[("host", foreign)], None),
                403,
                "{foreign}"
            );
        }
        assert_eq!(status(LOOPBACK, &[("host", "evil.example")], None), 403);
        assert_eq!(status(LOOPBACK, &[], None), 403);
        for proxy in [
            "forwarded",
            "via",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-real-ip",
            "x_forwarded_for",
            "cf-connecting-ip",
            "x-envoy-external-address",
            "true-client-ip",
            "x-client-ip",
            "x-original-forwarded-for",
        ] {
            assert_eq!(
                status(LOOPBACK, &[host, (proxy, "x")], None),
                403,
                "{proxy}"
            );
        }
    }

    #[test]
    fn no_browser() {
        let host = ("host", "localhost");
        for said in [
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "none"),
            ("sec-fetch-dest", "image"),
            ("sec-fetch-mode", "no-cors"),
        ] {
            assert_eq!(status(LOOPBACK, &[host, said], None), 403, "{said:?}");
        }
        let node = ("sec-fetch-mode", "cors");
        assert_eq!(status(LOOPBACK, &[host, node], None), 200);
    }

    #[test]
    fn with_a_token_it_is_asked_of_everyone() {
        let host = ("host", "localhost");
        assert_eq!(status(LOOPBACK, &[host], Some("secret")), 401);
        assert_eq!(
            status(
                LOOPBACK,
                &[host, ("authorization", "Bearer secret")],
                Some("secret")
            ),
            200
        );
        assert_eq!(
            status(
                LOOPBACK,
                &[host, ("authorization", "Bearer secre")],
                Some("secret")
            ),
            401
        );
        assert_eq!(
            status(
                LOOPBACK,
                &[host, ("authorization", "Basic secret")],
                Some("secret")
            ),
            401
        );
    }
}

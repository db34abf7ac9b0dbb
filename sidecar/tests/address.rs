//! Which address a client has, for the app that would limit by it.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use support::{App, Client, Gateway, Launch, Raw, http};
use tokio::io::AsyncWriteExt as _;

/// What the app hears of the client's address: in the open, and with each callback.
async fn heard(gateway: &Gateway, app: &mut App, sent: &[(&str, &str)]) -> Vec<String> {
    let mut client = Client::with(gateway, "/ws", sent).await;
    let open = app.next_of("open").await;
    let mut heard = vec![
        open.json()["request"]["address"]
            .as_str()
            .unwrap()
            .to_owned(),
    ];
    client.send("1").await;
    let message = app.next_of("message").await;
    client.close(1000, "").await;
    let close = app.next_of("close").await;
    for call in [open, message, close] {
        heard.push(call.header("x-real-ip").unwrap().to_owned());
    }
    heard
}

#[tokio::test]
async fn the_peers_where_no_proxy_is_trusted() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let forged = [("X-Forwarded-For", "6.6.6.6"), ("X-Real-IP", "6.6.6.6")];
    for sent in [&[][..], &forged] {
        assert_eq!(heard(&gateway, &mut app, sent).await, ["127.0.0.1"; 4]);
    }
}

#[tokio::test]
async fn the_last_that_a_trusted_proxy_names() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("identity.trustedProxies", "127.0.0.1/32,10.0.0.0/8")
        .start()
        .await;
    let named = [
        ("X-Forwarded-For", "6.6.6.6, 203.0.113.9"),
        ("X-Forwarded-For", "10.1.2.3"),
        ("X-Real-IP", "6.6.6.6"),
    ];
    assert_eq!(heard(&gateway, &mut app, &named).await, ["203.0.113.9"; 4]);
    // Nothing tells whether it is the proxy's, or its client's own.
    let named = [("Forwarded", "for=203.0.113.9")];
    assert_eq!(heard(&gateway, &mut app, &named).await, ["127.0.0.1"; 4]);
    let named = [("X-Forwarded-For", "2001:db8::9")];
    assert_eq!(heard(&gateway, &mut app, &named).await, ["2001:db8::9"; 4]);
}

#[tokio::test]
async fn the_hook_is_told_too() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app).set("auth", "/auth").start().await;
    let forged = [("X-Real-IP", "6.6.6.6")];
    let _client = Client::with(&gateway, "/ws", &forged).await;
    let asked = app.next().await;
    let said: Vec<_> = asked
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("x-real-ip"))
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(said, ["127.0.0.1"]);
}

/// As nginx does by `$proxy_add_x_forwarded_for`.
#[tokio::test]
async fn an_apps_page_is_told_through_whom_it_is_asked_for() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .arg("--upstream-port", &app.port().to_string())
        .arg("--pod-ip", "127.0.0.1")
        .start()
        .await;
    let before = ("X-Forwarded-For", "198.51.100.1");
    let more = ("X-Forwarded-For", "10.0.0.1");
    for (sent, expected) in [
        (&[][..], "127.0.0.1"),
        (&[before], "198.51.100.1, 127.0.0.1"),
        (&[before, more], "198.51.100.1, 10.0.0.1, 127.0.0.1"),
    ] {
        http::call(gateway.clients, "GET", "/page", sent, b"").await;
        assert_eq!(app.next().await.header("x-forwarded-for"), Some(expected));
    }
}

const V1: &[u8] = b"PROXY TCP4 203.0.113.9 198.51.100.1 56324 443\r\n";

/// A client behind a load balancer that speaks the PROXY protocol.
async fn behind_a_balancer(gateway: &Gateway, header: &[u8]) -> Raw {
    let mut raw = Raw::dial(gateway.clients).await;
    raw.stream.write_all(header).await.unwrap();
    raw
}

/// The balancer passes bytes on: what they say of a user is the client's own word.
#[tokio::test]
async fn a_proxy_protocol_header_names_the_peer() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("identity.trustedProxies", "127.0.0.1")
        .set("identity.proxyProtocol", "true")
        .start()
        .await;
    let v2 = [
        &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C"[..],
        &[203, 0, 113, 9, 198, 51, 100, 1, 1, 0, 1, 187],
    ]
    .concat();
    let forged = [("X-BFL-USER", "admin"), ("X-Forwarded-For", "6.6.6.6")];
    let mut clients = Vec::new();
    for header in [V1, &v2] {
        let mut raw = behind_a_balancer(&gateway, header).await;
        raw.upgrade(&forged).await;
        let open = app.next_of("open").await;
        assert_eq!(open.json()["request"]["address"], "203.0.113.9");
        assert_eq!(open.field("user_name"), "");
        clients.push(raw);
    }
    // What it asks on its own is nobody's, and nobody's calls are the app's.
    let nobodys: [&[u8]; 3] = [
        b"PROXY UNKNOWN\r\n",
        b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n",
        b"PROXY TCP6 ::1 ::1 1 2\r\n",
    ];
    let list = b"GET /tapr/ws/conn/list HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for header in nobodys {
        let mut raw = behind_a_balancer(&gateway, header).await;
        raw.stream.write_all(list).await.unwrap();
        let said = String::from_utf8(raw.rest().await).unwrap();
        assert!(said.starts_with("HTTP/1.1 404"), "{said}");
    }
    // A trusted peer that begins without a header is who it is.
    assert_eq!(gateway.open_connections().await, 2);
}

#[tokio::test]
async fn a_proxy_protocol_header_of_others_is_refused() {
    let app = App::start().await;
    let trusted = [("10.0.0.0/8", "true"), ("127.0.0.1", "false")];
    for (proxies, taken) in trusted {
        let gateway = Launch::for_app(&app)
            .set("identity.trustedProxies", proxies)
            .set("identity.proxyProtocol", taken)
            .start()
            .await;
        let mut raw = behind_a_balancer(&gateway, V1).await;
        raw.stream
            .write_all(b"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        let said = String::from_utf8(raw.rest().await).unwrap();
        assert!(said.starts_with("HTTP/1.1 400"), "{said}");
    }
}

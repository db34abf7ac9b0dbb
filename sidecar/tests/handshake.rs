//! The upgrade as clients of all kinds ask for it.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use support::{Answer, App, Client, Gateway, Launch, Raw, http};

/// Small clients look for the names as the RFC writes them.
#[tokio::test]
async fn the_101_spells_its_headers_as_the_rfc() {
    let app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let mut raw = Raw::dial(gateway.clients).await;
    let headers = http::upgrade_headers(&[("Sec-WebSocket-Protocol", "a, b")]);
    raw.send(&http::request("GET", "/ws", &headers, b"")).await;
    let answer = raw.response().await;
    assert_eq!(answer.status, 101);
    for (name, value) in [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("Sec-WebSocket-Protocol", "a"),
    ] {
        let found = answer.headers.iter().find(|(found, _)| found == name);
        assert_eq!(
            found.map(|(_, value)| value.as_str()),
            Some(value),
            "{answer:?}"
        );
    }
    app.until_calls("open", 1).await;
}

/// The first is in RFC 6455 §4.1, the second in an example that people copy.
#[tokio::test]
async fn any_visible_key_is_answered() {
    let app = App::start().await;
    let gateway = Gateway::start(&app).await;
    for key in ["AQIDBAUGBwgJCgsMDQ4PEC==", "SGVsbG8sIHdvcmxkIQ==", "x"] {
        let answer = http::upgrade(gateway.clients, "/ws", &[("Sec-WebSocket-Key", key)]).await;
        assert_eq!(answer.status, 101, "{key}");
    }
    for key in ["", "a b", &"x".repeat(65)] {
        let answer = http::upgrade(gateway.clients, "/ws", &[("Sec-WebSocket-Key", key)]).await;
        assert_eq!(answer.status, 400, "{key}");
    }
}

#[tokio::test]
async fn a_slash_more_is_the_same_path() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let _client = Client::with(&gateway, "/ws/?a=b", &[]).await;
    assert_eq!(app.next_of("open").await.json()["request"]["query"], "a=b");
    for other in ["/ws//", "/w", "/ws/x"] {
        let answer = http::upgrade(gateway.clients, other, &[]).await;
        assert_eq!(answer.status, 404, "{other}");
    }
}

#[tokio::test]
async fn the_hooks_subprotocol_counts_only_where_it_was_offered() {
    let app = App::start().await;
    app.answer(|_| Answer::ok().with_header("Sec-WebSocket-Protocol", "b"));
    let gateway = Launch::for_app(&app).set("auth", "/auth").start().await;
    for (offered, chosen) in [("a, b", Some("b")), ("a", Some("a")), ("", None)] {
        let headers = [("Sec-WebSocket-Protocol", offered)];
        let headers = if offered.is_empty() {
            &[]
        } else {
            &headers[..]
        };
        let client = Client::with(&gateway, "/ws", headers).await;
        assert_eq!(client.header("sec-websocket-protocol"), chosen, "{offered}");
    }
}

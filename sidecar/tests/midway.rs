//! README's table for those who come from Midway, row by row: the same conversation with the real
//! `@midwayjs/ws`, and with the gateway in front of a Midway app that has callbacks instead.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::net::SocketAddr;

use serde_json::json;
use support::{Client, Gateway, Launch, Midway, Raw, eventually, free_port, http, soon};
use tokio::process::Command;

const APP: &str = "sidecar/tests/midway/rows";

/// `path: /`, as Midway's own client asks for it.
fn launch(midway: &Midway) -> Launch {
    Launch::for_port(midway.address.port()).set("path", "/")
}

/// Started, and the app told where it is.
async fn start(midway: &Midway, launch: Launch) -> Gateway {
    let gateway = launch.start().await;
    let path = format!("/ws/gateway?port={}", gateway.clients.port());
    let told = http::call(midway.address, "POST", &path, &[], b"").await;
    assert!((200..300).contains(&told.status), "{told:?}");
    gateway
}

/// What is the same on both sides.
async fn converse(with: SocketAddr) {
    let mut ann = Client::to(with, "/?name=ann", &[]).await;
    assert_eq!(ann.json().await, json!({"hi": "ann"}), "{with}");
    let mut bob = Client::to(with, "/?name=bob", &[]).await;
    assert_eq!(bob.json().await, json!({"hi": "bob"}));
    for (said, answer) in [
        ("1", r#"{"name":"harry","result":6}"#),
        ("text", "plain text"),
        ("me", "to you"),
        ("count", r#"{"heard":1}"#),
        ("count", r#"{"heard":2}"#),
        ("size", r#"{"size":2}"#),
    ] {
        ann.send(said).await;
        assert_eq!(ann.text().await, answer, "{said}");
    }
    bob.send("count").await;
    assert_eq!(bob.text().await, r#"{"heard":1}"#);
    ann.send("bytes").await;
    assert_eq!(ann.binary().await, [0, 255]);
    for (said, heard) in [("all", "something"), ("shout", r#"{"shout":true}"#)] {
        ann.send(said).await;
        assert_eq!(ann.text().await, heard, "the sender too");
        assert_eq!(bob.text().await, heard, "{said}");
    }
    ann.send("bye").await;
    assert_eq!(ann.closed().await, (4001, "bye".to_owned()));
    assert_eq!(bob.json().await, json!({"left": 4001}));
}

#[tokio::test]
async fn handlers_and_what_they_return() {
    let midway = Midway::start(APP, &[]).await;
    let gateway = start(&midway, launch(&midway)).await;
    converse(midway.address).await;
    converse(gateway.clients).await;
    let emptied = async || {
        let heard = http::get(midway.address, "/ws/heard").await.json();
        (heard["heard"] == 0).then_some(())
    };
    eventually("the app's own map to be empty", emptied).await;

    // One after the other, where Midway's are side by side.
    for (with, order) in [
        (midway.address, ["quick", "slow"]),
        (gateway.clients, ["slow", "quick"]),
    ] {
        let mut client = Client::to(with, "/?name=ann", &[]).await;
        client.text().await;
        client.send("slow").await;
        client.send("quick").await;
        assert_eq!([client.text().await, client.text().await], order);
    }
}

/// koa says `application/json` of whatever object is returned, whoever said what before.
#[tokio::test]
async fn only_the_decorator_makes_an_answer_act() {
    let midway = Midway::start(APP, &[]).await;
    for path in ["/ws/set", "/ws/type"] {
        let gateway = Launch::new()
            .arg("--port", &midway.address.port().to_string())
            .arg("--url", path)
            .start()
            .await;
        let mut client = Client::connect(&gateway).await;
        client.send("1").await;
        let answered = async || {
            let name = r#"ws_gateway_callbacks_total{action="message",result="ok"}"#;
            (gateway.metric(name).await == 1).then_some(())
        };
        eventually("the answer", answered).await;
        client.has_heard_nothing().await;
        let log = gateway.log();
        assert!(log.contains("application/vnd.olares.ws+json"), "{log}");
    }
}

#[tokio::test]
async fn who_is_let_in_and_where() {
    let midway = Midway::start(APP, &[]).await;
    let guarded = start(&midway, launch(&midway).set("auth", "/ws/auth")).await;
    let as_it_is = start(&midway, launch(&midway).set("auth", "/ws/asis")).await;
    let headers = http::upgrade_headers(&[]);
    let cut = http::try_call(midway.address, "GET", "/?token=wrong", &headers, b"").await;
    assert!(cut.is_err(), "Midway cuts the connection: {cut:?}");
    for gateway in [&guarded, &as_it_is] {
        let refused = http::upgrade(gateway.clients, "/?token=wrong", &[]).await;
        assert_eq!(refused.status, 403);
        let let_in = http::upgrade(gateway.clients, "/?token=right", &[]).await;
        assert_eq!(let_in.status, 101);
    }
    assert!(!guarded.log().contains("answered `false`"));
    assert!(as_it_is.log().contains("answered `false`"));

    let any = http::upgrade(midway.address, "/any/path", &[]).await;
    assert_eq!(any.status, 101, "Midway has them on any path");
    let one = http::upgrade(guarded.clients, "/any/path", &[]).await;
    assert_eq!(one.status, 404);
}

#[tokio::test]
async fn pings_of_ones_own_and_large_messages() {
    let midway = Midway::start(APP, &[]).await;
    let ours = start(&midway, launch(&midway)).await;
    let left_alone = launch(&midway).set("heartbeat.jsonPing", "false");
    let left_alone = start(&midway, left_alone).await;
    for (with, answer) in [
        (midway.address, json!({"got": "ping"})),
        (ours.clients, json!({"event": "pong"})),
        (left_alone.clients, json!({"got": "ping"})),
    ] {
        let mut client = Client::to(with, "/?name=ann", &[]).await;
        client.text().await;
        client.send(r#"{"event":"ping"}"#).await;
        assert_eq!(client.json().await, answer, "{with}");
    }
    let large = "x".repeat(2 << 20);
    let mut client = Client::to(midway.address, "/?name=ann", &[]).await;
    client.text().await;
    client.send(&large).await;
    assert_eq!(client.json().await, json!({"length": 2 << 20}));
    let mut client = Client::to(ours.clients, "/?name=ann", &[]).await;
    client.text().await;
    client.send(&large).await;
    assert_eq!(client.close_code().await, 1009);
}

/// Pages and sockets on the app's one port, or sockets on a port of their own.
#[tokio::test]
async fn beside_koa_and_on_a_port_of_its_own() {
    let midway = Midway::start(APP, &[]).await;
    let port = midway.address.port().to_string();
    let entrance = launch(&midway)
        .arg("--upstream-port", &port)
        .arg("--pod-ip", "127.0.0.1");
    let entrance = start(&midway, entrance).await;
    for with in [midway.address, entrance.clients] {
        assert_eq!(http::get(with, "/page").await.text(), "a page of the app");
        converse(with).await;
    }
    let own = free_port();
    let apart = Midway::start(APP, &["60000", &own.to_string()]).await;
    assert_ne!(apart.address.port(), own);
    let mut client = Client::to(([127, 0, 0, 1], own).into(), "/?name=ann", &[]).await;
    assert_eq!(client.json().await, json!({"hi": "ann"}));
}

/// Who answers no ping is gone after the next; Midway cuts, the gateway says 4408.
#[tokio::test]
async fn a_heartbeat_of_the_servers() {
    let midway = Midway::start(APP, &["600"]).await;
    let gateway = launch(&midway)
        .set("limits.close", "500ms")
        .set("heartbeat.serverPing", "true")
        .set("heartbeat.interval", "600ms");
    let gateway = start(&midway, gateway).await;
    let upgrade = http::request("GET", "/?name=ann", &http::upgrade_headers(&[]), b"");
    for (with, code) in [(midway.address, 1006), (gateway.clients, 4408)] {
        let mut answers = Client::to(with, "/?name=bob", &[]).await;
        answers.text().await;
        let mut deaf = Raw::dial(with).await;
        deaf.send(&upgrade).await;
        assert_eq!(deaf.response().await.status, 101);
        // Reading answers pings.
        assert_eq!(answers.json().await, json!({"left": code}));
        answers.send("1").await;
        assert_eq!(answers.json().await, json!({"name": "harry", "result": 6}));
    }
    let expired = r#"ws_gateway_connections_closed_total{reason="ping_timeout"}"#;
    assert_eq!(gateway.metric(expired).await, 1);
}

/// `createWebSocketClient` of `@midwayjs/mock`.
#[tokio::test]
async fn the_pages_test_client() {
    let midway = Midway::start(APP, &[]).await;
    let gateway = start(&midway, launch(&midway)).await;
    for with in [midway.address, gateway.clients] {
        let url = format!("ws://localhost:{}", with.port());
        let client = Command::new("node")
            .args(["client.js", &url])
            .current_dir(&midway.folder)
            .kill_on_drop(true)
            .output();
        let output = soon("the client's end", client).await.unwrap();
        let (said, error) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert_eq!(said.trim(), r#"{"name":"harry","result":6}"#, "{error}");
    }
}

//! What apps of other WebSocket servers become, with the real thing behind the gateway.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::process::Stdio;

use serde_json::json;
use support::{Answer, App, Client, Launch, Midway, http};
use tokio::process::Command;

/// docs/examples/midway: the page's calculator, and its `onWebSocketUpgrade`.
#[tokio::test]
async fn the_midway_controller_does_what_midways_websockets_do() {
    let midway = Midway::start("docs/examples/midway", &[]).await;
    let gateway = Launch::for_port(midway.address.port())
        .set("path", "/")
        .set("auth", "/ws/auth")
        .start()
        .await;
    let refused = http::upgrade(gateway.clients, "/?token=wrong", &[]).await;
    assert_eq!(refused.status, 403);
    let mut client = Client::with(&gateway, "/?token=valid-token", &[]).await;
    client.send("1").await;
    assert_eq!(client.json().await, json!({"name": "harry", "result": 6}));
}

/// BigClown's `wss://name:password@server`: a browser says the name once it is asked for it.
#[tokio::test]
async fn a_browser_logs_in_by_name_and_password_after_a_challenge() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("auth", "/ws/auth")
        .set("identity.basic", "true")
        .set("origins", "http://127.0.0.1:*")
        .start()
        .await;
    let script = format!(
        "<script>new WebSocket('ws://clown:secret@{}/ws')</script>",
        gateway.clients
    );
    app.answer(move |call| {
        let challenge =
            || Answer::status(401).with_header("WWW-Authenticate", r#"Basic realm="clown""#);
        match (call.path.as_str(), call.header("authorization")) {
            ("/", _) => Answer::status(200)
                .with_header("Content-Type", "text/html")
                .with_body(&script),
            ("/ws/auth", Some("Basic Y2xvd246c2VjcmV0")) => Answer::ok(),
            ("/ws/auth", _) => challenge(),
            _ => Answer::ok(),
        }
    });
    let profile = tempfile::tempdir().unwrap();
    let _browser = Command::new("chromium")
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--no-first-run",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg("--remote-debugging-port=0")
        .arg(format!("http://127.0.0.1:{}/", app.port()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("chromium cannot be started, install it: {error}"));
    let named = async {
        loop {
            let call = app.next().await;
            if call.method == "POST" {
                return call;
            }
        }
    };
    assert_eq!(named.await.field("user_name"), "clown");
}

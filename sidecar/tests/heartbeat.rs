//! When a silent client counts as gone, in every mode.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use serde_json::json;
use support::{Answer, App, Client, Gate, Launch, Raw, raw};

const OFTEN: Duration = Duration::from_millis(100);

/// Sends `bytes` often, for so long, and reads nothing.
async fn keep_sending(raw: &mut Raw, bytes: &[u8], span: Duration) {
    let started = Instant::now();
    while started.elapsed() < span {
        raw.send_what_goes(bytes).await;
        tokio::time::sleep(OFTEN).await;
    }
}

#[tokio::test]
async fn a_silent_client_is_closed_with_4408() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("heartbeat.timeout", "500ms")
        .start()
        .await;
    let started = Instant::now();
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    assert_eq!(client.closed().await, (4408, "ping timeout".to_owned()));
    assert!(started.elapsed() >= Duration::from_millis(500));
    let close = app.next_of("close").await.json();
    assert_eq!(
        (&close["code"], &close["reason"]),
        (&json!(4408), &json!("ping timeout"))
    );
    assert_eq!(gateway.open_connections().await, 0);
}

#[tokio::test]
async fn any_frame_is_life() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("heartbeat.timeout", "2s")
        .start()
        .await;
    let frames = [
        raw::frame(raw::TEXT, b"1"),
        raw::frame(raw::BINARY, b""),
        raw::frame(raw::PING, b""),
        raw::frame(raw::PONG, b""),
    ];
    let mut clients = Vec::new();
    for _ in &frames {
        clients.push(Raw::open(&gateway).await);
        app.next_of("open").await;
    }
    let sending = clients
        .iter_mut()
        .zip(&frames)
        .map(|(raw, bytes)| keep_sending(raw, bytes, Duration::from_millis(2500)));
    futures_util::future::join_all(sending).await;
    assert!(app.calls_of("close").is_empty());
}

#[tokio::test]
async fn in_strict_mode_only_pings_are_life() {
    let mut app = App::start().await;
    let launch = Launch::for_app(&app)
        .set("heartbeat.timeout", "1s")
        .set("heartbeat.strict", "true");
    let gateway = launch.start().await;
    let mut raw = Raw::open(&gateway).await;
    app.next_of("open").await;
    let (message, ping) = (raw::frame(raw::TEXT, b"1"), raw::frame(raw::PING, b""));
    let sending =
        async { keep_sending(&mut raw, &[message, ping].concat(), Duration::from_secs(20)).await };
    let closed = app.until_calls("close", 1);
    let closed = tokio::select! {
        () = sending => panic!("messages kept it alive"),
        closed = closed => closed,
    };
    assert_eq!(closed[0].json()["code"], 4408);

    let mut raw = Raw::open(&gateway).await;
    let ping = raw::frame(raw::TEXT, br#"{"event":"ping"}"#);
    keep_sending(&mut raw, &ping, Duration::from_millis(1500)).await;
    assert_eq!(app.calls_of("close").len(), 1);
}

#[tokio::test]
async fn server_pings_cut_off_who_does_not_answer() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("heartbeat.timeout", "0")
        .set("heartbeat.serverPing", "true")
        .set("heartbeat.interval", "600ms")
        .start()
        .await;
    let mut raw = Raw::open(&gateway).await;
    app.next_of("open").await;
    assert_eq!(raw.frame().await.unwrap(), (raw::PING, Vec::new()));
    let asked = Instant::now();
    assert_eq!(raw.close_code().await, Some(4408));
    assert!(asked.elapsed() >= Duration::from_millis(300));
    assert_eq!(app.next_of("close").await.json()["code"], 4408);
}

#[tokio::test]
async fn server_pings_keep_who_answers() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("heartbeat.timeout", "0")
        .set("heartbeat.serverPing", "true")
        .set("heartbeat.interval", "700ms")
        .start()
        .await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    for _ in 0..4 {
        // Reading answers the ping.
        let ping = support::soon("a ping", client.socket.next())
            .await
            .unwrap()
            .unwrap();
        assert!(ping.is_ping(), "{ping:?}");
    }
    client.settle().await;
    assert!(app.calls_of("close").is_empty());
}

/// BigClown's clients never ping.
#[tokio::test]
async fn without_a_timeout_silence_is_fine() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("heartbeat.timeout", "0")
        .start()
        .await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    client.settle().await;
    assert!(app.calls_of("close").is_empty());
}

/// The app is slow, not the client: its pings wait unread behind its messages.
#[tokio::test]
async fn a_client_whose_app_is_slow_does_not_expire() {
    let mut app = App::start().await;
    let gate = Gate::closed();
    app.answer_messages(Answer::ok().once_open(&gate));
    let gateway = Launch::for_app(&app)
        .set("heartbeat.timeout", "500ms")
        .set("callback.queue", "2")
        .start()
        .await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    for n in 0..10 {
        client.send(&n.to_string()).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    gate.open();
    for n in 0..10 {
        assert_eq!(app.next_of("message").await.json()["data"], n);
    }
    assert_eq!(
        client.close_code().await,
        4408,
        "with nothing more to wait for, silence counts again"
    );
}

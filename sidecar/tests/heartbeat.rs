//! When a silent client counts as gone, in every mode.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

mod heartbeat {
    mod hidden_tabs;
}

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use serde_json::json;
use support::{Answer, App, Client, Gate, Gateway, Launch, Raw, raw};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

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

/// Apps that have an `{"event":"ping"}` of their own.
#[tokio::test]
async fn an_apps_own_ping_can_be_left_alone() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("heartbeat.jsonPing", "false")
        .set("types", "[{type: ping, url: /on/ping}]")
        .start()
        .await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    client.send(r#"{"event":"ping","data":7}"#).await;
    for path in ["/ws/message", "/on/ping"] {
        let call = app.next_of("message").await;
        assert_eq!(
            (call.path.as_str(), &call.json()["data"]["data"]),
            (path, &json!(7))
        );
    }
    // The gateway says nothing in the app's place: what comes next is the app's.
    app.answer_messages(Answer::action(&json!({"reply": "the app's"})));
    client.send(r#"{"event":"ping"}"#).await;
    assert_eq!(client.json().await, "the app's");
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

/// The app is slow, not the client: beyond what is read ahead its pings wait unread.
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
    let width = 40_000;
    for n in 0..10 {
        client.send(&format!("{n:<width$}")).await;
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

/// A client's own keep-alive must not fail because the app is slow.
#[tokio::test]
async fn a_ping_is_answered_while_the_app_is_behind() {
    let mut app = App::start().await;
    let gate = Gate::closed();
    app.answer_messages(Answer::ok().once_open(&gate));
    let gateway = Launch::for_app(&app).start().await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    for n in 0..40 {
        client.send(&n.to_string()).await;
    }
    client.ping(b"still there?").await;
    let pong = client.next().await;
    assert!(pong.is_pong(), "{pong:?}");
    client.settle().await;
    assert_eq!(app.calls_of("message").len(), 1);
    gate.open();
    for n in 0..40 {
        assert_eq!(app.next_of("message").await.json()["data"], n);
    }
}

/// Sends so much to one client that most of it waits in the gateway.
async fn fill(gateway: &Gateway, id: &str, pieces: usize) {
    for _ in 0..pieces {
        let message = json!({"payload": "x".repeat(20_000), "conn_id": id});
        assert_eq!(gateway.send(&message).await["queued"], 1);
    }
}

/// Reads on at about 1 MB/s for so long, or to the end.
async fn read_slowly(raw: &mut Raw, span: Duration, frames: &[u8]) -> usize {
    let (started, mut read, mut last) = (Instant::now(), 0, Instant::now());
    let mut buffer = vec![0; 20_000];
    while started.elapsed() < span {
        if last.elapsed() >= OFTEN {
            raw.send_what_goes(frames).await;
            last = Instant::now();
        }
        match raw.stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(count) => read += count,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    read
}

/// It says that it is there, and takes nothing of what waits for it.
#[tokio::test]
async fn a_client_that_takes_nothing_is_ended() {
    for timeout in ["1s", "0"] {
        let mut app = App::start().await;
        app.answer_messages(Answer::action(&json!({"reply": "x".repeat(8000)})));
        let gateway = Launch::for_app(&app)
            .set("heartbeat.timeout", timeout)
            .set("limits.slow", "1s")
            .start()
            .await;
        let mut raw = Raw::open_narrow(&gateway, &[]).await;
        app.next_of("open").await;
        // More than is read ahead: first it is the app that is behind, then the client.
        let message = json!("x".repeat(1000)).to_string();
        raw.send(&raw::frame(raw::TEXT, message.as_bytes()).repeat(150))
            .await;
        let ping = raw::frame(raw::PING, b"");
        if timeout == "0" {
            // Without a deadline for silence more than limits.outbox ends it.
            let id = app.calls_of("open")[0].conn_id().to_owned();
            fill(&gateway, &id, 30).await;
        }
        let pinging = keep_sending(&mut raw, &ping, Duration::from_mins(1));
        let closed = tokio::select! {
            () = pinging => panic!("pings kept it"),
            closed = app.until_calls("close", 1) => closed,
        };
        let code = if timeout == "0" { 1013 } else { 4408 };
        assert_eq!(closed[0].json()["code"], code);
    }
}

/// A slow line: its pings are in time, and it takes what it is sent.
#[tokio::test]
async fn a_slow_download_is_life() {
    for pings in ["false", "true"] {
        let mut app = App::start().await;
        let mut launch = Launch::for_app(&app)
            .set("heartbeat.timeout", "1s")
            .set("limits.outbox", "16Mi");
        if pings == "true" {
            launch = launch
                .set("heartbeat.serverPing", pings)
                .set("heartbeat.interval", "700ms");
        }
        let gateway = launch.start().await;
        let mut raw = Raw::open_narrow(&gateway, &[]).await;
        let id = app.next_of("open").await.conn_id().to_owned();
        fill(&gateway, &id, 200).await;
        let ping = raw::frame(raw::TEXT, br#"{"event":"ping"}"#);
        let said: &[u8] = if pings == "true" { b"" } else { &ping };
        let read = read_slowly(&mut raw, Duration::from_millis(3500), said).await;
        assert!(read < 3_600_000, "the download was over before: {read}");
        assert!(app.calls_of("close").is_empty(), "after {read} bytes");
    }
}

/// What it says while it downloads reaches the app at once, its close as well.
#[tokio::test]
async fn a_client_is_heard_while_it_downloads() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app).set("limits.slow", "1m").start().await;
    let mut raw = Raw::open_narrow(&gateway, &[]).await;
    let id = app.next_of("open").await.conn_id().to_owned();
    fill(&gateway, &id, 40).await;
    raw.send(&raw::frame(raw::TEXT, br#"{"event":"cancel"}"#))
        .await;
    assert_eq!(
        app.next_of("message").await.json()["data"]["event"],
        "cancel"
    );
    raw.send(&raw::frame(raw::CLOSE, &raw::close_body(1000, b"")))
        .await;
    assert_eq!(app.next_of("close").await.json()["code"], 1000);
}

/// Pings that come while much waits are answered by the last one's pong, ahead of the rest.
#[tokio::test]
async fn pongs_overtake_what_waits() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app).set("limits.slow", "1m").start().await;
    let mut raw = Raw::open_narrow(&gateway, &[]).await;
    let id = app.next_of("open").await.conn_id().to_owned();
    let pieces = 60;
    fill(&gateway, &id, pieces).await;
    for n in 0..10_u8 {
        raw.send(&raw::frame(raw::PING, &[n])).await;
    }
    // It has been read once what came behind it is with the app.
    raw.send(&raw::frame(raw::TEXT, b"1")).await;
    app.next_of("message").await;
    let (mut data, mut pongs) = (0, Vec::new());
    while pongs.last() != Some(&vec![9]) {
        match raw.frame().await.unwrap() {
            (raw::PONG, payload) => pongs.push(payload),
            _ => data += 1,
        }
    }
    assert!(data < pieces, "behind all {data}");
    assert!(pongs.len() < 10, "{pongs:?}");
}

/// Whoever goes on taking what it was sent gets all of it before the close.
#[tokio::test]
async fn a_close_waits_as_long_as_it_goes_on() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("limits.close", "500ms")
        .set("limits.outbox", "16Mi")
        .start()
        .await;
    let mut raw = Raw::open_narrow(&gateway, &[]).await;
    let id = app.next_of("open").await.conn_id().to_owned();
    let pieces = 100;
    fill(&gateway, &id, pieces).await;
    gateway
        .close(&json!({"conns": [id], "code": 4000, "reason": "bye"}))
        .await;
    let mut data = 0;
    let code = loop {
        match raw.frame().await.expect("a close frame") {
            (raw::CLOSE, body) => break u16::from_be_bytes([body[0], body[1]]),
            _ => data += 1,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!((code, data), (4000, pieces));

    // Who takes nothing is cut off all the same.
    let mut deaf = Raw::open_narrow(&gateway, &[]).await;
    let id = app.until_calls("open", 2).await[1].conn_id().to_owned();
    fill(&gateway, &id, pieces).await;
    gateway.close(&json!({"conns": [id], "code": 4000})).await;
    app.until_calls("close", 2).await;
    let started = Instant::now();
    let cut = async || {
        let ping = raw::frame(raw::PING, b"");
        deaf.stream.write_all(&ping).await.err()
    };
    support::eventually("it to be cut off", cut).await;
    assert!(started.elapsed() < Duration::from_secs(10));
}

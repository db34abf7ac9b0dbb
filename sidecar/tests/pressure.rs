//! When all that may be buffered is: whoever holds most goes, and nobody else notices.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use support::{Answer, App, Client, Gate, Gateway, Launch, Raw, eventually, http, raw};

const MIB: u64 = 1 << 10;
const BYSTANDERS: usize = 50;

async fn bystanders(gateway: &Gateway) -> Vec<Client> {
    join_all((0..BYSTANDERS).map(async |_| Client::user(gateway, "bystander").await)).await
}

/// Everybody gets what is sent to everybody, what they say reaches the app, and newcomers get in.
async fn all_is_well(gateway: &Gateway, app: &App, clients: &mut [Client]) {
    let message = json!({"users": ["bystander"], "payload": "x".repeat(1000)});
    let sent = gateway.send(&message).await;
    assert_eq!(
        (&sent["matched"], &sent["queued"], &sent["dropped"]),
        (&json!(BYSTANDERS), &json!(BYSTANDERS), &json!(0))
    );
    let heard = messages_of(app, "bystander") + BYSTANDERS;
    for client in clients {
        assert_eq!(client.text().await.len(), 1002);
        client.send("\"I am here\"").await;
        client.settle().await;
    }
    let said = async || (messages_of(app, "bystander") >= heard).then_some(());
    eventually("the app to hear them", said).await;
    for _ in 0..20 {
        let mut newcomer = Client::user(gateway, "newcomer").await;
        newcomer.send("1").await;
        newcomer.settle().await;
        newcomer.close(1000, "").await;
    }
}

fn messages_of(app: &App, user: &str) -> usize {
    let calls = app.calls_of("message");
    let of_user = calls.iter().filter(|call| call.field("user_name") == user);
    of_user.count()
}

/// How many of the user's connections were closed, and with which codes.
fn closes_of(app: &App, user: &str) -> Vec<u64> {
    let calls = app.calls_of("close");
    let of_user = calls.iter().filter(|call| call.field("user_name") == user);
    of_user
        .map(|call| call.json()["code"].as_u64().unwrap())
        .collect()
}

async fn buffered(gateway: &Gateway) -> u64 {
    gateway.metric("ws_gateway_buffered_bytes").await
}

/// So many ask to be let in; how many are not.
async fn knock(gateway: &Gateway, count: usize, headers: &[(&str, &str)]) -> (Vec<Raw>, usize) {
    let (mut strangers, mut refused) = (Vec::new(), 0);
    let request = http::request("GET", "/ws", &http::upgrade_headers(headers), b"");
    for _ in 0..count {
        let mut raw = Raw::dial(gateway.clients).await;
        raw.send(&request).await;
        refused += usize::from(raw.response().await.status == 503);
        strangers.push(raw);
    }
    (strangers, refused)
}

/// 72 MB in messages that never end, where 64 MiB may wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_messages_cost_their_senders_and_nobody_else() {
    let app = App::start().await;
    let gateway = Launch::for_app(&app).start().await;
    let mut clients = bystanders(&gateway).await;
    let before = gateway.memory("VmRSS");
    let mut strangers = Vec::new();
    let half = vec![b'x'; 1_000_000];
    for _ in 0..72 {
        let mut stranger = Raw::open_with(&gateway, &[("X-BFL-USER", "stranger")]).await;
        stranger
            .send_what_goes(&raw::piece(false, raw::BINARY, &half))
            .await;
        strangers.push(stranger);
    }
    let closed = async || (closes_of(&app, "stranger").len() > 20).then_some(());
    eventually("the largest to be closed", closed).await;
    all_is_well(&gateway, &app, &mut clients).await;

    let codes = closes_of(&app, "stranger");
    assert!(codes.iter().all(|code| *code == 1013), "{codes:?}");
    assert!(codes.len() < 40, "no more than it takes: {}", codes.len());
    assert_eq!(closes_of(&app, "bystander"), [0; 0]);
    // A quarter is kept for what goes out.
    assert!(buffered(&gateway).await <= 48 << 20);
    let grown = gateway.memory("VmHWM").saturating_sub(before);
    eprintln!("72 half messages: memory grew {} MiB", grown / MIB);
    assert!(grown < 100 * MIB, "{grown} KiB");
    let overloaded = r#"ws_gateway_connections_closed_total{reason="overloaded"}"#;
    assert_eq!(gateway.metric(overloaded).await, codes.len() as u64);
    let log = gateway.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("1013")).collect();
    assert!(lines.len() < 4, "{lines:?}");
    assert!(lines[0].contains("limits.buffered"), "{lines:?}");
}

/// Idle clients whose cookies are large: what is kept of a client is counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_headers_of_idle_clients_are_counted() {
    let app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("limits.buffered", "8Mi")
        .start()
        .await;
    let mut clients = bystanders(&gateway).await;
    let before = gateway.memory("VmRSS");
    let cookie = format!("auth_token={}", "x".repeat(12_000));
    let headers = [("X-BFL-USER", "stranger"), ("Cookie", cookie.as_str())];
    let (strangers, refused) = knock(&gateway, 1500, &headers).await;
    let closed = async || (closes_of(&app, "stranger").len() + refused > 900).then_some(());
    eventually("the largest to be closed", closed).await;
    all_is_well(&gateway, &app, &mut clients).await;
    assert_eq!(closes_of(&app, "bystander"), [0; 0]);
    let kept = buffered(&gateway).await;
    assert!((4 << 20..=6 << 20).contains(&kept), "{kept} bytes");
    let grown = gateway.memory("VmHWM").saturating_sub(before);
    eprintln!(
        "1,500 cookies of 12 kB, {refused} refused: memory grew {} MiB",
        grown / MIB
    );
    assert!(grown < 32 * MIB, "{grown} KiB");
    drop(strangers);
}

/// The app hangs, and each open waits with all of its headers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opens_that_wait_for_the_app_are_counted() {
    let app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("limits.buffered", "8Mi")
        .start()
        .await;
    let gate = Gate::closed();
    app.answer_opens(Answer::ok().once_open(&gate));
    let before = gateway.memory("VmRSS");
    let (cookie, other) = ("a=".to_owned() + &"x".repeat(6000), "y".repeat(6000));
    let headers = [("Cookie", cookie.as_str()), ("X-Other", other.as_str())];
    let (strangers, refused) = knock(&gateway, 1500, &headers).await;
    let kept = buffered(&gateway).await;
    assert!(kept <= 9 << 20, "{kept} bytes");
    let grown = gateway.memory("VmHWM").saturating_sub(before);
    eprintln!(
        "1,500 opens of 12 kB that wait, {refused} refused: memory grew {} MiB",
        grown / MIB
    );
    assert!(grown < 64 * MIB, "{grown} KiB");
    gate.open();
    drop(strangers);
    let mut clients = bystanders(&gateway).await;
    all_is_well(&gateway, &app, &mut clients).await;
}

/// A control character is six bytes in a callback's body, and counts as that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn escapes_are_counted_as_they_are_written() {
    let app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("limits.buffered", "16Mi")
        .set("callback.timeout", "5m")
        .start()
        .await;
    let gate = Gate::closed();
    let held = gate.clone();
    app.answer(move |call| {
        if call.action() == "message" && call.field("user_name") == "stranger" {
            Answer::ok().once_open(&held)
        } else {
            Answer::ok()
        }
    });
    let mut clients = bystanders(&gateway).await;
    let before = gateway.memory("VmRSS");
    let message = raw::frame(raw::TEXT, &vec![1; 200_000]);
    let mut strangers = Vec::new();
    for _ in 0..60 {
        let mut stranger = Raw::open_with(&gateway, &[("X-BFL-USER", "stranger")]).await;
        stranger.send_what_goes(&message).await;
        strangers.push(stranger);
    }
    let closed = async || (closes_of(&app, "stranger").len() >= 50).then_some(());
    eventually("the largest to be closed", closed).await;
    let kept = buffered(&gateway).await;
    let grown = gateway.memory("VmHWM").saturating_sub(before);
    eprintln!(
        "60 messages of 200 kB of control characters: {} MiB wait, memory grew {} MiB",
        kept >> 20,
        grown / MIB
    );
    assert!((9 << 20..=12 << 20).contains(&kept), "{kept} bytes");
    assert!(grown < 40 * MIB, "{grown} KiB");
    assert_eq!(closes_of(&app, "bystander"), [0; 0]);
    all_is_well(&gateway, &app, &mut clients).await;
    gate.open();
}

/// However it is begun: it ends, if nothing or too little comes of it.
#[tokio::test]
async fn what_is_begun_and_not_finished_is_ended() {
    let app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("limits.unfinished", "1s")
        .set("limits.close", "500ms")
        .start()
        .await;
    let whole = raw::frame(raw::TEXT, &[b'x'; 1000]);
    let fragment = raw::piece(false, raw::TEXT, b"x");
    let begun = [
        whole[..1].to_vec(),
        whole[..5].to_vec(),
        whole[..500].to_vec(),
        fragment.clone(),
        raw::frame(raw::PING, b"are you there")[..4].to_vec(),
        raw::frame(raw::CLOSE, &raw::close_body(1000, b"bye"))[..6].to_vec(),
    ];
    let mut strangers = Vec::new();
    for bytes in &begun {
        let mut raw = Raw::open(&gateway).await;
        raw.send(bytes).await;
        strangers.push(raw);
    }
    for raw in &mut strangers {
        assert_eq!(raw.close_code().await, Some(1008));
    }
    let closes = app.until_calls("close", begun.len()).await;
    for close in &closes {
        assert_eq!(close.json()["reason"], "message not finished in time");
    }

    // A byte now and then, empty fragments, and pings in between, are no progress.
    let drops = [
        b"x".to_vec(),
        [
            raw::piece(false, raw::CONTINUATION, b""),
            raw::frame(raw::PING, b""),
        ]
        .concat(),
    ];
    let binary = raw::frame(raw::BINARY, &[b'x'; 1000]);
    for (begin, drop) in [binary[..20].to_vec(), fragment].iter().zip(drops) {
        let mut raw = Raw::open(&gateway).await;
        raw.send(begin).await;
        let before = app.calls_of("close").len();
        let dripping = async {
            loop {
                raw.send_what_goes(&drop).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            () = dripping => {}
            closes = app.until_calls("close", before + 1) => {
                assert_eq!(closes[before].json()["code"], 1008);
            }
        }
    }
}

/// A message on a slow line takes its time; what comes buys more of it.
#[tokio::test]
async fn a_slow_line_may_finish_its_message() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("limits.unfinished", "1s")
        .start()
        .await;
    let mut raw = Raw::open(&gateway).await;
    app.next_of("open").await;
    let message = raw::frame(raw::BINARY, &vec![0; 60_000]);
    for piece in message.chunks(1000) {
        raw.send(piece).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(app.next_of("message").await.field("data").len(), 80_000);
}

/// An app sends a history in pieces, all at once, to a client that reads as fast as it can.
#[tokio::test]
async fn a_burst_reaches_a_healthy_reader() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app).start().await;
    let mut raw = Raw::open_narrow(&gateway, &[]).await;
    let id = app.next_of("open").await.conn_id().to_owned();
    for _ in 0..60 {
        let message = json!({"payload": "x".repeat(50_000), "conn_id": id});
        assert_eq!(gateway.send(&message).await["queued"], 1);
    }
    for _ in 0..60 {
        assert_eq!(raw.frame().await.unwrap().1.len(), 50_002);
    }
}

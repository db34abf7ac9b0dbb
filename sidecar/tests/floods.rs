//! Clients that send too much, or too many of them: memory stays bounded, others go on.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::time::Duration;

use support::{App, Client, Gateway, Launch, Raw, eventually, raw};
use tokio::io::AsyncWriteExt as _;

const MIB: u64 = 1 << 10;

/// What is only declared costs nothing.
#[tokio::test]
async fn two_hundred_declared_lengths_cost_no_memory() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("limits.message", "1Gi")
        .start()
        .await;
    let (mut witness, _) = Client::open(&gateway, &mut app).await;
    let before = gateway.memory("VmRSS");
    let mut held = Vec::new();
    for _ in 0..200 {
        let mut raw = Raw::open(&gateway).await;
        raw.send(&raw::header(true, raw::BINARY, 1 << 29)).await;
        raw.send(&[0; 100]).await;
        held.push(raw);
    }
    app.until_calls("open", 201).await;
    witness.settle().await;
    let grown = gateway.memory("VmRSS").saturating_sub(before);
    assert!(grown < 16 * MIB, "{grown} KiB for 200 connections");
}

#[tokio::test]
async fn a_hundred_thousand_frames_of_one_byte() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut witness, _) = Client::open(&gateway, &mut app).await;
    let mut raw = Raw::open(&gateway).await;
    app.next_of("open").await;
    raw.send(&raw::piece(false, raw::BINARY, b"")).await;
    for _ in 0..100 {
        raw.send(&raw::piece(false, raw::CONTINUATION, b"x").repeat(1000))
            .await;
    }
    witness.settle().await;
    raw.send(&raw::frame(raw::CONTINUATION, b"")).await;
    let message = app.next_of("message").await;
    assert_eq!(message.field("data").len(), 100_000_usize.div_ceil(3) * 4);
    let peak = gateway.memory("VmHWM");
    assert!(peak < 64 * MIB, "{peak} KiB");
}

/// Sends that again and again, without reading, until it is held back.
async fn flood(gateway: &Gateway, app: &mut App, frames: &[u8]) {
    let (mut witness, _) = Client::open(gateway, app).await;
    let mut raw = Raw::open_narrow(gateway, &[]).await;
    app.next_of("open").await;
    let mut sent = 0_u64;
    // 200 MB are far more than the sockets between them hold.
    while sent < 200_000_000 {
        match tokio::time::timeout(Duration::from_secs(1), raw.stream.write(frames)).await {
            Ok(Ok(count)) => sent += count as u64,
            Ok(Err(_)) | Err(_) => break,
        }
    }
    assert!(sent < 200_000_000, "it was never held back");
    witness.settle().await;
    let peak = gateway.memory("VmHWM");
    assert!(peak < 64 * MIB, "{peak} KiB after {sent} bytes");
}

/// Whoever pings without reading the pongs stops being read, and costs no more than that.
#[tokio::test]
async fn a_ping_flood_is_held_back() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let pings = raw::frame(raw::PING, &[b'p'; 125]).repeat(1000);
    flood(&gateway, &mut app, &pings).await;
}

/// The same as JSON, which is answered as well.
#[tokio::test]
async fn a_flood_of_json_pings_is_held_back() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let pings = raw::frame(raw::TEXT, br#"{"event":"ping","data":{}}"#).repeat(1000);
    flood(&gateway, &mut app, &pings).await;
    assert_eq!(app.calls().len(), 2, "pings are not forwarded");
}

/// A thousand come and vanish without a word; each is noticed, and nothing stays behind.
#[tokio::test]
async fn a_thousand_that_vanish_leave_nothing_behind() {
    let app = App::start().await;
    let gateway = Gateway::start(&app).await;
    for _ in 0..10 {
        let mut held = Vec::new();
        for _ in 0..100 {
            held.push(Raw::open(&gateway).await);
        }
        held.into_iter().for_each(Raw::reset);
    }
    app.until_calls("close", 1000).await;
    let opens = app.calls_of("open").len();
    assert_eq!((opens, app.calls_of("close").len()), (1000, 1000));
    let gone = async || (gateway.metric("ws_gateway_connections ").await == 0).then_some(());
    eventually("the last one's end", gone).await;
    assert_eq!(gateway.open_connections().await, 0);
}

/// How urgent the threads of that name are (`nice`), and how long they have worked in all, in
/// hundredths of a second: proc_pid_stat(5).
fn threads(gateway: &Gateway, name: &str) -> (Vec<i32>, u64) {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", gateway.pid())).unwrap();
    let stats = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("stat")));
    let named = format!("({name}) ");
    let mut all = (Vec::new(), 0);
    for stat in stats.map(Result::unwrap) {
        let Some((_, rest)) = stat.split_once(&named) else {
            continue;
        };
        // Behind the name: the state is the third field, both times 14 and 15, the niceness 19.
        let field: Vec<&str> = rest.split(' ').collect();
        let worked = |at: usize| field[at - 3].parse::<u64>().unwrap();
        all.0.push(field[19 - 3].parse().unwrap());
        all.1 += worked(14) + worked(15);
    }
    all
}

#[tokio::test]
async fn a_flood_has_threads_that_others_go_before() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    let (newcomers, _) = threads(&gateway, "newcomers");
    assert!(!newcomers.is_empty() && newcomers.iter().all(|nice| *nice == 5));
    let (floods, worked) = threads(&gateway, "floods");
    assert!(!floods.is_empty() && floods.iter().all(|nice| *nice == 15));
    assert_eq!(worked, 0, "a client that talks is no flood");
    let mut raw = Raw::open(&gateway).await;
    app.next_of("open").await;
    let pieces = raw::piece(false, raw::CONTINUATION, b"x").repeat(1000);
    raw.send(&raw::piece(false, raw::BINARY, b"")).await;
    while threads(&gateway, "floods").1 == 0 {
        raw.send(&pieces).await;
        client.settle().await;
    }
    // It comes back, and is served as before.
    raw.send(&raw::frame(raw::CONTINUATION, b"")).await;
    app.next_of("message").await;
    client.settle().await;
}

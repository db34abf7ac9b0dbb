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

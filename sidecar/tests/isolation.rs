//! One client's trouble is its own: whoever does not read, or sends without pause, delays nobody
//! else, and costs a bounded amount of memory.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use support::{Answer, App, Client, Gateway, Launch, Raw, raw, soon};
use tokio::io::AsyncWriteExt as _;

const STALLED: usize = 1000;
const MIB: u64 = 1 << 10;

/// Clients that will never read, as user `stalled`; their ids.
async fn stalled(gateway: &Gateway, app: &App) -> (Vec<Raw>, Vec<String>) {
    let mut clients = Vec::new();
    for _ in 0..STALLED {
        clients.push(Raw::open_narrow(gateway, &[("X-BFL-USER", "stalled")]).await);
    }
    let opens = app.until_calls("open", STALLED).await;
    (
        clients,
        opens.iter().map(|open| open.conn_id().to_owned()).collect(),
    )
}

/// KiB that the kernel keeps for clients that do not read.
fn unsent_in_kernel(gateway: &Gateway) -> u64 {
    let port = format!(":{}", gateway.clients.port());
    let output = Command::new("ss")
        .args(["-tmnH", "sport", "=", &port])
        .output()
        .expect("ss, of iproute2");
    // skmem:(r0,rb131072,t0,tb262144,f0,w263686,…): w is what waits.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let sockets = text.split("skmem:(").skip(1);
    let waits = |socket: &str| {
        socket
            .split(',')
            .find_map(|part| part.strip_prefix('w')?.parse::<u64>().ok())
    };
    sockets.filter_map(waits).sum::<u64>() >> 10
}

/// How long it takes until each of these has what is sent to everyone.
async fn deliver(gateway: &Gateway, witnesses: &mut [Client], text: &str) -> Duration {
    let started = Instant::now();
    let message = json!({"payload": text, "all": true, "encoding": "text"});
    let send = gateway.send(&message);
    let received = join_all(
        witnesses
            .iter_mut()
            .map(async |witness| assert_eq!(witness.text().await, text)),
    );
    tokio::join!(send, received);
    started.elapsed()
}

/// Upstream had one writer for all clients: one that did not read stalled everyone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_that_stop_reading_delay_nobody() {
    let app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("limits.slow", "100ms")
        .set("limits.close", "1s")
        .start()
        .await;
    let (clients, ids) = stalled(&gateway, &app).await;
    let mut witnesses =
        join_all((0..10).map(async |_| Client::user(&gateway, "witness").await)).await;
    let before = gateway.memory("VmRSS");
    let mut times = Vec::new();
    // 100 times 8 KiB are more than socket and outbox of one client hold.
    let mut in_kernel = 0;
    for n in 0..100 {
        let text = format!("{n} {}", "x".repeat(8 << 10));
        times.push(deliver(&gateway, &mut witnesses, &text).await);
        if n % 10 == 0 {
            in_kernel = in_kernel.max(unsent_in_kernel(&gateway));
        }
    }
    times.sort();
    let shared = gateway.memory("VmHWM").saturating_sub(before);
    let still_open = gateway.list("?user=stalled").await["data"][0]["conns_number"].clone();
    assert!(
        still_open.is_null(),
        "{still_open} of {STALLED} were not cut off"
    );
    let (median, slowest) = (times[50], times[99]);
    eprintln!(
        "{STALLED} stalled readers: delivery to others {median:?} median, {slowest:?} at most; memory grew {} MiB, {} MiB wait in the kernel",
        shared / MIB,
        in_kernel / MIB
    );
    assert!(median < Duration::from_millis(500) && slowest < Duration::from_secs(5));
    assert!(shared < 100 * MIB, "{shared} KiB");
    // Left to itself the kernel keeps 4 MB for each, on the pod's account.
    assert!(in_kernel < 100 * MIB, "{in_kernel} KiB");
    assert!(
        app.until_calls("close", STALLED)
            .await
            .iter()
            .all(|call| call.json()["code"] == 1013)
    );
    drop((clients, ids));
}

/// What bounds the kernel's part for those who do not read must not make it wait for those who do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_to_one_who_reads_flow() {
    const MESSAGES: usize = 16;
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, open) = Client::open(&gateway, &mut app).await;
    let message = json!({"payload": "x".repeat(4 << 20), "conn_id": open["conn_id"]});
    let started = Instant::now();
    for _ in 0..MESSAGES {
        assert_eq!(gateway.send(&message).await["queued"], 1);
        assert_eq!(client.text().await.len(), (4 << 20) + 2);
    }
    // A second and more for each, where the kernel waits for acknowledgements between segments.
    let took = started.elapsed();
    assert!(took < Duration::from_secs(MESSAGES as u64), "{took:?}");
}

/// Each is sent something of its own, so that nothing is shared: `limits.buffered` is the bound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_clients_is_bounded_in_all() {
    let app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("limits.buffered", "32Mi")
        .set("limits.close", "1s")
        .start()
        .await;
    let (clients, ids) = stalled(&gateway, &app).await;
    let mut witness = Client::user(&gateway, "witness").await;
    let before = gateway.memory("VmRSS");
    let mut kept = support::Raw::dial(gateway.clients).await;
    // 512 KiB for each are twice what the kernel takes, and that is far more than may wait.
    for round in 0..4 {
        for id in &ids {
            let body =
                json!({"payload": format!("{round}{id}{}", "x".repeat(128 << 10)), "conn_id": id})
                    .to_string();
            let request = support::http::request(
                "POST",
                "/tapr/ws/conn/send",
                &[("Host", "localhost")],
                body.as_bytes(),
            );
            kept.send(&request).await;
            assert_eq!(kept.response().await.status, 200);
        }
        let most = gateway.metric("ws_gateway_buffered_bytes").await;
        // Whoever has to go holds its last frame for a moment more.
        assert!(most <= 33 << 20, "{most} bytes");
        witness.settle().await;
    }
    let grown = gateway.memory("VmHWM").saturating_sub(before);
    eprintln!(
        "{STALLED} stalled readers with 32 MiB for all: memory grew {} MiB",
        grown / MIB
    );
    assert!(grown < 96 * MIB, "{grown} KiB");
    drop(clients);
}

/// Clients that send without pause get what the app takes, and no more of the gateway's time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_without_pause_are_held_back_and_starve_nobody() {
    let app = App::start().await;
    app.answer(|call| match call.field("user_name") {
        "witness" if call.action() == "message" => {
            Answer::action(&json!({"reply": call.json()["data"]}))
        }
        _ => Answer::ok(),
    });
    let gateway = Gateway::start(&app).await;
    let before = gateway.memory("VmRSS");
    let sent = Arc::new(AtomicUsize::new(0));
    let mut senders = Vec::new();
    for _ in 0..4 {
        let (mut raw, sent) = (
            Raw::open_with(&gateway, &[("X-BFL-USER", "sender")]).await,
            Arc::clone(&sent),
        );
        let burst = raw::frame(raw::TEXT, b"1").repeat(1000);
        senders.push(tokio::spawn(async move {
            while let Ok(count) = raw.stream.write(&burst).await {
                sent.fetch_add(count, Ordering::Relaxed);
            }
        }));
    }
    let mut witness = Client::user(&gateway, "witness").await;
    app.until_calls("message", 1000).await;
    let mut times = Vec::new();
    for n in 0..50 {
        let started = Instant::now();
        witness.send(&n.to_string()).await;
        assert_eq!(witness.text().await, n.to_string());
        times.push(started.elapsed());
    }
    times.sort();
    let grown = gateway.memory("VmHWM").saturating_sub(before);
    let taken = app.calls_of("message").len();
    eprintln!(
        "4 senders without pause: a round trip of another takes {:?} median, {:?} at most; the app took {taken} messages; memory grew {} MiB",
        times[25],
        times[49],
        grown / MIB
    );
    assert!(times[25] < Duration::from_millis(500) && times[49] < Duration::from_secs(5));
    assert!(grown < 32 * MIB, "{grown} KiB");
    senders.iter().for_each(tokio::task::JoinHandle::abort);
}

/// A sender whose app does not answer is not read from, and what it sent is bounded.
#[tokio::test]
async fn a_sender_whose_app_hangs_fills_its_lane_and_no_more() {
    let mut app = App::start().await;
    let gate = support::Gate::closed();
    let gateway = Gateway::start(&app).await;
    let mut raw = Raw::open(&gateway).await;
    app.next_of("open").await;
    app.answer_messages(Answer::ok().once_open(&gate));
    let before = gateway.memory("VmRSS");
    let burst = raw::frame(raw::BINARY, &vec![0; 60_000]);
    let mut sent = 0;
    while let Ok(Ok(())) =
        tokio::time::timeout(Duration::from_secs(1), raw.stream.write_all(&burst)).await
    {
        sent += 1;
        assert!(sent < 1000, "it was never held back");
    }
    let grown = gateway.memory("VmRSS").saturating_sub(before);
    assert!(grown < 8 * MIB, "{grown} KiB");
    assert_eq!(app.calls_of("message").len(), 1);
    let mut other = Client::connect(&gateway).await;
    soon("another client's pong", other.settle()).await;
    gate.open();
    app.until_calls("message", sent).await;
}

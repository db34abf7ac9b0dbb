//! The crash journal is a comfort: whatever becomes of its volume, the gateway starts and serves,
//! and counts what it could not record.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use support::{App, Client, Gateway, Launch, Raw, elsewhere, eventually, http};

/// How large the operator makes the volume.
const VOLUME: usize = 16 << 20;
const UNRECORDED: &str = "ws_gateway_journal_unrecorded_total";
const FILE: &str = "connections.journal";

fn launch(app: &App, journal: &Path) -> Launch {
    Launch::for_app(app).journal(journal)
}

async fn open(gateway: &Gateway, count: usize, headers: &[(&str, &str)]) -> Vec<Raw> {
    let mut held = Vec::with_capacity(count);
    for _ in 0..count {
        held.push(Raw::open_with(gateway, headers).await);
    }
    held
}

/// The ids of all connections whose close was told: twice, where the kill met the answer.
fn closed(app: &App) -> BTreeSet<String> {
    let closes = app.calls_of("close");
    closes
        .iter()
        .map(|call| call.conn_id().to_owned())
        .collect()
}

async fn serves(gateway: &Gateway, app: &App) {
    let before = app.calls_of("message").len();
    let mut client = Client::connect(gateway).await;
    client.send("1").await;
    app.until_calls("message", before + 1).await;
    assert_eq!(client.close(1000, "").await.0, 1000);
}

/// Tokens of 4 KB, as those of an identity provider are. `CLIENTS=10000` tries as many as the
/// gateway lets in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_with_long_tokens_are_told_of_after_a_kill() {
    let test = "many_clients_with_long_tokens_are_told_of_after_a_kill";
    if !elsewhere::with_mounts(test) {
        return;
    }
    let clients = std::env::var("CLIENTS").map_or(2500, |text| text.parse().unwrap());
    let volume = tempfile::tempdir().unwrap();
    elsewhere::mount(volume.path(), VOLUME / 2);
    let app = App::start().await;
    let mut gateway = launch(&app, volume.path())
        .set("limits.connectionsPerUser", "0")
        .start()
        .await;
    let cookie = format!("auth_token={}", "t".repeat(4096));
    let held = open(
        &gateway,
        clients,
        &[("Cookie", &cookie), ("X-BFL-USER", "ann")],
    )
    .await;
    app.until_calls("open", clients).await;
    assert_eq!(gateway.metric(UNRECORDED).await, 0);
    let bytes = gateway.metric("ws_gateway_journal_bytes").await;
    gateway.kill().await;
    drop(held);
    let mut again = gateway.launch().start().await;
    eventually("the end of all", async || {
        (app.calls_of("close").len() >= clients).then_some(())
    })
    .await;
    assert_eq!(closed(&app).len(), clients);
    let close = &app.calls_of("close")[0];
    assert_eq!(
        (
            close.field("user_name"),
            close.field("token"),
            &close.json()["access_public"]
        ),
        ("ann", "", &serde_json::json!(false))
    );
    serves(&again, &app).await;
    again.terminate();
    assert!(again.exited().await.success());
    serves(&again.launch().start().await, &app).await;
    eprintln!("{clients} clients with tokens of 4 KB: a journal of {bytes} bytes, every end told");
}

/// Somebody else fills the volume, or it is smaller than was thought.
#[tokio::test]
async fn on_a_full_volume_it_serves_and_starts_again() {
    let test = "on_a_full_volume_it_serves_and_starts_again";
    if !elsewhere::with_mounts(test) {
        return;
    }
    let volume = tempfile::tempdir().unwrap();
    elsewhere::mount(volume.path(), VOLUME / 2);
    let page = 4096;
    let app = App::start().await;
    let mut gateway = launch(&app, volume.path()).start().await;
    let mut held = open(&gateway, 20, &[]).await;
    std::fs::write(
        volume.path().join("ballast"),
        vec![0; VOLUME / 2 - 4 * page],
    )
    .unwrap();
    // Until there is no room for more, and some beyond.
    let full = async || (gateway.metric(UNRECORDED).await > 20).then_some(());
    while full().await.is_none() {
        held.extend(open(&gateway, 20, &[]).await);
        assert!(held.len() < 2000, "it does not get full");
    }
    let opened = held.len();
    app.until_calls("open", opened).await;
    assert!(gateway.log().contains("the crash journal fails"));
    // Those who leave make room for others, although no second file fits.
    let leaving = held.split_off(opened / 2);
    let left = leaving.len();
    drop(leaving);
    app.until_calls("close", left).await;
    eventually("the journal knows of all ends", async || {
        let recorded = std::fs::read(volume.path().join(FILE)).unwrap();
        let live = recorded
            .split(|byte| *byte == b'\n')
            .filter(|line| line.first() == Some(&b'+'));
        (live.count() <= held.len()).then_some(())
    })
    .await;
    let before = gateway.metric(UNRECORDED).await;
    held.extend(open(&gateway, 10, &[]).await);
    app.until_calls("open", opened + 10).await;
    assert_eq!(gateway.metric(UNRECORDED).await, before);

    for _ in 0..2 {
        gateway.kill().await;
        gateway = gateway.launch().start().await;
        serves(&gateway, &app).await;
    }
    let unrecorded = usize::try_from(before).unwrap();
    let told = closed(&app).len();
    let ended = opened + 10 + 2;
    assert!(
        (ended - unrecorded..=ended).contains(&told),
        "{told} of {ended} ends told, {unrecorded} not recorded"
    );
    gateway.terminate();
    assert!(gateway.exited().await.success());
    serves(&gateway.launch().start().await, &app).await;
}

#[tokio::test]
async fn where_nothing_can_be_written_it_serves() {
    let test = "where_nothing_can_be_written_it_serves";
    if !elsewhere::with_mounts(test) {
        return;
    }
    let volume = tempfile::tempdir().unwrap();
    elsewhere::mount(volume.path(), VOLUME);
    let app = App::start().await;
    let mut gateway = launch(&app, volume.path()).start().await;
    let _held = open(&gateway, 3, &[]).await;
    app.until_calls("open", 3).await;
    gateway.kill().await;
    elsewhere::make_read_only(volume.path());
    let gateway = gateway.launch().start().await;
    assert_eq!(closed(&app).len(), 3, "what was left is told all the same");
    serves(&gateway, &app).await;
    assert_eq!(http::get(gateway.ops, "/readyz").await.status, 200);
    assert_eq!(gateway.metric(UNRECORDED).await, 1);
    assert!(gateway.log().contains("Read-only file system"));
}

#[tokio::test]
async fn whatever_is_in_the_journals_place_it_starts() {
    let app = App::start().await;
    let long = vec![b'+'; 100_000];
    let garbage: [&[u8]; 3] = [b"\0\xff\n+\n-\n+x [1]\n", &long, b"+torn"];
    for content in garbage {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE), content).unwrap();
        std::fs::write(directory.path().join("connections.new"), "stale").unwrap();
        let gateway = launch(&app, directory.path()).start().await;
        serves(&gateway, &app).await;
        assert_eq!(gateway.metric(UNRECORDED).await, 0);
        assert!(gateway.log().contains("cannot be read"));
        assert!(!directory.path().join("connections.new").exists());
    }
    // A folder, and a path that leads through a file.
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join(FILE)).unwrap();
    std::fs::write(directory.path().join("file"), "").unwrap();
    for place in [directory.path().to_owned(), directory.path().join("file")] {
        let gateway = launch(&app, &place).start().await;
        serves(&gateway, &app).await;
        assert_eq!(gateway.metric(UNRECORDED).await, 1);
        assert!(gateway.log().contains("the crash journal fails"));
    }
}

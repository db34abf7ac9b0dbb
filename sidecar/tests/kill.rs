//! SIGKILL: for every connection the app was told of, it gets a close before any new open.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use support::{Answer, App, Call, Client, Gate, Gateway, Launch, Raw, eventually, http};
use tempfile::TempDir;

const ROUNDS: usize = 30;
const CLIENTS: usize = 20;

fn with_journal(app: &App) -> (Launch, TempDir) {
    let journal = tempfile::tempdir().unwrap();
    let launch = Launch::for_app(app).journal(journal.path());
    (launch, journal)
}

/// Connections that the app was told of and not told the end of.
fn left_open(calls: &[Call]) -> BTreeSet<String> {
    let ids = |action: &str| -> BTreeSet<String> {
        calls
            .iter()
            .filter(|call| call.action() == action)
            .map(|call| call.conn_id().to_owned())
            .collect()
    };
    ids("open").difference(&ids("close")).cloned().collect()
}

#[tokio::test]
async fn the_app_hears_of_everyone_whom_the_kill_cut_off() {
    let mut app = App::start().await;
    let (launch, journal) = with_journal(&app);
    let mut gateway = launch.start().await;
    let headers = [
        ("X-BFL-USER", "ann"),
        ("Cookie", "auth_token=T0ken; theme=dark"),
    ];
    let (_client, open) = Client::open_with(&gateway, &mut app, "/ws?namespace=n", &headers).await;
    let (ended, _) = Client::open(&gateway, &mut app).await;
    ended.close(1000, "").await;
    let told = app.next_of("close").await;
    // Killed before it had the answer, the gateway would rightly tell of this end once more.
    support::eventually("the journal has the end", async || {
        let text = std::fs::read_to_string(journal.path().join("connections.journal")).unwrap();
        text.contains(&format!("-{}", told.conn_id())).then_some(())
    })
    .await;
    gateway.kill().await;
    let mut again = gateway.launch().start().await;
    let close = app.next_of("close").await;
    let id = open["conn_id"].as_str().unwrap();
    let body = format!(
        r#"{{"data":{{}},"action":"close","user_name":"ann","conn_id":"{id}","token":"","access_public":false,"namespace":"n","code":1006,"reason":"gateway restarted"}}"#
    );
    assert_eq!(
        (close.text(), close.event_id()),
        (body.as_str(), format!("{id}/close").as_str())
    );
    // Once told, it is not told again.
    again.kill().await;
    let again = again.launch().start().await;
    let (_client, _) = Client::open(&again, &mut app).await;
    assert_eq!(app.calls_of("close").len(), 2);
}

/// The name that the open answer gave is the one that the app knows.
#[tokio::test]
async fn the_close_has_the_name_that_the_app_gave() {
    let mut app = App::start().await;
    app.answer_opens(Answer::action(
        &json!({"user_name": "bob", "namespace": "space", "reply": "in"}),
    ));
    let (launch, _journal) = with_journal(&app);
    let mut gateway = launch.start().await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    assert_eq!(client.text().await, "\"in\"");
    gateway.kill().await;
    let _again = gateway.launch().start().await;
    let close = app.next_of("close").await;
    assert_eq!(
        (close.field("user_name"), close.field("namespace")),
        ("bob", "space")
    );
}

#[tokio::test]
async fn nobody_is_let_in_before_the_app_knows() {
    let mut app = App::start().await;
    let (launch, _journal) = with_journal(&app);
    let mut gateway = launch.start().await;
    let (_client, open) = Client::open(&gateway, &mut app).await;
    gateway.kill().await;
    let gate = Gate::closed();
    app.answer(|_| Answer::ok());
    let hold = gate.clone();
    app.answer(move |call| {
        if call.action() == "close" {
            Answer::ok().once_open(&hold)
        } else {
            Answer::ok()
        }
    });
    let again = gateway.launch().spawn().await;
    assert_eq!(
        app.next_of("close").await.conn_id(),
        open["conn_id"].as_str().unwrap()
    );
    assert_eq!(http::get(again.ops, "/readyz").await.status, 503);
    assert_eq!(http::upgrade(again.clients, "/ws", &[]).await.status, 503);
    // The app may use the admin API meanwhile.
    assert_eq!(again.list("").await["data"], json!([]));
    gate.open();
    again.ready().await;
    Client::open(&again, &mut app).await;
}

/// The app is down as well, refuses, or breaks the connection: it is told all the same.
#[tokio::test]
async fn the_close_is_told_until_it_surely_arrived() {
    let mut app = App::start().await;
    let (launch, _journal) = with_journal(&app);
    let mut gateway = launch.set("callback.retryFor", "300ms").start().await;
    let (_client, open) = Client::open(&gateway, &mut app).await;
    gateway.kill().await;
    app.stop().await;
    let again = gateway.launch().spawn().await;
    let retried =
        async || (again.metric("ws_gateway_callback_retries_total").await >= 6).then_some(());
    eventually("more tries than retryFor has", retried).await;
    app.answer(|_| Answer::reset());
    app.start_again().await;
    app.next_of("close").await;
    app.answer(|_| Answer::ok());
    again.ready().await;
    let closes = app.calls_of("close");
    assert!(closes.len() >= 2, "in doubt once, then for sure");
    let id = open["conn_id"].as_str().unwrap();
    assert!(
        closes
            .iter()
            .all(|close| close.event_id() == format!("{id}/close"))
    );
}

/// Killed at random moments, while clients come, talk and go.
#[tokio::test]
async fn killed_at_random_moments_no_connection_is_forgotten() {
    let app = App::start().await;
    let (launch, journal) = with_journal(&app);
    let mut gateway = launch.start().await;
    let (mut cut_off, mut opened) = (0, 0);
    for round in 0..ROUNDS {
        let coming_and_going =
            (0..CLIENTS).map(|number| tokio::spawn(come_and_go(gateway.clients, number)));
        let tasks: Vec<_> = coming_and_going.collect();
        let moment = u64::try_from(uuid::Uuid::new_v4().as_u128() % 200).unwrap();
        tokio::time::sleep(Duration::from_millis(moment)).await;
        gateway.kill().await;
        for task in tasks {
            task.abort();
        }
        // What the app had taken when the gateway died, it records within moments.
        let before = settled(&app).await;
        let orphans = left_open(&before);
        cut_off += orphans.len();
        gateway = gateway.launch().start().await;
        let calls = app.calls();
        let (old, new) = calls.split_at(before.len());
        assert!(
            left_open(&calls).is_empty(),
            "round {round}: forgotten: {:?}",
            left_open(&calls)
        );
        assert!(
            new.iter().all(|call| call.action() == "close"),
            "round {round}: an open before the closes"
        );
        for close in new {
            assert_eq!(close.event_id(), format!("{}/close", close.conn_id()));
            assert_eq!(
                (&close.json()["code"], close.field("reason")),
                (&json!(1006), "gateway restarted")
            );
        }
        opened = old.iter().filter(|call| call.action() == "open").count();
    }
    drop(gateway);
    let lines = std::fs::read_to_string(journal.path().join("connections.journal"))
        .unwrap()
        .lines()
        .count();
    eprintln!(
        "{ROUNDS} kills, {opened} connections opened, {cut_off} of them cut off, all closed; {lines} lines of journal"
    );
    assert!(
        cut_off > ROUNDS,
        "the kills must meet open connections: {cut_off}"
    );
    assert!(lines < 3000, "{lines} lines of journal");
}

/// A client's life, again and again until the gateway is gone.
async fn come_and_go(gateway: std::net::SocketAddr, number: usize) {
    for turn in 0.. {
        let Ok(stream) = tokio::net::TcpStream::connect(gateway).await else {
            return;
        };
        let request = format!("ws://localhost:{}/ws", gateway.port());
        let Ok((mut socket, _)) = tokio_tungstenite::client_async(request, stream).await else {
            return;
        };
        for n in 0..(number + turn) % 4 {
            let message = tokio_tungstenite::tungstenite::Message::text(n.to_string());
            if futures_util::SinkExt::send(&mut socket, message)
                .await
                .is_err()
            {
                return;
            }
        }
        match (number + turn) % 3 {
            0 => drop(socket.close(None).await),
            1 => drop(socket),
            // This one stays.
            _ => std::future::pending().await,
        }
    }
}

/// Waits until nothing more comes from a gateway that is dead.
async fn settled(app: &App) -> Vec<Call> {
    let mut before = app.calls();
    loop {
        tokio::time::sleep(Duration::from_millis(30)).await;
        let now = app.calls();
        if now.len() == before.len() {
            return now;
        }
        before = now;
    }
}

/// Killed while the journal is large: rewritten whole, or not at all.
#[tokio::test]
async fn a_journal_of_many_connections() {
    let app = App::start().await;
    let (launch, _journal) = with_journal(&app);
    let mut gateway = launch.start().await;
    let mut held = Vec::new();
    for _ in 0..300 {
        held.push(Raw::open(&gateway).await);
    }
    app.until_calls("open", 300).await;
    gateway.kill().await;
    let _again: Gateway = gateway.launch().start().await;
    assert_eq!(app.calls_of("close").len(), 300);
    assert!(left_open(&app.calls()).is_empty());
}

#[tokio::test]
async fn the_journal_is_the_gateways_own_and_holds_no_secret() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut app = App::start().await;
    let (launch, journal) = with_journal(&app);
    let gateway = launch.start().await;
    let headers = [("Cookie", "session=c00kie; auth_token=T0ken")];
    let (_named, _) = Client::open_with(&gateway, &mut app, "/ws", &headers).await;
    let (_nameless, open) = Client::open(&gateway, &mut app).await;
    let file = journal.path().join("connections.journal");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains(open["conn_id"].as_str().unwrap()));
    for secret in ["c00kie", "T0ken", open["token"].as_str().unwrap()] {
        assert!(!text.contains(secret), "{text}");
    }
}

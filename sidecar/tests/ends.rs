//! The end of a connection is told until the app has taken it, under one id, and given up only
//! where the app breaks off each time.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use support::{Answer, App, Call, Client, Gate, Launch, Raw, eventually, http};
use tokio_tungstenite::tungstenite::Message;

const GIVEN_UP: &str = "ws_gateway_ends_given_up_total";

/// A message without an `Answer` in time is a failure after the fact; a close that breaks off is
/// in doubt, and nobody is left who could be told.
#[tokio::test]
async fn an_end_in_doubt_is_told_again_under_the_same_id() {
    let mut app = App::start().await;
    let gateway = support::Gateway::start(&app).await;
    let (client, open) = Client::open(&gateway, &mut app).await;
    let id = open["conn_id"].as_str().unwrap().to_owned();
    app.answer(|_| Answer::reset());
    client.close(1000, "").await;
    let closes = app.until_calls("close", 2).await;
    app.answer(|_| Answer::ok());
    let (_client, _) = (
        Client::connect(&gateway).await,
        app.until_calls("open", 2).await,
    );
    let event_id = format!("{id}/close");
    assert!(
        app.calls_of("close")
            .iter()
            .all(|call| call.event_id() == event_id)
    );
    assert_eq!(closes[0].body, closes[1].body);
    assert!(closes[1].at.duration_since(closes[0].at) >= Duration::from_millis(50));
    assert_eq!(gateway.metric(GIVEN_UP).await, 0);
}

#[tokio::test]
async fn an_end_on_which_the_app_dies_is_given_up() {
    let mut app = App::start().await;
    let gateway = support::Gateway::start(&app).await;
    let (poison, open) = Client::open(&gateway, &mut app).await;
    let (other, _) = Client::open(&gateway, &mut app).await;
    let id = open["conn_id"].as_str().unwrap().to_owned();
    let poisonous = id.clone();
    app.answer(move |call| match (call.action(), call.conn_id()) {
        ("close", id) if id == poisonous => Answer::reset(),
        _ => Answer::ok(),
    });
    poison.close(1000, "").await;
    other.close(1000, "").await;
    let given_up = async || (gateway.metric(GIVEN_UP).await == 1).then_some(());
    eventually("the end is given up", given_up).await;
    let closes = app.calls_of("close");
    let tries = closes.iter().filter(|call| call.conn_id() == id).count();
    assert!((3..=10).contains(&tries), "{tries} tries");
    assert_eq!(closes.len(), tries + 1, "the other's end was told once");
    let log = gateway.log();
    let line = log.lines().find(|line| line.contains("given up")).unwrap();
    assert!(line.contains(&id), "{line}");
}

/// Cut off by a kill, and the app dies on one of them: the others are told, and newcomers wait
/// for a while only.
#[tokio::test]
async fn recovery_keeps_newcomers_out_for_a_while_only() {
    let app = App::start().await;
    let journal = tempfile::tempdir().unwrap();
    let mut gateway = Launch::for_app(&app)
        .journal(journal.path())
        .set("callback.recoverFor", "1s")
        .start()
        .await;
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(Raw::open(&gateway).await);
    }
    let opens = app.until_calls("open", 20).await;
    gateway.kill().await;
    let poison = opens[7].conn_id().to_owned();
    let poisonous = poison.clone();
    app.answer(move |call| match (call.action(), call.conn_id()) {
        ("close", id) if id == poisonous => Answer::reset(),
        _ => Answer::ok(),
    });
    let started = Instant::now();
    let mut again = gateway.launch().spawn().await;
    assert_eq!(http::get(again.ops, "/readyz").await.status, 503);
    assert_eq!(http::upgrade(again.clients, "/ws", &[]).await.status, 503);
    again.ready().await;
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert!(again.log().contains("callback.recoverFor"));
    let mut newcomer = Client::connect(&again).await;
    newcomer.send("1").await;
    app.until_calls("message", 1).await;
    assert_eq!(again.metric(GIVEN_UP).await, 0, "it goes on beside them");
    let given_up = async || (again.metric(GIVEN_UP).await == 1).then_some(());
    eventually("the end is given up", given_up).await;
    let closed: BTreeSet<_> = app
        .calls_of("close")
        .iter()
        .map(|call| call.conn_id().to_owned())
        .collect();
    assert_eq!(closed.len(), 20);
    // Given up, it is not tried by the next run either.
    let before = app.calls_of("close").len();
    newcomer.close(1000, "").await;
    app.until_calls("close", before + 1).await;
    again.terminate();
    assert!(again.exited().await.success());
    let _last = again.launch().start().await;
    assert_eq!(app.calls_of("close").len(), before + 1);
}

/// It waits for nothing once the gateway is asked to end: one more try, then it is the journal's.
#[tokio::test]
async fn an_end_that_waits_does_not_hold_up_the_drain() {
    let mut app = App::start().await;
    let journal = tempfile::tempdir().unwrap();
    let mut gateway = Launch::for_app(&app)
        .journal(journal.path())
        .set("callback.retryFor", "100ms")
        .start()
        .await;
    let (client, open) = Client::open(&gateway, &mut app).await;
    app.stop().await;
    client.close(1000, "").await;
    let rounds = async || {
        let name = r#"ws_gateway_callbacks_total{action="close",result="not_delivered"}"#;
        (gateway.metric(name).await >= 4).then_some(())
    };
    eventually("pauses of seconds", rounds).await;
    gateway.terminate();
    assert!(gateway.exited().await.success());
    app.start_again().await;
    let _again = gateway.launch().start().await;
    let close = app.next_of("close").await;
    assert_eq!(close.conn_id(), open["conn_id"].as_str().unwrap());
}

#[tokio::test]
async fn refused_messages_do_not_fill_the_log() {
    let mut app = App::start().await;
    app.answer_messages(Answer::status(404));
    let gateway = support::Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    for _ in 0..2000 {
        client.send("1").await;
    }
    app.until_calls("message", 2000).await;
    let name = r#"ws_gateway_callbacks_total{action="message",result="error_status"}"#;
    let counted = async || (gateway.metric(name).await == 2000).then_some(());
    eventually("all are counted", counted).await;
    // One a second, and the next says how many there were.
    let took = app.calls()[2000].at.duration_since(app.calls()[1].at);
    let log = gateway.log();
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("with an error"))
        .collect();
    assert!(
        (1..=took.as_secs() + 2).contains(&(lines.len() as u64)),
        "{}",
        lines.len()
    );
    assert!(
        lines[0].contains("status=404") && lines[0].contains("left_out=0"),
        "{}",
        lines[0]
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    client.send("1").await;
    let last = async || {
        let log = gateway.log();
        let line = log.lines().rfind(|line| line.contains("with an error"))?;
        (!line.contains("left_out=0")).then_some(())
    };
    eventually("how many were left out", last).await;
}

/// The auth hook has places of its own: strangers who knock do not starve those who are in.
#[tokio::test]
async fn a_slow_hook_holds_up_no_message() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("auth", "/auth")
        .set("callback.authConcurrency", "2")
        .set("callback.concurrency", "2")
        .start()
        .await;
    let (mut client, _) = {
        let client = Client::connect(&gateway).await;
        app.next().await;
        (client, app.next_of("open").await)
    };
    let gate = Gate::closed();
    let hold = gate.clone();
    app.answer(move |call| {
        if call.method == "GET" {
            Answer::status(403).once_open(&hold)
        } else {
            Answer::ok()
        }
    });
    // Two are asked about and six wait: the rest is for other addresses.
    let knocking: Vec<_> = (0..20)
        .map(|_| {
            let to = gateway.clients;
            tokio::spawn(async move { http::upgrade(to, "/ws", &[]).await.status })
        })
        .collect();
    let refused = r#"ws_gateway_upgrades_refused_total{reason="auth_busy"}"#;
    let beyond = async || (gateway.metric(refused).await == 12).then_some(());
    eventually("twelve too many", beyond).await;
    let answer = http::upgrade(gateway.clients, "/ws", &[]).await;
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some());
    assert!(answer.text().contains("callback.authConcurrency"));
    for n in 0..20 {
        client.send(&n.to_string()).await;
        app.until_calls("message", n + 1).await;
    }
    gate.open();
    let mut asked = 0;
    for one in knocking {
        let status = one.await.unwrap();
        assert!(matches!(status, 403 | 503), "{status}");
        asked += usize::from(status == 403);
    }
    assert_eq!(asked, 8);
}

/// A crowd of one address waits for itself, also where the app takes its time over each of them.
#[tokio::test]
async fn a_crowd_that_knocks_keeps_no_other_address_waiting() {
    let app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("auth", "/auth")
        .set("callback.authConcurrency", "4")
        .start()
        .await;
    let gate = Gate::closed();
    let hold = gate.clone();
    app.answer(move |call| match call.header("x-crowd") {
        Some(_) => Answer::status(403).once_open(&hold),
        None => Answer::ok(),
    });
    let crowd: Vec<_> = (0..30)
        .map(|_| {
            let to = gateway.clients;
            tokio::spawn(async move { http::upgrade(to, "/ws", &[("X-Crowd", "1")]).await.status })
        })
        .collect();
    let refused = r#"ws_gateway_upgrades_refused_total{reason="auth_busy"}"#;
    let beyond = async || (gateway.metric(refused).await == 15).then_some(());
    eventually("three quarters of the places are the crowd's", beyond).await;
    for _ in 0..10 {
        let mut other = Raw::dial_from([127, 0, 0, 2].into(), gateway.clients).await;
        other.upgrade(&[]).await;
    }
    gate.open();
    for one in crowd {
        assert!(matches!(one.await.unwrap(), 403 | 503));
    }
}

/// Speaks until so many messages are sent, over as many connections as that takes.
async fn speak(to: std::net::SocketAddr, messages: usize) {
    let mut left = messages;
    while left > 0 {
        let Ok(stream) = tokio::net::TcpStream::connect(to).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let request = format!("ws://localhost:{}/ws", to.port());
        let Ok((mut socket, _)) = tokio_tungstenite::client_async(request, stream).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        // Some leave in between, as people do.
        for _ in 0..left.min(50) {
            let pause = tokio::time::sleep(Duration::from_millis(50));
            tokio::select! {
                () = pause => {}
                message = socket.next() => match message {
                    Some(Ok(_)) => {}
                    _ => break,
                }
            }
            if socket.send(Message::text(left.to_string())).await.is_err() {
                break;
            }
            left -= 1;
        }
        let _ = socket.close(None).await;
    }
}

/// What the app heard: no event twice but closes, each connection's in order, and of those that
/// were opened how many have no close.
fn without_close(calls: &[Call]) -> Result<usize, String> {
    let (mut seen, mut last) = (BTreeSet::new(), BTreeMap::new());
    let (mut opened, mut closed) = (BTreeSet::new(), BTreeSet::new());
    for call in calls {
        let id = call.conn_id();
        if call.action() == "close" {
            closed.insert(id);
            continue;
        }
        if !seen.insert(call.event_id()) {
            return Err(format!("twice: {}", call.event_id()));
        }
        let seq = call.json()["seq"].as_u64().unwrap();
        if last.insert(id, seq).is_some_and(|before| before >= seq) {
            return Err(format!("out of order: {}", call.event_id()));
        }
        if call.action() == "open" {
            opened.insert(id);
        }
    }
    Ok(opened.difference(&closed).count())
}

/// App and gateway are killed all the time. `MESSAGES=20000` is the long run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_kills_of_app_and_gateway_every_open_has_its_close() {
    const CLIENTS: usize = 40;
    let messages = std::env::var("MESSAGES").map_or(2000, |text| text.parse().unwrap());
    let mut app = App::start().await;
    let journal = tempfile::tempdir().unwrap();
    let mut gateway = Launch::for_app(&app)
        .journal(journal.path())
        .set("callback.recoverFor", "1s")
        .start()
        .await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(speak(gateway.clients, messages / CLIENTS));
    }
    let mut rng = fastrand::Rng::new();
    let (mut app_killed, mut gateway_killed) = (0, 0);
    while !clients.is_empty() {
        tokio::time::sleep(Duration::from_millis(rng.u64(100..500))).await;
        if app_killed % 3 == 2 && app_killed / 3 == gateway_killed {
            gateway.kill().await;
            gateway = gateway.launch().spawn().await;
            gateway_killed += 1;
        } else {
            app.kill().await;
            tokio::time::sleep(Duration::from_millis(rng.u64(0..400))).await;
            app.start_again().await;
            app_killed += 1;
        }
        while clients.try_join_next().is_some() {}
    }
    let all_closed = |calls: &[Call]| (without_close(calls) == Ok(0)).then_some(());
    app.until("a close for each open", all_closed).await;
    let calls = app.calls();
    assert_eq!(without_close(&calls), Ok(0));
    assert_eq!(gateway.metric(GIVEN_UP).await, 0);
    let opens = calls.iter().filter(|call| call.action() == "open").count();
    let closes = calls.iter().filter(|call| call.action() == "close").count();
    eprintln!(
        "{messages} messages of {CLIENTS} clients, {app_killed} kills of the app and {gateway_killed} of the gateway: {opens} opens, 0 without a close; {} closes told again",
        closes - opens.min(closes)
    );
    assert!(app_killed > 0 && gateway_killed > 0);
}

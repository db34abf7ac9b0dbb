//! SIGTERM: clients are sent away, the app hears of every close, the program ends with 0.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use serde_json::json;
use support::{Answer, App, Call, Client, Gate, Gateway, Launch, Raw, elsewhere, http};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn clients_hear_1001_the_app_hears_every_close_and_it_ends_with_0() {
    let app = App::start().await;
    let mut gateway = Gateway::start(&app).await;
    let clients = join_all((0..50).map(async |_| Client::connect(&gateway).await)).await;
    app.until_calls("open", 50).await;
    gateway.terminate();
    let closed = join_all(
        clients
            .into_iter()
            .map(async |mut client| client.closed().await),
    )
    .await;
    assert!(
        closed
            .iter()
            .all(|closed| *closed == (1001, "shutting down".to_owned()))
    );
    assert!(gateway.exited().await.success());
    let told = app.calls_of("close");
    assert_eq!(told.len(), 50);
    assert!(
        told.iter()
            .all(|call| call.json()["code"] == 1001 && call.json()["reason"] == "shutting down")
    );
    assert!(gateway.log().contains("all connections are closed"));
}

#[tokio::test]
async fn messages_that_had_arrived_reach_the_app_before_the_close() {
    let mut app = App::start().await;
    let gate = Gate::closed();
    let mut gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    app.answer_messages(Answer::action(&json!({"reply": "heard"})).once_open(&gate));
    for n in 0..5 {
        client.send(&n.to_string()).await;
    }
    client.settle().await;
    gateway.terminate();
    assert_eq!(client.close_code().await, 1001);
    gate.open();
    for n in 0..5 {
        assert_eq!(app.next_of("message").await.json()["data"], n);
    }
    assert_eq!(app.next_of("close").await.json()["seq"], 6);
    assert!(gateway.exited().await.success());
}

#[tokio::test]
async fn the_admin_api_works_until_the_last_close_is_told() {
    let mut app = App::start().await;
    let gate = Gate::closed();
    let mut gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    let hold = gate.clone();
    app.answer(move |call| {
        if call.action() == "close" {
            Answer::ok().once_open(&hold)
        } else {
            Answer::ok()
        }
    });
    gateway.terminate();
    assert_eq!(client.close_code().await, 1001);
    app.next_of("close").await;
    // The app is in its close handler now.
    assert_eq!(
        gateway.send(&json!({"payload": 1, "all": true})).await["matched"],
        0
    );
    assert_eq!(gateway.list("").await["data"], json!([]));
    assert_eq!(http::get(gateway.ops, "/readyz").await.status, 503);
    assert_eq!(http::get(gateway.ops, "/healthz").await.status, 200);
    let refused = http::upgrade(gateway.clients, "/ws", &[]).await;
    assert_eq!(
        (refused.status, refused.header("retry-after").is_some()),
        (503, true)
    );
    gate.open();
    assert!(gateway.exited().await.success());
}

/// Whom the app was just letting in is not let in any more.
#[tokio::test]
async fn who_comes_in_during_the_shutdown_is_turned_away() {
    let app = App::start().await;
    let (asking, closing) = (Gate::closed(), Gate::closed());
    let (hook, close) = (asking.clone(), closing.clone());
    app.answer(move |call| match call.action() {
        "close" => Answer::ok().once_open(&close),
        _ if call.path == "/auth?late" => Answer::ok().once_open(&hook),
        _ => Answer::ok(),
    });
    let mut gateway = Launch::for_app(&app).set("auth", "/auth").start().await;
    let mut client = Client::connect(&gateway).await;
    let address = gateway.clients;
    let late = tokio::spawn(async move { http::upgrade(address, "/ws?late", &[]).await });
    let asked = |calls: &[Call]| {
        calls
            .iter()
            .any(|call| call.path == "/auth?late")
            .then_some(())
    };
    app.until("the question", asked).await;
    gateway.terminate();
    assert_eq!(client.close_code().await, 1001);
    asking.open();
    assert_eq!(late.await.unwrap().status, 503);
    closing.open();
    assert!(gateway.exited().await.success());
    assert_eq!(app.calls_of("open").len(), 1);
}

/// Clients that come in all the while: each hears 1001 or is turned away, each open has its close.
#[tokio::test]
async fn nobody_is_forgotten_who_comes_in_at_that_moment() {
    let app = App::start().await;
    let mut gateway = Launch::for_app(&app)
        .set("drain.spread", "300ms")
        .start()
        .await;
    let address = gateway.clients;
    let coming = (0..8).map(|_| {
        tokio::spawn(async move {
            let mut codes = Vec::new();
            while let Ok(stream) = tokio::net::TcpStream::connect(address).await {
                let request = format!("ws://localhost:{}/ws", address.port());
                let Ok((socket, _)) = tokio_tungstenite::client_async(request, stream).await else {
                    break;
                };
                codes.push(tokio::spawn(closed(socket)));
            }
            join_all(codes).await
        })
    });
    let coming: Vec<_> = coming.collect();
    app.until_calls("open", 100).await;
    gateway.terminate();
    assert!(gateway.exited().await.success());
    let codes: Vec<_> = join_all(coming)
        .await
        .into_iter()
        .flat_map(Result::unwrap)
        .map(Result::unwrap)
        .collect();
    assert!(codes.iter().all(|code| *code == Some(1001)), "{codes:?}");
    let (opens, closes) = (app.calls_of("open").len(), app.calls_of("close").len());
    assert_eq!((opens, closes), (codes.len(), codes.len()));
    assert!(
        gateway.log().contains("all connections are closed"),
        "{}",
        gateway.log()
    );
}

/// The code of the close frame, if there is one.
async fn closed(
    mut socket: tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>,
) -> Option<u16> {
    let mut code = None;
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Close(Some(frame)) = message {
            code = Some(frame.code.into());
        }
    }
    code
}

/// A client that does not answer the close frame is cut off; the program does not wait for it.
#[tokio::test]
async fn clients_that_never_answer_hold_nothing_up() {
    let app = App::start().await;
    let mut gateway = Launch::for_app(&app)
        .set("limits.close", "500ms")
        .start()
        .await;
    let held = join_all((0..20).map(async |_| Raw::open(&gateway).await)).await;
    app.until_calls("open", 20).await;
    let started = Instant::now();
    gateway.terminate();
    assert!(gateway.exited().await.success());
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(app.calls_of("close").len(), 20);
    drop(held);
}

/// The time to end is limited; what the app could not be told then is in the journal.
#[tokio::test]
async fn an_app_that_hangs_holds_it_up_for_so_long_only() {
    let mut app = App::start().await;
    let gate = Gate::closed();
    let journal = tempfile::tempdir().unwrap();
    let launch = Launch::for_app(&app)
        .set("drain.timeout", "1s")
        .journal(journal.path());
    let mut gateway = launch.start().await;
    let (mut client, open) = Client::open(&gateway, &mut app).await;
    let hang = gate.clone();
    app.answer(move |call| {
        if call.action() == "close" {
            Answer::ok().once_open(&hang)
        } else {
            Answer::ok()
        }
    });
    let started = Instant::now();
    gateway.terminate();
    assert_eq!(client.close_code().await, 1001);
    assert!(gateway.exited().await.success());
    assert!((Duration::from_secs(1)..Duration::from_secs(8)).contains(&started.elapsed()));
    assert!(
        gateway
            .log()
            .contains("not all connections could be closed in time")
    );
    app.next_of("close").await;
    app.answer(|_| Answer::ok());
    let _again = launch.start().await;
    let told = app.next_of("close").await;
    assert_eq!(
        (told.conn_id(), told.event_id()),
        (
            open["conn_id"].as_str().unwrap(),
            format!("{}/close", told.conn_id()).as_str()
        )
    );
}

#[tokio::test]
async fn the_code_of_a_restart() {
    let mut app = App::start().await;
    let mut gateway = Launch::for_app(&app)
        .set("drain.code", "1012")
        .start()
        .await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    gateway.terminate();
    assert_eq!(client.close_code().await, 1012);
    assert_eq!(app.next_of("close").await.json()["code"], 1012);
    assert!(gateway.exited().await.success());
}

/// Clients leave one after the other, so that they do not all come back in the same moment.
#[tokio::test]
async fn clients_are_sent_away_over_the_spread() {
    let app = App::start().await;
    let mut gateway = Launch::for_app(&app)
        .set("drain.spread", "2s")
        .start()
        .await;
    let clients = join_all((0..200).map(async |_| Client::connect(&gateway).await)).await;
    app.until_calls("open", 200).await;
    gateway.terminate();
    join_all(
        clients
            .into_iter()
            .map(async |mut client| client.closed().await),
    )
    .await;
    assert!(gateway.exited().await.success());
    let times: Vec<_> = app.calls_of("close").iter().map(|call| call.at).collect();
    let spread = *times.iter().max().unwrap() - *times.iter().min().unwrap();
    assert!(
        spread >= Duration::from_millis(900),
        "all within {spread:?}"
    );
}

#[tokio::test]
async fn a_gateway_without_clients_ends_at_once() {
    let app = App::start().await;
    let mut gateway = Gateway::start(&app).await;
    let started = Instant::now();
    gateway.terminate();
    assert!(gateway.exited().await.success());
    assert!(started.elapsed() < Duration::from_secs(5));
}

// --- ws-gateway drain: the preStop hook of a native sidecar, which gets SIGTERM after the app ---

#[tokio::test]
async fn the_hook_waits_until_the_app_knows_and_the_gateway_goes_on_until_sigterm() {
    let mut app = App::start().await;
    let gate = Gate::closed();
    let mut gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    let hold = gate.clone();
    app.answer(move |call| match call.action() {
        "close" => Answer::ok().once_open(&hold),
        _ => Answer::ok(),
    });
    let mut hook = gateway.drain();
    assert_eq!(client.close_code().await, 1001);
    app.next_of("close").await;
    assert!(
        hook.try_wait().unwrap().is_none(),
        "the app is still in its close handler"
    );
    assert_eq!(http::get(gateway.ops, "/readyz").await.status, 503);
    gate.open();
    assert!(hook.wait().await.unwrap().success());
    // The app, told to end by now, may still ask.
    assert_eq!(gateway.list("").await["data"], json!([]));
    assert!(
        gateway.drain().wait().await.unwrap().success(),
        "a second hook"
    );
    gateway.terminate();
    assert!(gateway.exited().await.success());
}

#[tokio::test]
async fn the_hook_fails_when_the_deadline_passes() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("drain.timeout", "1s")
        .start()
        .await;
    let (_client, _) = Client::open(&gateway, &mut app).await;
    let gate = Gate::closed();
    app.answer(move |_| Answer::ok().once_open(&gate));
    let hook = gateway.drain().wait_with_output().await.unwrap();
    let words = String::from_utf8_lossy(&hook.stderr);
    assert!(!hook.status.success());
    assert!(
        words.contains("1 connections could not be closed in time"),
        "{words}"
    );
}

#[tokio::test]
async fn only_the_pods_own_processes_may_ask_for_a_drain() {
    let app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let proxied = [("X-Forwarded-For", "192.0.2.1")];
    let page = [("Origin", "https://evil.example")];
    let rebound = [("Host", "evil.example")];
    for headers in [&proxied, &page, &rebound] {
        let answer = http::call(gateway.ops, "POST", "/drain", headers, b"").await;
        assert_eq!(answer.status, 403, "{headers:?}");
    }
    assert_eq!(http::get(gateway.ops, "/drain").await.status, 405);
    assert_eq!(http::get(gateway.ops, "/readyz").await.status, 200);
}

/// Not even with the admin token.
#[tokio::test]
async fn another_address_cannot_ask_for_a_drain() {
    if !elsewhere::inside("another_address_cannot_ask_for_a_drain") {
        return;
    }
    let app = App::start().await;
    let gateway = Launch::for_app(&app).guarded().start().await;
    let mut client = Client::connect(&gateway).await;
    let bearer = ("Authorization", "Bearer s3cret");
    for port in [gateway.ops, gateway.clients, gateway.remote_admin] {
        let from_elsewhere = (elsewhere::ADDRESS, port.port()).into();
        for headers in [&[][..], &[bearer], &[bearer, ("Host", "127.0.0.1")]] {
            let answer = http::call(from_elsewhere, "POST", "/drain", headers, b"").await;
            assert!(
                matches!(answer.status, 401 | 403 | 404),
                "{port} {headers:?}: {answer:?}"
            );
        }
    }
    client.settle().await;
    assert_eq!(http::get(gateway.ops, "/readyz").await.status, 200);
}

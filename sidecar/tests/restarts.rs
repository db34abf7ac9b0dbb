//! The app restarts under clients that keep sending: every message arrives, once and in order,
//! or its client was closed with 1013.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use support::{Answer, App, Call, Client, Gateway, Launch, eventually, soon};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Clients that send numbers until they are told to stop.
struct Crowd {
    quiet: watch::Sender<bool>,
    clients: Vec<JoinHandle<Told>>,
}

/// What a client knows at the end.
struct Told {
    sent: usize,
    /// Of the close frame it got while it was sending.
    code: Option<u16>,
    /// Keeps the connection, where it is still open.
    _socket: Option<WebSocketStream<TcpStream>>,
}

impl Crowd {
    async fn gather(gateway: &Gateway, app: &App, count: usize, pause: Duration) -> Self {
        let quiet = watch::Sender::new(false);
        let mut clients = Vec::new();
        for number in 0..count {
            let client = Client::user(gateway, &user(number)).await;
            clients.push(tokio::spawn(talk(client, pause, quiet.subscribe())));
        }
        app.until_calls("open", count).await;
        Self { quiet, clients }
    }

    /// Stops the sending; each client's word against what the app has recorded. How many were
    /// closed with 1013, and how many messages there were.
    async fn account_for(self, app: &App) -> (usize, usize) {
        self.quiet.send_replace(true);
        let mut told = Vec::new();
        for client in self.clients {
            told.push(soon("a client's word", client).await.unwrap());
        }
        let cut_off = told.iter().filter(|told| told.code.is_some()).count();
        let complete = async || {
            let calls = app.calls();
            let users = by_user(&calls);
            let all_arrived = |(number, told): (usize, &Told)| {
                told.code.is_some() || users[&user(number)].len() > told.sent
            };
            let closes = calls.iter().filter(|call| call.action() == "close");
            let ended: BTreeSet<_> = closes.map(Call::conn_id).collect();
            let all_told = ended.len() >= cut_off;
            (all_told && told.iter().enumerate().all(all_arrived)).then_some(())
        };
        eventually("everything that was sent, or a close", complete).await;
        let calls = app.calls();
        for (name, calls) in by_user(&calls) {
            check_order(&name, &calls);
        }
        let cut_off = told.iter().filter(|told| told.code.is_some()).count();
        assert!(
            told.iter()
                .all(|told| matches!(told.code, None | Some(1013)))
        );
        (cut_off, told.iter().map(|told| told.sent).sum())
    }
}

fn user(number: usize) -> String {
    format!("user{number}")
}

fn by_user(calls: &[Call]) -> BTreeMap<String, Vec<&Call>> {
    let mut users: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for call in calls {
        users
            .entry(call.field("user_name").to_owned())
            .or_default()
            .push(call);
    }
    users
}

/// Open first, then 0, 1, 2, … without a gap and none twice, then at most one end.
#[track_caller]
fn check_order(name: &str, calls: &[&Call]) {
    for (at, call) in calls.iter().enumerate() {
        let last = at + 1 == calls.len();
        match call.action() {
            "open" => assert_eq!(at, 0, "{name}"),
            "message" => assert_eq!(call.json()["data"], at - 1, "{name}: {call:?}"),
            // One in doubt is told again, under the same id.
            "close" => {
                let again = call.event_id() == calls[calls.len() - 1].event_id();
                assert!(
                    (last || again) && call.json()["code"] == 1013,
                    "{name}: {call:?}"
                );
            }
            other => panic!("{name}: {other}"),
        }
    }
}

async fn talk(client: Client, pause: Duration, mut quiet: watch::Receiver<bool>) -> Told {
    let (mut sink, mut stream) = client.socket.split();
    let mut sent = 0;
    let sending = async {
        let mut pauses = tokio::time::interval(pause);
        loop {
            tokio::select! {
                _ = pauses.tick() => {}
                _ = quiet.wait_for(|quiet| *quiet) => break,
            }
            if sink.send(Message::text(sent.to_string())).await.is_err() {
                break;
            }
            sent += 1;
        }
        // From here on only the other half may end this.
        if !*quiet.borrow() {
            std::future::pending::<()>().await;
        }
    };
    let mut code = None;
    let reading = async {
        while let Some(Ok(message)) = stream.next().await {
            if let Message::Close(Some(frame)) = message {
                code = Some(frame.code.into());
            }
        }
    };
    let open = tokio::select! {
        () = sending => true,
        () = reading => false,
    };
    assert!(
        open || code.is_some(),
        "the connection ended without a close frame"
    );
    Told {
        sent,
        code,
        _socket: open.then(|| sink.reunite(stream).unwrap()),
    }
}

/// The real thing: ten seconds, with the defaults but a little more patience than that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_app_is_away_for_ten_seconds_under_five_hundred_clients() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("callback.retryFor", "20s")
        .start()
        .await;
    let crowd = Crowd::gather(&gateway, &app, 500, Duration::from_millis(400)).await;
    app.until_calls("message", 1000).await;
    app.stop().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    app.start_again().await;
    let after = app.calls_of("message").len() + 5000;
    app.until_calls("message", after).await;
    let (cut_off, sent) = crowd.account_for(&app).await;
    eprintln!(
        "500 clients sent {sent} messages over a restart of 10 s; {cut_off} were closed with 1013"
    );
    assert!(
        cut_off < 50,
        "a restart that answers what it took leaves few in doubt: {cut_off}"
    );
}

/// Killed in the middle of requests: those are in doubt, and nothing is sent twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_app_is_killed_in_the_middle_of_requests() {
    let mut app = App::start().await;
    app.answer(|_| Answer::ok().after(Duration::from_millis(20)));
    let gateway = Launch::for_app(&app)
        .set("callback.retryFor", "8s")
        .start()
        .await;
    let crowd = Crowd::gather(&gateway, &app, 100, Duration::from_millis(100)).await;
    for _ in 0..3 {
        let enough = app.calls_of("message").len() + 300;
        // On a busy machine the first kills may already meet everyone in the middle.
        let goes_on = async || {
            let nobody_left = gateway.metric("ws_gateway_connections ").await == 0;
            (nobody_left || app.calls_of("message").len() >= enough).then_some(())
        };
        eventually("more messages", goes_on).await;
        app.kill().await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        app.start_again().await;
    }
    let (cut_off, sent) = crowd.account_for(&app).await;
    eprintln!("100 clients sent {sent} messages over three kills; {cut_off} were closed with 1013");
    assert!(cut_off > 0, "a kill that met no request shows nothing");
}

/// Away for longer than `retryFor`: everyone who sent is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_app_is_away_for_too_long() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("callback.retryFor", "1s")
        .start()
        .await;
    let crowd = Crowd::gather(&gateway, &app, 50, Duration::from_millis(100)).await;
    app.until_calls("message", 200).await;
    app.stop().await;
    let closed = async || (gateway.metric("ws_gateway_connections ").await == 0).then_some(());
    support::eventually("the end of all", closed).await;
    app.start_again().await;
    crowd.quiet.send_replace(true);
    for client in crowd.clients {
        assert_eq!(
            soon("a client's word", client).await.unwrap().code,
            Some(1013)
        );
    }
    for (name, calls) in by_user(&app.calls()) {
        check_order(&name, &calls);
    }
}

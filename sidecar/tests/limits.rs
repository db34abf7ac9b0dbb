//! What one client, and all of them together, may take; and what they hear beyond.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use support::{App, Client, Gateway, Launch, Raw, elsewhere, eventually, http, raw};
use tokio::io::AsyncReadExt as _;

#[tokio::test]
async fn a_message_over_the_limit_closes_with_1009() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("limits.message", "1000")
        .start()
        .await;
    let half = [b'x'; 501];
    let too_big = [
        raw::frame(raw::TEXT, &[b'x'; 1001]),
        raw::frame(raw::BINARY, &[0; 1001]),
        [
            raw::piece(false, raw::TEXT, &half),
            raw::piece(true, raw::CONTINUATION, &half),
        ]
        .concat(),
        // Only declared: nothing is waited for, and nothing is set aside.
        raw::header(true, raw::BINARY, 1 << 40),
    ];
    for bytes in too_big {
        let mut raw = Raw::open(&gateway).await;
        app.next_of("open").await;
        raw.send(&raw::frame(raw::TEXT, &[b'x'; 1000])).await;
        assert_eq!(app.next_of("message").await.field("data").len(), 1000);
        raw.send(&bytes).await;
        assert_eq!(raw.close_code().await, Some(1009));
        let close = app.next_of("close").await.json();
        assert_eq!(
            (&close["code"], &close["reason"]),
            (&json!(1009), &json!("message too big"))
        );
    }
}

#[tokio::test]
async fn beyond_the_connections_in_all_it_is_503() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("limits.connections", "3")
        .start()
        .await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(Client::open(&gateway, &mut app).await.0);
    }
    let refused = http::upgrade(gateway.clients, "/ws", &[]).await;
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some());
    assert_eq!(refused.json()["code"], 503);
    held.pop().unwrap().close(1000, "").await;
    app.next_of("close").await;
    let again = eventually("a free place", async || {
        let mut raw = Raw::dial(gateway.clients).await;
        raw.send(&http::request(
            "GET",
            "/ws",
            &http::upgrade_headers(&[]),
            b"",
        ))
        .await;
        (raw.response().await.status == 101).then_some(raw)
    });
    again.await;
    assert!(
        gateway
            .metric(r#"ws_gateway_upgrades_refused_total{reason="connections"}"#)
            .await
            >= 1
    );
}

/// By default a tenth of all places is for those who have a name.
#[tokio::test]
async fn clients_without_a_name_leave_a_tenth_to_others() {
    let app = App::start().await;
    let places = Launch::for_app(&app).set("limits.connections", "20");
    for (launch, nameless) in [
        (places.clone(), 18),
        (places.clone().set("limits.connectionsAnonymous", "3"), 3),
        (places.set("limits.connectionsAnonymous", "0"), 20),
    ] {
        let gateway = launch.start().await;
        let mut held = Vec::new();
        for _ in 0..nameless {
            held.push(Client::connect(&gateway).await);
        }
        let refused = http::upgrade(gateway.clients, "/ws", &[]).await;
        assert_eq!(refused.status, 503);
        assert!(refused.header("retry-after").is_some());
        if nameless < 20 {
            let text = refused.text();
            assert!(text.contains("limits.connectionsAnonymous"), "{text}");
            let label = r#"ws_gateway_upgrades_refused_total{reason="connections_anonymous"}"#;
            assert_eq!(gateway.metric(label).await, 1);
        }
        for n in nameless..20 {
            held.push(Client::user(&gateway, &format!("user-{n}")).await);
        }
        let full = http::upgrade(gateway.clients, "/ws", &[("X-BFL-USER", "late")]).await;
        assert_eq!(full.status, 503);
    }
}

/// The app may name a client when it opens; its place is then a named one.
#[tokio::test]
async fn a_client_that_the_app_names_is_nameless_no_more() {
    let mut app = App::start().await;
    app.answer_opens(support::Answer::action(&json!({"user_name": "ann"})));
    let gateway = Launch::for_app(&app)
        .set("limits.connectionsAnonymous", "1")
        .start()
        .await;
    let mut held = Vec::new();
    for n in 1..=5 {
        held.push(Client::open(&gateway, &mut app).await.0);
        eventually("its name", async || {
            let found = gateway.list("?user=ann").await["data"][0]["conns_number"].clone();
            (found == n).then_some(())
        })
        .await;
    }
}

/// In `limits` 0 is no limit.
#[tokio::test]
async fn zero_is_no_limit() {
    let mut app = App::start().await;
    let gateway = [
        "message",
        "connections",
        "connectionsAnonymous",
        "connectionsPerUser",
        "connectRate",
        "outbox",
        "buffered",
        "handshake",
        "keepAlive",
        "requests",
        "idle",
        "adminBody",
    ]
    .into_iter()
    .fold(Launch::for_app(&app), |launch, key| {
        launch.set(&format!("limits.{key}"), "0")
    })
    .start()
    .await;
    let (mut client, open) = Client::open(&gateway, &mut app).await;
    client.send(&"x".repeat(2 << 20)).await;
    assert_eq!(app.next_of("message").await.field("data").len(), 2 << 20);
    let message = json!({"payload": "x".repeat(1 << 20), "conn_id": open["conn_id"]});
    for _ in 0..3 {
        assert_eq!(gateway.send(&message).await["queued"], 1);
    }
    for _ in 0..3 {
        assert_eq!(client.text().await.len(), (1 << 20) + 2);
    }
}

#[tokio::test]
async fn the_number_of_connections_is_told() {
    let app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let log = gateway.log();
    assert!(log.contains("limits.connections"), "{log}");
    let gateway = Launch::for_app(&app)
        .set("limits.connections", "77")
        .start()
        .await;
    assert!(
        gateway.log().contains("connections=77"),
        "{}",
        gateway.log()
    );
}

#[tokio::test]
async fn beyond_the_connections_of_one_user_it_is_429() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("limits.connectionsPerUser", "2")
        .start()
        .await;
    let ann = [("X-BFL-USER", "ann")];
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(Client::open_with(&gateway, &mut app, "/ws", &ann).await.0);
    }
    let refused = http::upgrade(gateway.clients, "/ws", &ann).await;
    assert_eq!(
        (refused.status, refused.json()["code"].clone()),
        (429, json!(429))
    );
    let _bob = Client::open_with(&gateway, &mut app, "/ws", &[("X-BFL-USER", "bob")]).await;
    for _ in 0..3 {
        // Nobody in particular is no user.
        held.push(Client::open(&gateway, &mut app).await.0);
    }
}

/// Many at the same moment are not more than one after the other.
#[tokio::test]
async fn the_limit_of_one_user_holds_for_a_burst() {
    let app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("limits.connectionsPerUser", "5")
        .start()
        .await;
    let ann = [("X-BFL-USER", "ann")];
    let request = http::request("GET", "/ws", &http::upgrade_headers(&ann), b"");
    let (most, rest) = request.split_at(request.len() - 2);
    let mut burst = Vec::new();
    for _ in 0..100 {
        let mut raw = Raw::dial(gateway.clients).await;
        raw.send(most).await;
        burst.push(raw);
    }
    // The gateway has accepted them all when it answers one that came behind them.
    gateway.list("").await;
    gateway.pause();
    for raw in &mut burst {
        raw.send(rest).await;
    }
    gateway.resume();
    let answers = burst
        .iter_mut()
        .map(async |raw| raw.response().await.status);
    let (in_, out): (Vec<_>, Vec<_>) = join_all(answers)
        .await
        .into_iter()
        .partition(|status| *status == 101);
    assert!(out.iter().all(|status| *status == 429));
    assert_eq!(in_.len(), 5);
}

#[tokio::test]
async fn more_messages_than_the_rate_close_with_1008() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("limits.messageRate", "2")
        .start()
        .await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    for _ in 0..100 {
        // Pings are the heartbeat's and do not count.
        client.send(r#"{"event":"ping"}"#).await;
    }
    for _ in 0..20 {
        // Ten seconds' worth at once is within the average.
        client.send("1").await;
    }
    app.until_calls("message", 20).await;
    for _ in 0..20 {
        client.send("2").await;
    }
    assert_eq!(
        client.closed().await,
        (1008, "too many messages".to_owned())
    );
    let close = app.until_calls("close", 1).await;
    assert_eq!(close[0].json()["code"], 1008);
    assert!(app.calls_of("message").len() < 30);
}

/// A client that reads nothing is cut off, and costs no more than its share.
#[tokio::test]
async fn a_reader_that_is_too_slow_is_closed_with_1013() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("limits.outbox", "64Ki")
        .set("limits.slow", "300ms")
        .set("limits.close", "300ms")
        .start()
        .await;
    let mut raw = Raw::open_narrow(&gateway, &[]).await;
    let id = app.next_of("open").await.conn_id().to_owned();
    let message = json!({"payload": "x".repeat(32 << 10), "conn_id": id});
    let sent = eventually("a full outbox", async || {
        let sent = gateway.send(&message).await;
        (sent["dropped"] == 1).then_some(sent)
    });
    sent.await;
    let close = app.next_of("close").await.json();
    assert_eq!(
        (&close["code"], &close["reason"]),
        (&json!(1013), &json!("reading too slowly, try again"))
    );
    assert_eq!(gateway.send(&message).await["matched"], 0);
    let mut rest = Vec::new();
    // It is cut off in the middle of what it did not read.
    let _ = support::soon("the end of the stream", raw.stream.read_to_end(&mut rest)).await;
}

#[tokio::test]
async fn beyond_what_may_wait_in_all_it_is_1013() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("limits.buffered", "100k")
        .start()
        .await;
    let mut raw = Raw::open(&gateway).await;
    app.next_of("open").await;
    raw.send(&raw::header(true, raw::BINARY, 500_000)).await;
    raw.send_what_goes(&vec![0; 400_000]).await;
    let close = app.next_of("close").await.json();
    assert_eq!(
        (&close["code"], &close["reason"]),
        (&json!(1013), &json!("overloaded, try again"))
    );
    // What it held is given back: others go on.
    let (mut other, _) = Client::open(&gateway, &mut app).await;
    other.send(&"x".repeat(50_000)).await;
    app.next_of("message").await;
}

/// Loopback is trusted longer, as the app keeps its admin connections; so from elsewhere.
#[tokio::test]
async fn who_does_not_finish_the_handshake_is_cut_off() {
    if !elsewhere::inside("who_does_not_finish_the_handshake_is_cut_off") {
        return;
    }
    let app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("limits.handshake", "700ms")
        .start()
        .await;
    let address = (elsewhere::ADDRESS, gateway.clients.port()).into();
    let started = Instant::now();
    let mut silent = Raw::dial(address).await;
    let mut slow = Raw::dial(address).await;
    let dripping = async {
        let mut request = http::request("GET", "/ws", &http::upgrade_headers(&[]), b"");
        request.truncate(request.len() - 1);
        for byte in request {
            if tokio::io::AsyncWriteExt::write_all(&mut slow.stream, &[byte])
                .await
                .is_err()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let cut = async {
        let mut answer = Vec::new();
        let _ = silent.stream.read_to_end(&mut answer).await;
    };
    support::soon("both to be cut off", async { tokio::join!(dripping, cut) }).await;
    assert!(started.elapsed() >= Duration::from_millis(690));
    assert!(
        started.elapsed() < Duration::from_secs(7),
        "{:?}",
        started.elapsed()
    );
    let _quick = Client::to(address, "/ws", &[]).await;
}

#[tokio::test]
async fn an_admin_body_over_the_limit_is_413() {
    let app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("limits.adminBody", "1000")
        .start()
        .await;
    let body = json!({"payload": "x".repeat(1000), "all": true}).to_string();
    let answer = gateway.try_admin("send", &body).await;
    assert_eq!(
        (answer.status, answer.json()["code"].clone()),
        (413, json!(413))
    );
    assert!(answer.text().contains("limits.adminBody"));
}

/// Every limit that closes or refuses is counted by its reason.
#[tokio::test]
async fn each_limit_has_its_metric() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("limits.message", "10")
        .start()
        .await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    client.send("more than ten bytes").await;
    assert_eq!(client.close_code().await, 1009);
    app.next_of("close").await;
    let closed = gateway
        .metric(r#"ws_gateway_connections_closed_total{reason="too_big"}"#)
        .await;
    assert_eq!(closed, 1);
    assert_eq!(gateway.metric("ws_gateway_connections ").await, 0);
}

#[tokio::test]
async fn a_gateway_of_the_defaults_names_them_all() {
    let app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let text = http::get(gateway.ops, "/metrics").await.text();
    assert!(
        text.contains("# TYPE ws_gateway_connections gauge"),
        "{text}"
    );
}

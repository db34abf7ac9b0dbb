//! What the app can rely on: order, numbers, and that one client's handler holds up no other.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;
use support::{Answer, App, Client, Gate, Gateway, Launch};

#[tokio::test]
async fn open_first_messages_in_order_close_last() {
    let app = App::start().await;
    // Answers that take different times must not let a later event pass an earlier one.
    app.answer(|call| Answer::ok().after(Duration::from_millis(call.body.len() as u64 % 7)));
    let gateway = Gateway::start(&app).await;
    let conversation = async |number: usize| {
        let mut client = Client::user(&gateway, &format!("user{number}")).await;
        for n in 0..50 {
            client
                .send(&format!("[{n},\"{}\"]", "x".repeat(n * number % 11)))
                .await;
        }
        client.close(1000, "").await;
    };
    futures_util::future::join_all((0..8).map(conversation)).await;
    app.until_calls("close", 8).await;
    for number in 0..8 {
        let name = format!("user{number}");
        let calls: Vec<_> = app
            .calls()
            .into_iter()
            .filter(|call| call.field("user_name") == name)
            .collect();
        assert_eq!(calls.len(), 52);
        for (seq, call) in calls.iter().enumerate() {
            let body = call.json();
            assert_eq!(body["seq"], seq);
            let number = if seq == 51 {
                "close".to_owned()
            } else {
                seq.to_string()
            };
            assert_eq!(call.event_id(), format!("{}/{number}", call.conn_id()));
            match seq {
                0 => assert_eq!(call.action(), "open"),
                51 => assert_eq!(call.action(), "close"),
                _ => assert_eq!(body["data"][0], seq - 1),
            }
        }
    }
}

/// The next event of a connection is not sent before the last one was answered.
#[tokio::test]
async fn one_at_a_time_for_one_connection() {
    let mut app = App::start().await;
    let gate = Gate::closed();
    app.answer(|_| Answer::ok());
    let gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    app.answer_messages(Answer::ok().once_open(&gate));
    for n in 0..3 {
        client.send(&n.to_string()).await;
    }
    app.until_calls("message", 1).await;
    client.settle().await;
    assert_eq!(app.calls_of("message").len(), 1);
    gate.open();
    app.until_calls("message", 3).await;
}

/// Upstream posted every callback from one goroutine: a slow app stalled everyone.
#[tokio::test]
async fn a_handler_of_three_seconds_delays_no_other() {
    let app = App::start().await;
    app.answer(|call| match call.field("user_name") {
        "slow" if call.action() == "message" => Answer::ok().after(Duration::from_secs(3)),
        _ => Answer::ok(),
    });
    let gateway = Gateway::start(&app).await;
    let mut slow = Client::user(&gateway, "slow").await;
    let mut quick = Client::user(&gateway, "quick").await;
    app.until_calls("open", 2).await;
    let started = Instant::now();
    slow.send("\"slow\"").await;
    app.until_calls("message", 1).await;
    for n in 2..100 {
        quick.send("1").await;
        app.until_calls("message", n).await;
    }
    let took = started.elapsed();
    assert!(
        took < Duration::from_secs(3),
        "98 messages of another took {took:?}"
    );
    slow.send("\"after\"").await;
    let after = app.until("the slow one's next", |calls| {
        calls
            .iter()
            .find(|call| call.json()["data"] == "after")
            .map(|call| call.at)
    });
    assert!(after.await.duration_since(started) >= Duration::from_secs(3));
}

/// More handlers that hang than the pool keeps connections for quick answers.
#[tokio::test]
async fn two_hundred_hanging_handlers_delay_no_other() {
    let app = App::start().await;
    let gate = Gate::closed();
    let hang = gate.clone();
    app.answer(move |call| match call.field("user_name") {
        "slow" if call.action() == "message" => Answer::ok().once_open(&hang),
        _ => Answer::ok(),
    });
    let gateway = Gateway::start(&app).await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut client = Client::user(&gateway, "slow").await;
        client.send("1").await;
        slow.push(client);
    }
    app.until_calls("message", 200).await;
    let mut quick = Client::user(&gateway, "quick").await;
    for n in 1..=20 {
        quick.send("2").await;
        app.until_calls("message", 200 + n).await;
    }
    gate.open();
}

#[tokio::test]
async fn no_more_at_once_than_the_concurrency() {
    let app = App::start().await;
    let gate = Gate::closed();
    app.answer_messages(Answer::ok().once_open(&gate));
    let gateway = Launch::for_app(&app)
        .set("callback.concurrency", "3")
        .start()
        .await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        clients.push(Client::connect(&gateway).await);
    }
    app.until_calls("open", 6).await;
    for client in &mut clients {
        client.send("1").await;
        client.settle().await;
    }
    app.until_calls("message", 3).await;
    assert_eq!(app.calls_of("message").len(), 3);
    gate.open();
    app.until_calls("message", 6).await;
}

#[tokio::test]
async fn events_have_ids() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, open) = Client::open(&gateway, &mut app).await;
    client.send("1").await;
    app.next_of("message").await;
    client.close(1000, "").await;
    app.next_of("close").await;
    let id = open["conn_id"].as_str().unwrap();
    for (call, number) in app.calls().iter().zip(["0", "1", "close"]) {
        assert_eq!(call.event_id(), format!("{id}/{number}"));
        // Who is not traced stays so.
        assert_eq!(call.header("traceparent"), None);
    }
}

/// The edge's span is the parent of what the app does, and its word on sampling the last one.
#[tokio::test]
async fn a_clients_trace_goes_on_in_each_callback() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    let traced = [
        ("traceparent", parent),
        ("tracestate", "edge=1"),
        ("tracestate", "other=2"),
    ];
    let (mut client, _) = Client::open_with(&gateway, &mut app, "/ws", &traced).await;
    client.send("1").await;
    app.next_of("message").await;
    client.close(1000, "").await;
    app.next_of("close").await;
    assert_eq!(app.calls().len(), 3);
    for call in app.calls() {
        assert_eq!(call.header("traceparent"), Some(parent));
        assert_eq!(call.header("tracestate"), Some("edge=1,other=2"));
    }
}

#[tokio::test]
async fn messages_of_a_type_go_to_its_path_as_well() {
    let mut app = App::start().await;
    let types = "[{type: chat, url: /on/chat}, {type: relay/-/set, url: /on/relay}, {type: chat, url: /on/audit}, {type: relay/*, url: /on/relays}, {type: 'push/#', url: /on/push}]";
    let gateway = Launch::for_app(&app).set("types", types).start().await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    let cases = [
        (
            r#"{"event":"chat","type":"other"}"#,
            &["/ws/message", "/on/chat", "/on/audit"][..],
        ),
        (
            r#"{"type":"chat"}"#,
            &["/ws/message", "/on/chat", "/on/audit"],
        ),
        (
            r#"["relay/-/set", {"state": false}]"#,
            &["/ws/message", "/on/relay", "/on/relays"],
        ),
        (
            r#"{"event":"other","type":"chat"}"#,
            &["/ws/message", "/on/chat", "/on/audit"],
        ),
        (
            r#"["relay/i2c0-3b/set", {}]"#,
            &["/ws/message", "/on/relays"],
        ),
        (
            r#"{"event":"push/1","type":"relay/"}"#,
            &["/ws/message", "/on/relays", "/on/push"],
        ),
        (r#"["relay"]"#, &["/ws/message"]),
        (
            r#"{"event":5,"type":"chat"}"#,
            &["/ws/message", "/on/chat", "/on/audit"],
        ),
        (r#"{"data":{"type":"chat"}}"#, &["/ws/message"]),
        (r#""chat""#, &["/ws/message"]),
        ("chat", &["/ws/message"]),
    ];
    for (text, paths) in cases {
        client.send(text).await;
        let mut ids = BTreeSet::new();
        for path in paths {
            let call = app.next_of("message").await;
            assert_eq!(call.path, *path, "{text}");
            ids.insert((call.event_id().to_owned(), call.body));
        }
        assert_eq!(ids.len(), 1, "the same event to every path");
    }
}

/// Late is a failure after the fact: the app has it, so the connection goes on.
#[tokio::test]
async fn an_answer_later_than_the_timeout_is_logged_and_the_connection_goes_on() {
    let mut app = App::start().await;
    let gate = Gate::closed();
    let gateway = Launch::for_app(&app)
        .set("callback.timeout", "300ms")
        .start()
        .await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    app.answer_messages(Answer::action(&json!({"reply": "too late"})).once_open(&gate));
    client.send("1").await;
    app.next_of("message").await;
    client.send("2").await;
    app.next_of("message").await;
    app.answer(|_| Answer::ok());
    client.send("3").await;
    assert_eq!(app.next_of("message").await.json()["data"], 3);
    gate.open();
    client.settle().await;
    assert_eq!(app.calls_of("message").len(), 3, "nothing was sent twice");
    let timeouts = gateway
        .metric(r#"ws_gateway_callbacks_total{action="message",result="timeout"}"#)
        .await;
    assert!(timeouts >= 2);
    assert!(gateway.log().contains("did not answer within"));
}

#[tokio::test]
async fn error_answers_are_logged_and_the_connection_goes_on() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    app.answer(|_| Answer::status(500).with_body("oops"));
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    for status in [400, 401, 404, 410, 500, 502, 503] {
        app.answer_messages(Answer::status(status));
        client.send("1").await;
        app.next_of("message").await;
        client.settle().await;
    }
    app.answer(|_| Answer::ok());
    client.close(1000, "").await;
    app.next_of("close").await;
    assert_eq!(app.calls_of("message").len(), 7, "nothing was sent twice");
}

/// Existing apps answer anything.
#[tokio::test]
async fn a_plain_answer_is_ignored_whatever_it_says() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    let document = r#"{"reply":"no","close":{"code":4000}}"#;
    for content_type in [
        "application/json",
        "text/html",
        "application/vnd.olares.ws",
        "application/vnd.olares.ws+jsonx",
    ] {
        app.answer_messages(
            Answer::ok()
                .with_header("Content-Type", content_type)
                .with_body(document),
        );
        client.send("1").await;
        app.next_of("message").await;
    }
    app.answer_messages(Answer::ok().with_body(&"x".repeat(3 << 20)));
    client.send("1").await;
    app.next_of("message").await;
    app.answer_messages(
        Answer::status(500)
            .with_header("Content-Type", "application/vnd.olares.ws+json")
            .with_body(document),
    );
    client.send("1").await;
    app.next_of("message").await;
    client.send("last").await;
    app.next_of("message").await;
    client.settle().await;
    client.close(1000, "").await;
    assert_eq!(app.next_of("close").await.json()["code"], 1000);
}

/// A client that sends faster than the app answers is not read from; nothing is lost for it.
#[tokio::test]
async fn a_slow_app_holds_its_client_back() {
    let mut app = App::start().await;
    let gate = Gate::closed();
    let gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    app.answer_messages(Answer::ok().once_open(&gate));
    let text = format!("\"{}\"", "x".repeat(100 << 10));
    let mut accepted = 0;
    // 200 messages of 100 KiB are more than sockets and lane hold together.
    while accepted < 200 {
        match tokio::time::timeout(Duration::from_secs(1), client.send(&text)).await {
            Ok(()) => accepted += 1,
            Err(_) => break,
        }
    }
    assert!(accepted < 200, "it was never held back");
    assert!(gateway.memory("VmRSS") < 64 << 10);
    gate.open();
    app.until_calls("message", accepted).await;
    let sizes = app
        .calls_of("message")
        .iter()
        .all(|call| call.field("data").len() == 100 << 10);
    assert!(sizes);
}

//! What the app refuses, or answers without effect, is told: in the log, and to the client where
//! that is asked for.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::time::Duration;

use serde_json::json;
use support::{Answer, App, Call, Client, Gateway, Launch, eventually};

/// The line of the log that has all of these words.
async fn line(gateway: &Gateway, words: &[&str]) -> String {
    let found = async || {
        let log = gateway.log();
        let mut lines = log.lines();
        let line = lines.find(|line| words.iter().all(|word| line.contains(word)));
        line.map(str::to_owned)
    };
    eventually(&format!("a line with {words:?}"), found).await
}

#[tokio::test]
async fn a_redirect_to_the_same_app_is_followed_with_the_body() {
    let mut app = App::start().await;
    let here = app.port();
    app.answer(move |call: &Call| match call.path.as_str() {
        "/ws/message" => Answer::status(307)
            .with_header("Location", &format!("http://localhost:{here}/ws/message/")),
        "/ws/message/" => Answer::status(308).with_header("Location", "/other?key=secret"),
        _ => Answer::action(&json!({"reply": call.json()["seq"]})),
    });
    let gateway = Gateway::start(&app).await;
    let mut client = Client::connect(&gateway).await;
    assert_eq!(client.json().await, 0);
    client.send("\"hello\"").await;
    assert_eq!(client.json().await, 1);
    for _ in 0..2 {
        let calls = [app.next().await, app.next().await, app.next().await];
        assert_eq!(calls[2].path, "/other?key=secret");
        assert!(calls.iter().all(|call| call.method == "POST"));
        assert!(calls.iter().all(|call| call.body == calls[0].body));
        assert!(
            calls
                .iter()
                .all(|call| call.event_id() == calls[0].event_id())
        );
    }
    let words = [
        "sends callbacks elsewhere",
        "status=307",
        "location=\"/ws/message/\"",
    ];
    line(&gateway, &words).await;
    let log = gateway.log();
    assert_eq!(log.matches("sends callbacks elsewhere").count(), 1, "{log}");
    assert!(!log.contains("secret"), "{log}");
}

#[tokio::test]
async fn a_redirect_that_never_ends_counts_as_an_error() {
    let app = App::start().await;
    app.answer(|_| Answer::status(308).with_header("Location", "/ws/message"));
    let gateway = Gateway::start(&app).await;
    let mut client = Client::connect(&gateway).await;
    client.settle().await;
    line(
        &gateway,
        &["with an error", "status=308", "location=\"/ws/message\""],
    )
    .await;
    assert_eq!(app.calls_of("open").len(), 6);
    app.answer(|_| Answer::ok());
    client.send("1").await;
    app.until_calls("message", 1).await;
}

#[tokio::test]
async fn any_other_redirect_is_told_at_once_with_its_location() {
    for (status, location, shown, hint) in [
        (
            301,
            "/ws/message/",
            "/ws/message/",
            "set url to where the app really is",
        ),
        (
            302,
            "/login?next=secret",
            "/login",
            "set url to where the app really is",
        ),
        (
            301,
            "https://localhost/ws/message?secret",
            "https://localhost/ws/message",
            "SECURE_REDIRECT_EXEMPT",
        ),
        (
            307,
            "http://me:secret@elsewhere.example/",
            "http://elsewhere.example/",
            "same host and port",
        ),
    ] {
        let app = App::start().await;
        app.answer(move |_| Answer::status(status).with_header("Location", location));
        let gateway = Gateway::start(&app).await;
        let mut client = Client::connect(&gateway).await;
        let status = format!("status={status}");
        let words = [
            "action=\"open\"",
            &status,
            &format!("location=\"{shown}\""),
            hint,
        ];
        let line = line(&gateway, &words).await;
        let url = format!("url=\"http://localhost:{}/ws/message\"", app.port());
        assert!(line.contains(&url), "{line}");
        assert!(!gateway.log().contains("secret"), "{line}");
        client.settle().await;
    }
}

/// Behind `expose: entrance` nobody outside may post to the path of callbacks, and to others
/// everybody may.
#[tokio::test]
async fn behind_the_entrance_only_a_slash_is_followed() {
    for (location, paths) in [
        ("/ws/message/", &["/ws/message", "/ws/message/"][..]),
        ("/open/to/all", &["/ws/message"]),
    ] {
        let mut app = App::start().await;
        app.answer(move |call: &Call| match call.path.as_str() {
            "/ws/message" => Answer::status(308).with_header("Location", location),
            _ => Answer::ok(),
        });
        let gateway = Launch::for_app(&app)
            .arg("--upstream-port", &app.port().to_string())
            .arg("--pod-ip", "127.0.0.1")
            .start()
            .await;
        let _client = Client::connect(&gateway).await;
        line(&gateway, &["status=308", location]).await;
        for path in paths {
            assert_eq!(app.next_of("open").await.path, *path);
        }
        assert_eq!(app.calls_of("open").len(), paths.len());
    }
}

#[tokio::test]
async fn a_429_with_retry_after_is_tried_again_in_order() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    app.answer_messages(Answer::status(429).with_header("Retry-After", "0"));
    client.send("1").await;
    client.send("2").await;
    let first = app.next_of("message").await;
    app.answer(|_| Answer::ok());
    app.until("the second message", |calls| {
        calls.iter().find(|call| call.json()["data"] == 2).map(drop)
    })
    .await;
    let all = app.calls_of("message");
    let (last, before) = all.split_last().unwrap();
    assert!(
        before.len() >= 2
            && before
                .iter()
                .all(|call| call.event_id() == first.event_id())
    );
    assert_eq!(last.json()["data"], 2);
}

#[tokio::test]
async fn a_429_that_does_not_end_is_told_with_1013() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("callback.retryFor", "300ms")
        .start()
        .await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    app.answer_messages(Answer::status(429).with_header("Retry-After", "60"));
    client.send("1").await;
    assert_eq!(client.closed().await.0, 1013);
    line(&gateway, &["callback not delivered", "429", "/ws/message"]).await;
}

#[tokio::test]
async fn an_open_that_is_answered_401_or_403_ends_the_connection() {
    for (status, code, reason) in [
        (401, 4401, "the app asks for a login"),
        (403, 4403, "forbidden by the app"),
    ] {
        let mut app = App::start().await;
        app.answer_opens(Answer::status(status).with_body("no\nmore"));
        let gateway = Gateway::start(&app).await;
        let mut client = Client::connect(&gateway).await;
        assert_eq!(client.closed().await, (code, reason.to_owned()));
        app.next_of("open").await;
        let close = app.next_of("close").await.json();
        assert_eq!(
            (&close["code"], &close["reason"]),
            (&json!(code), &json!(reason))
        );
        let line = line(&gateway, &["with an error", "answer=\"no\""]).await;
        assert!(line.contains("exempt url"), "{line}");
        let closed = r#"ws_gateway_connections_closed_total{reason="refused"}"#;
        assert_eq!(gateway.metric(closed).await, 1);
    }
}

#[tokio::test]
async fn what_a_client_hears_of_a_refused_message_is_a_setting() {
    for (on_error, status, code) in [
        ("ignore", 413, None),
        ("tell", 413, None),
        ("close", 413, Some((1009, "message too big for the app"))),
        ("close", 500, Some((1011, "refused by the app"))),
        ("close", 403, Some((1011, "refused by the app"))),
    ] {
        let mut app = App::start().await;
        let gateway = Launch::for_app(&app)
            .set("callback.onError", on_error)
            .start()
            .await;
        let (mut client, _) = Client::open(&gateway, &mut app).await;
        app.answer_messages(Answer::status(status).with_body("too much"));
        client.send("1").await;
        let words = ["action=\"message\"", "answer=\"too much\"", "hint="];
        line(&gateway, &words).await;
        if let Some((code, reason)) = code {
            assert_eq!(client.closed().await, (code, reason.to_owned()));
            continue;
        }
        if on_error == "tell" {
            let told = json!({"type": "error", "payload": {"status": status}});
            assert_eq!(client.json().await, told);
        }
        client.settle().await;
        assert_eq!(app.next_of("message").await.json()["data"], 1);
        client.close(1000, "").await;
        assert_eq!(app.next_of("close").await.json()["code"], 1000);
    }
}

#[tokio::test]
async fn a_hint_for_each_status() {
    for (status, hint) in [
        (400, "ALLOWED_HOSTS"),
        (403, "CSRF"),
        (404, "look at url"),
        (405, "POST"),
        (413, "limits.message"),
        (419, "CSRF"),
        (500, "the app's own log"),
    ] {
        let app = App::start().await;
        let body = format!("\n line one {} \x1b[2J\nline two", "x".repeat(200));
        app.answer(move |_| Answer::status(status).with_body(&body));
        let gateway = Gateway::start(&app).await;
        let _client = Client::connect(&gateway).await;
        let line = line(&gateway, &[&format!("status={status}"), hint]).await;
        assert!(
            line.contains("line one xxx") && line.contains('…'),
            "{line}"
        );
        assert!(!line.contains("line two") && !line.contains("2J"), "{line}");
    }
}

/// What looks as if it were to act and does not is told of once for each path.
#[tokio::test]
async fn an_answer_that_only_looks_as_if_it_acted_is_told_of_once() {
    for (content_type, body, words) in [
        (
            "application/json",
            r#"{"ok": true, "reply": {"n": "secret"}}"#,
            "application/vnd.olares.ws+json",
        ),
        ("text/html", "<!doctype html><title>Log in", "is a page"),
    ] {
        let mut app = App::start().await;
        let answer = Answer::ok()
            .with_header("Content-Type", content_type)
            .with_body(body);
        app.answer(move |_| answer.clone());
        let gateway = Gateway::start(&app).await;
        let (mut client, _) = Client::open(&gateway, &mut app).await;
        for _ in 0..3 {
            client.send("1").await;
            app.next_of("message").await;
        }
        tokio::time::timeout(Duration::from_secs(30), client.settle())
            .await
            .unwrap();
        line(&gateway, &[words, "/ws/message"]).await;
        let log = gateway.log();
        assert_eq!(log.matches(words).count(), 1, "{log}");
        assert!(!log.contains("secret"), "{log}");
    }
}

#[tokio::test]
async fn a_plain_answer_is_not_told_of() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    for body in [
        "",
        "ok",
        r#"{"ok":true}"#,
        r#"{"a":{"reply":1}}"#,
        "[]",
        "null",
    ] {
        app.answer_messages(Answer::ok().with_body(body));
        client.send("1").await;
        app.next_of("message").await;
    }
    client.settle().await;
    assert!(!gateway.log().contains("WARN"), "{}", gateway.log());
}

/// The app has had the event: what cannot be read of its answer is told of, and costs nobody the
/// connection.
#[tokio::test]
async fn an_answer_that_is_no_http_is_told_of() {
    for odd in [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let mut app = App::start().await;
        app.answer_messages(Answer::raw(odd));
        let gateway = Gateway::start(&app).await;
        let (mut client, _) = Client::open(&gateway, &mut app).await;
        client.send("1").await;
        client.send("2").await;
        app.next_of("message").await;
        assert_eq!(app.next_of("message").await.json()["data"], 2);
        client.settle().await;
        let log = support::eventually("a line", async || {
            let log = gateway.log();
            log.contains("is it the right port").then_some(log)
        });
        let log = log.await;
        assert!(log.contains("the app's answer cannot be read"), "{log}");
        let counted = "ws_gateway_callbacks_total{action=\"message\",result=\"unreadable\"}";
        assert_eq!(gateway.metric(counted).await, 2, "{odd}");
    }
}

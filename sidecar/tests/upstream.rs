//! What the original Olares gateway does: kept where its apps rely on it, different on purpose
//! where the table of differences says so, and never again where it was wrong.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::time::{Duration, Instant};

use serde_json::json;
use support::{Answer, App, Client, Gate, Gateway, Launch, Raw, http};

// === kept ===

/// `WS_PORT` and `WS_URL` are all that the original is given.
#[tokio::test]
async fn two_variables_are_enough() {
    let mut app = App::start().await;
    let launch = Launch::new()
        .env("WS_PORT", &app.port().to_string())
        .env("WS_URL", "/websocket/message");
    let gateway = launch.start().await;
    let _client = Client::connect(&gateway).await;
    assert_eq!(app.next_of("open").await.path, "/websocket/message");
}

#[tokio::test]
async fn the_fields_of_the_page_are_there_with_their_types() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let headers = [("X-BFL-USER", "ann"), ("Cookie", "auth_token=t")];
    let (mut client, open) = Client::open_with(&gateway, &mut app, "/ws", &headers).await;
    client.send(r#"{"event":"e","data":{}}"#).await;
    let message = app.next_of("message").await.json();
    client.close(1000, "").await;
    let close = app.next_of("close").await.json();
    for (body, action) in [(&open, "open"), (&message, "message"), (&close, "close")] {
        assert_eq!(body["action"], action);
        assert_eq!(body["user_name"], "ann");
        assert_eq!(
            (&body["token"], &body["access_public"]),
            (&json!("t"), &json!(false))
        );
        assert!(body["data"].is_object() && body["conn_id"].is_string());
    }
    assert_eq!(
        (&open["data"], &close["data"]),
        (&json!({}), &json!({})),
        "never null"
    );
}

/// Existing apps fill in what they do not use with empty values.
#[tokio::test]
async fn a_broadcast_to_users_with_an_empty_conn_id() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, _) =
        Client::open_with(&gateway, &mut app, "/ws", &[("X-BFL-USER", "ann")]).await;
    let body = json!({"payload": {"a": 1}, "conn_id": "", "users": ["ann"], "tokens": null, "users_access_type": 0});
    let answer = gateway.try_admin("send", &body.to_string()).await.json();
    assert_eq!(
        (&answer["code"], &answer["message"]),
        (&json!(0), &json!("success"))
    );
    assert_eq!(client.text().await, r#"{"a":1}"#);
}

/// The original's clients send no Content-Type, and neither do some apps.
#[tokio::test]
async fn an_admin_call_needs_no_content_type() {
    let app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let answer = http::call(
        gateway.clients,
        "POST",
        "/tapr/ws/conn/close",
        &[],
        br#"{"users":["ann"]}"#,
    )
    .await;
    assert_eq!(answer.status, 200);
}

// === different on purpose ===

/// Original: 200 with `"code":400`.
#[tokio::test]
async fn difference_errors_carry_their_status() {
    let app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let answer = gateway.try_admin("send", "{").await;
    assert_eq!(
        (answer.status, answer.json()["code"].clone()),
        (400, json!(400))
    );
}

/// Original: `conns` held the private ones only.
#[tokio::test]
async fn difference_conns_lists_all_and_public_conns_the_public_ones_again() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let ann = ("X-BFL-USER", "ann");
    let _private = Client::open_with(
        &gateway,
        &mut app,
        "/ws",
        &[ann, ("Cookie", "auth_token=t")],
    )
    .await;
    let (_public, open) = Client::open_with(&gateway, &mut app, "/ws", &[ann]).await;
    let user = gateway.list("").await["data"][0].clone();
    assert_eq!(
        (&user["conns_number"], &user["public_conns_number"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(user["conns"].as_array().unwrap().len(), 2);
    assert_eq!(user["public_conns"][0]["id"], open["conn_id"]);
}

/// Original: only its own pings counted.
#[tokio::test]
async fn difference_any_frame_is_life() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("heartbeat.timeout", "1500ms")
        .start()
        .await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(2) {
        client.send("1").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(app.calls_of("close").is_empty());
}

/// Original: 2 s, then the message was gone and the next one went out.
#[tokio::test]
async fn difference_a_callback_may_take_longer_than_two_seconds() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    app.answer_messages(
        Answer::action(&json!({"reply": "worth the wait"})).after(Duration::from_millis(2500)),
    );
    client.send("1").await;
    assert_eq!(client.text().await, "\"worth the wait\"");
}

/// Original: a small number, as text.
#[tokio::test]
async fn difference_a_connections_id_is_a_uuid() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (_client, open) = Client::open(&gateway, &mut app).await;
    let id = open["conn_id"].as_str().unwrap();
    assert_eq!(uuid::Uuid::parse_str(id).unwrap().to_string(), id);
}

/// Original: `127.0.0.1:PORT`.
#[tokio::test]
async fn difference_callbacks_say_localhost() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let _client = Client::connect(&gateway).await;
    let host = format!("localhost:{}", app.port());
    assert_eq!(
        app.next_of("open").await.header("host"),
        Some(host.as_str())
    );
}

/// Original: whatever the letters' case.
#[tokio::test]
async fn difference_a_path_in_other_letters_is_another() {
    let app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let page = http::upgrade(gateway.clients, "/WS", &[]).await;
    let call = http::get(gateway.clients, "/TAPR/ws/conn/list").await;
    assert_eq!((page.status, call.status), (404, 404));
}

/// Original: the client hears `null`.
#[tokio::test]
async fn difference_a_send_without_payload_is_refused() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, open) = Client::open(&gateway, &mut app).await;
    let misspelt = json!({"conn_id": open["conn_id"], "data": {"a": 1}}).to_string();
    let without = json!({"conn_id": open["conn_id"]}).to_string();
    for (body, words) in [
        (misspelt, "did you mean payload?"),
        (without, "payload is missing"),
    ] {
        let refused = gateway.try_admin("send", &body).await;
        assert_eq!(refused.status, 400);
        assert!(refused.text().contains(words), "{}", refused.text());
    }
    client.has_heard_nothing().await;
}

// === never again ===

/// One goroutine posted every callback.
#[tokio::test]
async fn upstream_bug_a_slow_app_stalled_everyone() {
    let mut app = App::start().await;
    let gate = Gate::closed();
    let hold = gate.clone();
    app.answer(move |call| match call.field("user_name") {
        "slow" => Answer::ok().once_open(&hold),
        _ => Answer::ok(),
    });
    let gateway = Gateway::start(&app).await;
    let _slow = Client::open_with(&gateway, &mut app, "/ws", &[("X-BFL-USER", "slow")]).await;
    let (mut quick, _) = Client::open(&gateway, &mut app).await;
    quick.send("1").await;
    app.next_of("message").await;
    gate.open();
}

/// One writer served every client.
#[tokio::test]
async fn upstream_bug_a_slow_client_stalled_everyone() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let _stalled = Raw::open_narrow(&gateway, &[]).await;
    app.next_of("open").await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    let text = "x".repeat(100 << 10);
    for _ in 0..50 {
        gateway
            .send(&json!({"payload": text, "all": true, "encoding": "text"}))
            .await;
        assert_eq!(client.text().await, text);
    }
}

/// Close worked only after the client's next frame.
#[tokio::test]
async fn upstream_bug_close_waited_for_the_client() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, open) = Client::open(&gateway, &mut app).await;
    gateway.close(&json!({"conns": [open["conn_id"]]})).await;
    app.next_of("close").await;
    assert_eq!(client.close_code().await, 1000);
}

#[tokio::test]
async fn upstream_bug_arrays_text_and_binary_arrived_as_empty_objects() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    client
        .send(r#"["relay/i2c0-3b/set", {"state": false}]"#)
        .await;
    assert_eq!(
        app.next_of("message").await.json()["data"],
        json!(["relay/i2c0-3b/set", {"state": false}])
    );
    client.send("Hello server!").await;
    assert_eq!(app.next_of("message").await.field("data"), "Hello server!");
    client.send_binary(b"\x01").await;
    assert_eq!(app.next_of("message").await.field("data"), "AQ==");
}

#[tokio::test]
async fn upstream_bug_big_integers_were_rounded() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, open) = Client::open(&gateway, &mut app).await;
    client.send(r#"{"id":9007199254740993}"#).await;
    assert!(
        app.next_of("message")
            .await
            .text()
            .starts_with(r#"{"data":{"id":9007199254740993},"#)
    );
    let body = format!(
        r#"{{"conn_id":{},"payload":{{"id":9007199254740993}}}}"#,
        open["conn_id"]
    );
    gateway.try_admin("send", &body).await;
    assert_eq!(client.text().await, r#"{"id":9007199254740993}"#);
}

#[tokio::test]
async fn upstream_bug_close_without_a_selector_closed_everybody() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    for body in ["{}", r#"{"users_access_type":2}"#] {
        assert_eq!(gateway.try_admin("close", body).await.status, 400, "{body}");
    }
    for body in [
        r#"{"conns":[],"users":[]}"#,
        r#"{"conns":null,"users":null}"#,
        r#"{"all":false}"#,
    ] {
        let closed = gateway.try_admin("close", body).await;
        assert_eq!(closed.json()["data"]["matched"], 0, "{body}");
    }
    client.settle().await;
}

/// No size limit and no close code for what breaks the protocol.
#[tokio::test]
async fn upstream_bug_no_limits_and_no_close_codes() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    client.send(&"x".repeat((1 << 20) + 1)).await;
    assert_eq!(client.close_code().await, 1009);
    let mut raw = Raw::open(&gateway).await;
    raw.send(&[0x81, 0]).await;
    assert_eq!(raw.close_code().await, Some(1002));
}

#[tokio::test]
async fn upstream_bug_no_drain_on_sigterm() {
    let mut app = App::start().await;
    let mut gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    gateway.terminate();
    assert_eq!(client.close_code().await, 1001);
    app.next_of("close").await;
    assert!(gateway.exited().await.success());
}

/// The rest of that list: the admin API on all addresses is in guards.rs, tokens and bodies in
/// the log are in secrets.rs; and it needed a kubeconfig to start.
#[tokio::test]
async fn upstream_bug_a_kubeconfig_was_needed_to_start() {
    let gateway = Launch::new().env("HOME", "/nonexistent").start().await;
    assert_eq!(http::get(gateway.ops, "/readyz").await.status, 200);
}

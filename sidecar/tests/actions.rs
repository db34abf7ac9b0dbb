//! Answers that act: of type `application/vnd.olares.ws+json`.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use serde_json::json;
use support::{Answer, App, Client, Gateway, Launch};

#[tokio::test]
async fn reply_goes_to_the_client_to_the_byte() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    let exact = r#"{ "b":12345678901234567890123, "a" : [1.0, null] }"#;
    let answer = |body: &str| {
        Answer::ok()
            .with_header("Content-Type", "application/vnd.olares.ws+json")
            .with_body(body)
    };
    app.answer_messages(answer(&format!(r#"{{"reply":{exact}}}"#)));
    client.send("1").await;
    assert_eq!(client.text().await, exact);
    for (reply, expected) in [
        ("\"text\"", "\"text\""),
        ("0", "0"),
        ("false", "false"),
        ("[]", "[]"),
    ] {
        app.answer_messages(answer(&format!(r#"{{"reply":{reply}}}"#)));
        client.send("1").await;
        assert_eq!(client.text().await, expected);
    }
    let spelled = Answer::ok().with_header(
        "content-type",
        "Application/VND.olares.ws+JSON; charset=utf-8",
    );
    app.answer_messages(spelled.with_body(r#"{"reply":1}"#));
    client.send("1").await;
    assert_eq!(client.text().await, "1");
}

/// Midway returns a value, Bodhi calls `msg.reply`: the client hears of it in order.
#[tokio::test]
async fn replies_keep_the_order_of_the_messages() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    app.answer(|call| Answer::action(&json!({"reply": call.json()["data"]})));
    for n in 0..100 {
        client.send(&n.to_string()).await;
    }
    for n in 0..100 {
        assert_eq!(client.text().await, n.to_string());
    }
}

#[tokio::test]
async fn error_is_told_to_the_client_and_only_on_open_closes() {
    let mut app = App::start().await;
    app.answer(|_| Answer::action(&json!({"error": {"reason": "no"}})));
    let gateway = Gateway::start(&app).await;
    let mut refused = Client::connect(&gateway).await;
    assert_eq!(
        refused.text().await,
        r#"{"type":"error","payload":{"reason":"no"}}"#
    );
    assert_eq!(
        refused.closed().await,
        (1011, "refused by the app".to_owned())
    );
    app.next_of("open").await;
    assert_eq!(app.next_of("close").await.json()["code"], 1011);

    app.answer_messages(Answer::action(&json!({"error": "no"})));
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    client.send("1").await;
    assert_eq!(client.text().await, r#"{"type":"error","payload":"no"}"#);
    client.settle().await;
}

#[tokio::test]
async fn close_with_code_and_reason() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    app.answer_messages(Answer::action(
        &json!({"reply": "last", "close": {"code": 4321, "reason": "enough"}}),
    ));
    client.send("1").await;
    assert_eq!(
        client.text().await,
        "\"last\"",
        "the reply comes before the close"
    );
    assert_eq!(client.closed().await, (4321, "enough".to_owned()));
    app.next_of("message").await;
    let close = app.next_of("close").await.json();
    assert_eq!(
        (&close["code"], &close["reason"]),
        (&json!(4321), &json!("enough"))
    );
}

#[tokio::test]
async fn close_on_open_turns_the_client_away() {
    let mut app = App::start().await;
    app.answer_opens(Answer::action(&json!({"close": {}})));
    let gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    assert_eq!(client.closed().await, (1000, String::new()));
    assert_eq!(app.next_of("close").await.json()["code"], 1000);
}

/// Midway's `@WSBroadCast` means everybody.
#[tokio::test]
async fn broadcast_to_everyone_or_to_those_selected() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let mut ann = Client::open_with(&gateway, &mut app, "/ws", &[("X-BFL-USER", "ann")])
        .await
        .0;
    let (mut bob, open) =
        Client::open_with(&gateway, &mut app, "/ws", &[("X-BFL-USER", "bob")]).await;
    app.answer_messages(Answer::action(
        &json!({"broadcast": {"payload": {"to": "all"}}}),
    ));
    ann.send("1").await;
    for client in [&mut ann, &mut bob] {
        assert_eq!(client.text().await, r#"{"to":"all"}"#);
    }
    app.answer_messages(Answer::action(
        &json!({"broadcast": {"payload": "raw", "encoding": "text", "users": ["bob"]}}),
    ));
    ann.send("1").await;
    assert_eq!(bob.text().await, "raw");
    app.answer_messages(Answer::action(&json!({"broadcast": {"payload": "AAE=", "encoding": "base64", "except": [open["conn_id"]]}})));
    bob.send("1").await;
    assert_eq!(ann.binary().await, [0, 1]);
    bob.settle().await;
    ann.settle().await;
}

/// The connection is registered before the app hears of it, so it can greet at once.
#[tokio::test]
async fn the_app_can_greet_from_within_its_open_handler() {
    let mut app = App::start().await;
    let gate = support::Gate::closed();
    app.answer_opens(Answer::action(&json!({"reply": "second"})).once_open(&gate));
    let gateway = Gateway::start(&app).await;
    let (mut client, open) = Client::open(&gateway, &mut app).await;
    let sent = gateway
        .send(&json!({"payload": "first", "conn_id": open["conn_id"]}))
        .await;
    assert_eq!(sent["queued"], 1);
    gate.open();
    assert_eq!(client.text().await, "\"first\"");
    assert_eq!(client.text().await, "\"second\"");
}

#[tokio::test]
async fn the_answers_of_all_paths_act() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("types", "[{type: t, url: /typed}]")
        .start()
        .await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    app.answer(|call| Answer::action(&json!({"reply": call.path})));
    client.send(r#"{"type":"t"}"#).await;
    assert_eq!(client.text().await, "\"/ws/message\"");
    assert_eq!(client.text().await, "\"/typed\"");
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_ignored_and_logged() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    let of_type = Answer::ok().with_header("Content-Type", "application/vnd.olares.ws+json");
    for body in [
        "",
        "{",
        "[]",
        "\"text\"",
        r#"{"close":{"code":1005}}"#,
        r#"{"close":{"code":"x"}}"#,
        r#"{"broadcast":5}"#,
        r#"{"broadcast":{}}"#,
        r#"{"reply":"not even this","broadcast":{"payload":1,"users":"ann"}}"#,
        r#"{"unknown":1}"#,
    ] {
        app.answer_messages(of_type.clone().with_body(body));
        client.send("1").await;
        app.next_of("message").await;
        client.settle().await;
    }
    // One line in a while: an app that errs errs with each answer.
    let log = gateway.log();
    assert!(log.contains("the app's action answer is ignored"), "{log}");
}

#[tokio::test]
async fn a_broadcast_reaches_nobody_that_it_does_not_name() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let cookie = [("Cookie", "auth_token=t")];
    let (mut private, _) = Client::open_with(&gateway, &mut app, "/ws", &cookie).await;
    let (mut public, _) = Client::open(&gateway, &mut app).await;
    for narrowed in [
        json!({"payload": "private", "users_access_type": 1}),
        json!({"payload": "nobody", "users": []}),
        json!({"payload": "nobody", "users": null}),
        json!({"payload": "nobody", "conns": []}),
        json!({"payload": "nobody", "all": false}),
    ] {
        app.answer_messages(Answer::action(&json!({"broadcast": narrowed})));
        private.send("1").await;
        app.next_of("message").await;
    }
    app.answer_messages(Answer::action(
        &json!({"broadcast": {"payload": "everybody"}}),
    ));
    private.send("1").await;
    assert_eq!(private.text().await, "\"private\"");
    assert_eq!(private.text().await, "\"everybody\"");
    assert_eq!(public.text().await, "\"everybody\"");
}

/// As long as an admin request may be, and not longer: `limits.adminBody`.
#[tokio::test]
async fn an_answer_has_the_size_of_an_admin_request() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("limits.adminBody", "1Ki")
        .start()
        .await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    app.answer(|call| match call.json()["data"].as_u64() {
        Some(1) => Answer::action(&json!({"reply": "x".repeat(2000)})),
        _ => Answer::action(&json!({"reply": "short"})),
    });
    client.send("1").await;
    client.send("2").await;
    assert_eq!(client.text().await, "\"short\"");

    let mut app = App::start().await;
    let wide = Launch::for_app(&app)
        .set("limits.adminBody", "32Mi")
        .start()
        .await;
    let (mut client, _) = Client::open(&wide, &mut app).await;
    let spaces = " ".repeat(17 << 20);
    app.answer_messages(
        Answer::ok()
            .with_header("Content-Type", "application/vnd.olares.ws+json")
            .with_body(&format!("{spaces}{{\"reply\": 1}}")),
    );
    client.send("1").await;
    assert_eq!(client.text().await, "1");
}

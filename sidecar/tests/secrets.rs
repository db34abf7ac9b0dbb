//! No token, cookie, query or body is ever logged, however much is logged.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use serde_json::json;
use support::{Answer, App, Client, Gateway, Launch, Raw, http, raw};

/// Everything secret that goes through the gateway bears this mark.
const MARK: &str = "hush";

#[tokio::test]
async fn nothing_secret_is_logged_at_the_finest_level() {
    let mut app = App::start().await;
    let journal = tempfile::tempdir().unwrap();
    let secrets = tempfile::tempdir().unwrap();
    let secret = |name: &str, text: &str| {
        let file = secrets.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let launch = Launch::for_app(&app)
        .env("WS_LOG", "trace")
        .env("WS_ADMIN_TOKEN_FILE", &secret("token", "hush-admin\n"))
        .env(
            "WS_CALLBACK_SIGNING_FILE",
            &secret("keys", "hush-a-key-of-twenty-four-bytes\n"),
        )
        .env(
            "WS_IDENTITY_JWT_SECRET",
            "hush-jwt-secret-that-is-long-enough",
        )
        .set("auth", "/ws/auth")
        .set("limits.message", "1000")
        .set("callback.retryFor", "200ms")
        .set("callback.timeout", "500ms")
        .journal(journal.path());
    let mut gateway = launch.start().await;
    let headers = [
        (
            "Cookie",
            "auth_token=hush-token; ID_TOKEN=hush-jwt; other=hush-other",
        ),
        ("Authorization", "Basic aHVzaDpodXNo"),
        ("X-Api-Key", "hush-key"),
        ("Sec-WebSocket-Protocol", "hush-protocol"),
    ];
    let mut client = Client::with(&gateway, "/ws?token=hush-query", &headers).await;
    app.next().await;
    let id = app.next_of("open").await.conn_id().to_owned();

    talk(&mut app, &mut client).await;
    manage(&gateway, &id).await;
    break_rules(&gateway, &headers).await;
    app.answer(|call| {
        if call.path.starts_with("/ws/auth") {
            Answer::status(401).with_body("hush")
        } else {
            Answer::ok()
        }
    });
    assert_eq!(
        http::upgrade(gateway.clients, "/ws?token=hush", &headers)
            .await
            .status,
        401
    );
    app.kill().await;
    http::upgrade(gateway.clients, "/ws?token=hush", &headers).await;
    client.send("\"hush, lost\"").await;
    client.closed().await;
    gateway.terminate();
    assert!(gateway.exited().await.success());
    app.answer(|_| Answer::ok());
    app.start_again().await;
    let again = gateway.launch().start().await;

    for log in [gateway.log(), again.log()] {
        assert!(log.contains("ready"), "{log}");
        let lines: Vec<_> = log
            .lines()
            .filter(|line| {
                line.to_ascii_lowercase().contains(MARK) || line.contains("aHVzaDpodXNo")
            })
            .collect();
        assert!(lines.is_empty(), "{lines:#?}");
    }
    assert!(
        gateway.log().lines().count() > 20,
        "trace says more than this:\n{}",
        gateway.log()
    );
    let metrics = http::get(again.ops, "/metrics").await.text();
    assert!(!metrics.contains(MARK), "{metrics}");
}

/// Messages, and answers that act, fail, or make no sense.
async fn talk(app: &mut App, client: &mut Client) {
    let of_type = Answer::ok().with_header("Content-Type", "application/vnd.olares.ws+json");
    let bodies = [
        "\"hush\"",
        "hush",
        "[\"hush\"]",
        r#"{"close":{"code":"hush"}}"#,
        r#"{"hush":"#,
        r#"{"reply":"hush"}"#,
        r#"{"user_name":["hush"]}"#,
        r#"{"broadcast":"hush"}"#,
    ];
    for body in bodies {
        app.answer_messages(of_type.clone().with_body(body));
        client.send("\"hush message\"").await;
        app.next_of("message").await;
    }
    for answer in [
        // Its first line is told, and no more.
        Answer::status(500).with_body("sorry\nhush"),
        Answer::status(302).with_header("Location", "/login?next=hush"),
        Answer::ok().after(std::time::Duration::from_secs(1)),
    ] {
        app.answer_messages(answer);
        client.send("hush, no JSON").await;
        client.send_binary(b"hush").await;
        app.next_of("message").await;
        app.next_of("message").await;
    }
    app.answer(|_| Answer::ok());
}

/// Admin calls, good, bad and refused.
async fn manage(gateway: &Gateway, id: &str) {
    let bearer = ("Authorization", "Bearer hush-admin");
    let path = "/tapr/ws/conn/send";
    for body in [
        json!({"payload": "hush", "conn_id": id}).to_string(),
        r#"{"users":"hush"}"#.to_owned(),
        "\"hush\"".to_owned(),
        "hush".to_owned(),
    ] {
        http::call(gateway.clients, "POST", path, &[bearer], body.as_bytes()).await;
        http::call(
            gateway.clients,
            "POST",
            path,
            &[("Authorization", "Bearer hush-guess")],
            body.as_bytes(),
        )
        .await;
        http::call(
            gateway.clients,
            "POST",
            path,
            &[bearer, ("Host", "hush.example")],
            body.as_bytes(),
        )
        .await;
        http::call(
            gateway.remote_admin,
            "POST",
            path,
            &[bearer],
            body.as_bytes(),
        )
        .await;
    }
    http::get(
        gateway.clients,
        "/tapr/ws/conn/list?user=hush&continue=hush",
    )
    .await;
    http::get(gateway.clients, "/hush?hush=hush").await;
}

/// Clients that break the rules.
async fn break_rules(gateway: &Gateway, headers: &[(&str, &str)]) {
    for bytes in [
        raw::frame(raw::TEXT, b"hush\xff"),
        raw::frame(raw::TEXT, "hush".repeat(500).as_bytes()),
        b"hush".to_vec(),
        raw::frame(raw::CLOSE, &raw::close_body(4000, b"hush")),
    ] {
        let mut raw = Raw::open_with(gateway, headers).await;
        raw.send(&bytes).await;
        raw.close_code().await;
        raw.ended().await;
    }
    for garbage in [
        "hush\r\n\r\n",
        "GET /hush HTTP/9\r\n\r\n",
        "GET /ws HTTP/1.1\r\nhush\r\n\r\n",
        "POST /ws?hush HTTP/1.1\r\nContent-Length: hush\r\n\r\n",
    ] {
        let mut raw = Raw::dial(gateway.clients).await;
        raw.send_what_goes(garbage.as_bytes()).await;
        let _ = http::read_response(&mut raw.stream, &mut Vec::new()).await;
    }
}

/// What a person reads of the settings does not show them either.
#[tokio::test]
async fn help_and_errors_show_no_secret() {
    for args in [
        &["run", "--help"][..],
        &["run", "--heartbeat-timeout=wrong"],
        &["run", "--port=8888"],
    ] {
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_ws-gateway"))
            .args(args)
            .env("WS_ADMIN_TOKEN", "hush-admin")
            .env("WS_IDENTITY_JWT_SECRET", "hush-jwt")
            .env(
                "WS_OPTIONS",
                r#"{"identity":{"jwt":{"secret":"hush-options"}}}"#,
            )
            .output()
            .await
            .unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!text.is_empty() && !text.contains(MARK), "{args:?}: {text}");
    }
}

/// Whoever reaches port 40011 reads how many there are, and of nobody who it is.
#[tokio::test]
async fn metrics_hold_numbers_and_no_names() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("types", "[{type: hush-type, url: /hush}]")
        .start()
        .await;
    let headers = [
        ("X-BFL-USER", "hush-user"),
        ("Cookie", "auth_token=hush-token"),
        ("User-Agent", "hush-agent"),
    ];
    let path = "/ws?namespace=hush-space";
    let (mut client, _) = Client::open_with(&gateway, &mut app, path, &headers).await;
    client.send(r#"{"type":"hush-type"}"#).await;
    for _ in 0..2 {
        app.next_of("message").await;
    }
    gateway
        .send(&json!({"users": ["hush-user"], "payload": "hush"}))
        .await;
    gateway.list("?user=hush-user").await;
    http::get(gateway.clients, "/hush").await;
    http::get(gateway.clients, "/tapr/ws/conn/hush").await;
    client.close(4000, "hush").await;
    app.next_of("close").await;
    let metrics = http::get(gateway.ops, "/metrics").await.text();
    assert!(metrics.contains("ws_gateway_messages_"), "{metrics}");
    assert!(!metrics.contains(MARK), "{metrics}");
}

//! The wire format to the byte: what the app, its admin calls and the clients see.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use serde_json::json;
use support::{App, Call, Client, Gateway, Launch, Raw, http, raw};

/// The body with what differs from run to run replaced by its name.
#[track_caller]
fn golden(call: &Call, replaced: &[(&str, &str)], expected: &str) {
    let mut body = call.text().to_owned();
    for (value, name) in replaced {
        assert!(
            !value.is_empty() && body.contains(value),
            "{name} {value:?} is not in {body}"
        );
        body = body.replace(value, name);
    }
    assert_eq!(body, expected);
}

#[tokio::test]
async fn bodies_of_open_message_and_close() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let headers = [
        ("X-BFL-USER", "ann"),
        ("Cookie", "auth_token=T0ken; theme=dark"),
        ("User-Agent", "golden/1"),
    ];
    let mut client = Client::with(&gateway, "/ws?room=7", &headers).await;
    let open = app.next_of("open").await;
    let id = open.conn_id().to_owned();
    let id = id.as_str();
    let head = r#"{"data":{},"action":"open","user_name":"ann","conn_id":"ID","token":"T0ken","access_public":false,"seq":0,"request":{"path":"/ws","query":"room=7","headers":{"#;
    let body = open.text().replace(id, "ID");
    assert!(body.starts_with(head), "{body}");
    let request = &open.json()["request"];
    assert_eq!(request["headers"]["user-agent"], "golden/1");
    assert_eq!(request["headers"]["cookie"], "auth_token=T0ken; theme=dark");
    assert_eq!(request["headers"]["x-bfl-user"], "ann");

    client
        .send(r#"{"event":"chat","data":{"text":"hi"}}"#)
        .await;
    golden(
        &app.next_of("message").await,
        &[(id, "ID")],
        r#"{"data":{"event":"chat","data":{"text":"hi"}},"action":"message","user_name":"ann","conn_id":"ID","token":"T0ken","access_public":false,"seq":1}"#,
    );
    client.send("no \"JSON\"").await;
    golden(
        &app.next_of("message").await,
        &[(id, "ID")],
        r#"{"data":"no \"JSON\"","action":"message","user_name":"ann","conn_id":"ID","token":"T0ken","access_public":false,"seq":2,"encoding":"text"}"#,
    );
    client.send_binary(b"\0\x01\xff").await;
    golden(
        &app.next_of("message").await,
        &[(id, "ID")],
        r#"{"data":"AAH/","action":"message","user_name":"ann","conn_id":"ID","token":"T0ken","access_public":false,"seq":3,"encoding":"base64"}"#,
    );
    client.close(4001, "bye \"now\"").await;
    golden(
        &app.next_of("close").await,
        &[(id, "ID")],
        r#"{"data":{},"action":"close","user_name":"ann","conn_id":"ID","token":"T0ken","access_public":false,"seq":4,"code":4001,"reason":"bye \"now\""}"#,
    );
}

#[tokio::test]
async fn bodies_of_a_stranger_with_a_namespace() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let mut client = Client::with(&gateway, "/ws?namespace=a%20%22b%22", &[]).await;
    let open = app.next_of("open").await.json();
    let (id, token) = (
        open["conn_id"].as_str().unwrap(),
        open["token"].as_str().unwrap(),
    );
    assert_eq!(open["access_public"], true);
    assert!(
        uuid::Uuid::try_parse(token).is_ok(),
        "a random token: {token}"
    );
    client.send("1").await;
    golden(
        &app.next_of("message").await,
        &[(id, "ID"), (token, "TOKEN")],
        r#"{"data":1,"action":"message","user_name":"","conn_id":"ID","token":"TOKEN","access_public":true,"seq":1,"namespace":"a \"b\""}"#,
    );
    client.vanish();
    golden(
        &app.next_of("close").await,
        &[(id, "ID"), (token, "TOKEN")],
        r#"{"data":{},"action":"close","user_name":"","conn_id":"ID","token":"TOKEN","access_public":true,"seq":2,"namespace":"a \"b\"","code":1006,"reason":""}"#,
    );
}

#[tokio::test]
async fn types_of_the_open_body() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (_client, open) = Client::open(&gateway, &mut app).await;
    assert!(
        open["data"].is_object()
            && open["request"].is_object()
            && open["request"]["headers"].is_object()
    );
    for text in ["action", "user_name", "conn_id", "token"] {
        assert!(open[text].is_string(), "{text}: {open}");
    }
    assert!(open["access_public"].is_boolean() && open["seq"].is_u64());
}

#[tokio::test]
async fn headers_of_a_callback() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (_client, open) = Client::open_with(&gateway, &mut app, "/ws", &[("Cookie", "a=b")]).await;
    let call = &app.calls()[0];
    assert_eq!(
        (call.method.as_str(), call.path.as_str()),
        ("POST", "/ws/message")
    );
    assert_eq!(
        call.header("host"),
        Some(format!("localhost:{}", app.port()).as_str())
    );
    assert_eq!(call.header("content-type"), Some("application/json"));
    assert_eq!(call.header("cookie"), Some("a=b"));
    assert_eq!(
        call.event_id(),
        format!("{}/0", open["conn_id"].as_str().unwrap())
    );
    assert!(
        call.header("user-agent")
            .unwrap()
            .starts_with("ws-gateway/")
    );
    assert_eq!(
        call.header("content-length"),
        Some(call.body.len().to_string().as_str())
    );
}

#[tokio::test]
async fn answers_of_the_admin_api() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, open) = Client::open(&gateway, &mut app).await;
    let id = open["conn_id"].as_str().unwrap();
    let send = gateway
        .try_admin(
            "send",
            &json!({"payload": {"n": 1}, "conn_id": id}).to_string(),
        )
        .await;
    assert_eq!(send.header("content-type"), Some("application/json"));
    assert_eq!(
        send.text(),
        r#"{"code":0,"message":"success","data":{"matched":1,"queued":1,"dropped":0}}"#
    );
    assert_eq!(client.text().await, r#"{"n":1}"#);
    let close = gateway
        .try_admin("close", &json!({"conns": [id]}).to_string())
        .await;
    assert_eq!(
        close.text(),
        r#"{"code":0,"message":"success","data":{"matched":1}}"#
    );
    assert_eq!(client.closed().await, (1000, String::new()));
    let error = gateway.try_admin("send", r#"{"payload":1}"#).await;
    assert_eq!(error.status, 400);
    let nobody = "nobody is selected; give conn_id, conns, users or tokens, or all: true";
    assert_eq!(
        error.text(),
        format!(r#"{{"code":400,"message":"{nobody}"}}"#)
    );
}

#[tokio::test]
async fn the_list() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let empty = http::get(gateway.clients, "/tapr/ws/conn/list").await;
    assert_eq!(empty.text(), r#"{"code":0,"message":"success","data":[]}"#);
    let agent = ("User-Agent", "golden/1");
    let headers = [("X-BFL-USER", "ann"), agent, ("Cookie", "auth_token=t")];
    let (_private, open) = Client::open_with(&gateway, &mut app, "/ws?namespace=n", &headers).await;
    let (_public, public) =
        Client::open_with(&gateway, &mut app, "/ws", &[("X-BFL-USER", "bob"), agent]).await;
    let list = gateway.list("").await;
    let opened = |user: usize| list["data"][user]["conns"][0]["opened_at"].clone();
    // The MD5 of the agent.
    let tag = "168994bc86202b626f7c83b079f3a805";
    let ann = json!({"id": open["conn_id"], "token": "t", "userAgent": "golden/1", "userAgentTag": tag, "access_public": false, "opened_at": opened(0), "namespace": "n"});
    let bob = json!({"id": public["conn_id"], "token": public["token"], "userAgent": "golden/1", "userAgentTag": tag, "access_public": true, "opened_at": opened(1)});
    let expected = json!({"code": 0, "message": "success", "data": [
        {"name": "ann", "conns": [ann], "conns_number": 1, "public_conns": [], "public_conns_number": 0},
        {"name": "bob", "conns": [bob], "conns_number": 1, "public_conns": [bob], "public_conns_number": 1},
    ]});
    // Compared as text: the order of the fields counts.
    assert_eq!(list.to_string(), expected.to_string());
}

#[tokio::test]
async fn a_ping_is_answered_with_exactly_this() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let mut raw = Raw::open(&gateway).await;
    app.next_of("open").await;
    raw.send(&raw::frame(raw::TEXT, br#"{"event":"ping","data":{}}"#))
        .await;
    assert_eq!(
        raw.frame().await.unwrap(),
        (raw::TEXT, br#"{"event":"pong"}"#.to_vec())
    );
}

#[tokio::test]
async fn what_is_no_upgrade_is_told_what_is_expected() {
    let app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let expected = r#"{"code":426,"message":"this path is a WebSocket; expected GET with Connection: Upgrade, Upgrade: websocket and Sec-WebSocket-Version: 13"}"#;
    for (method, body) in [("GET", &b""[..]), ("POST", b"{}")] {
        let answer = http::call(gateway.clients, method, "/ws", &[], body).await;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (426, expected),
            "{method}"
        );
        assert_eq!(answer.header("upgrade"), Some("websocket"));
    }
    let old = http::upgrade(gateway.clients, "/ws", &[("Sec-WebSocket-Version", "8")]).await;
    assert_eq!(
        (old.status, old.header("sec-websocket-version")),
        (426, Some("13"))
    );
    let keyless = http::upgrade(gateway.clients, "/ws", &[("Sec-WebSocket-Key", "")]).await;
    assert_eq!(keyless.status, 400);
    assert_eq!(
        http::upgrade(gateway.clients, "/elsewhere", &[])
            .await
            .status,
        404
    );
    assert!(app.calls().is_empty());
}

#[tokio::test]
async fn the_path_is_the_stanzas() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app).set("path", "/connect").start().await;
    let _client = Client::with(&gateway, "/connect", &[]).await;
    assert_eq!(
        app.next_of("open").await.json()["request"]["path"],
        "/connect"
    );
    assert_eq!(http::upgrade(gateway.clients, "/ws", &[]).await.status, 404);
}

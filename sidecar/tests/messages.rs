//! What a client sends is what the app gets: to the byte where it is JSON, marked where it is not.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use support::{App, Client, Gateway, Launch, Raw, raw};

/// The text that stands as `data` in a message body.
fn data(body: &str) -> &str {
    let end = body
        .rfind(r#","action":"message""#)
        .unwrap_or_else(|| panic!("no message: {body}"));
    &body[r#"{"data":"#.len()..end]
}

#[tokio::test]
async fn json_of_every_type_to_the_byte() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    for text in [
        r#"{"event":"e","data":{"b":1,"a":2}}"#,
        r#"{ "z" : 1 , "a" : [ 1 , 2 ] , "z" : 3 }"#,
        "{}",
        "[]",
        r#"["relay/i2c0-3b/set", {"state": false}]"#,
        r#""text""#,
        r#""é \u00e9 \ud83d\ude00 😀""#,
        "0",
        "-0.0",
        "12345678901234567890123456789",
        "3.14159265358979323846264338327950288",
        "true",
        "false",
        "null",
        " \t\r\n[1]\n",
        r#"{"pong":1}"#,
        r#"{"event":"pong"}"#,
        r#"{"event":["ping"]}"#,
        r#"["ping"]"#,
    ] {
        client.send(text).await;
        let call = app.next_of("message").await;
        assert_eq!(data(call.text()), text);
        assert_eq!(call.json().get("encoding"), None, "{text}");
    }
}

/// What not every parser can make a value of is still JSON.
#[tokio::test]
async fn json_beyond_what_parsers_hold_to_the_byte() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    for text in [
        "1e400",
        r#"["\ud800"]"#,
        r#"{"a":"\udc00"}"#,
        r#"{"\ud800":1}"#,
        r#"{"event":"\ud800"}"#,
    ] {
        client.send(text).await;
        let body = String::from_utf8(app.next().await.body).unwrap();
        assert_eq!(data(&body), text);
        assert!(!body.contains("encoding"), "{body}");
    }
}

#[tokio::test]
async fn text_that_is_not_json_arrives_as_text() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    for text in [
        "",
        "hello",
        "{",
        r#"{"event":"ping""#,
        "{'a':1}",
        "NaN",
        "01",
        "[1,]",
        "{} {}",
        "\u{1}\u{7f}\"\\ \u{2028} é😀",
    ] {
        client.send(text).await;
        let body = app.next_of("message").await.json();
        assert_eq!(body["data"], text);
        assert_eq!(body["encoding"], "text", "{text}");
    }
}

#[tokio::test]
async fn binary_arrives_as_base64() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    let everything: Vec<u8> = (0..=255).collect();
    for bytes in [&b""[..], b"\0", b"{\"event\":\"ping\"}", &everything] {
        client.send_binary(bytes).await;
        let body = app.next_of("message").await.json();
        assert_eq!(
            STANDARD.decode(body["data"].as_str().unwrap()).unwrap(),
            bytes
        );
        assert_eq!(body["encoding"], "base64");
    }
}

#[tokio::test]
async fn a_ping_in_any_spelling_is_answered_and_never_forwarded() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    for ping in [
        r#"{"event":"ping","data":{}}"#,
        r#"{"event":"ping"}"#,
        r#"{"data":{"event":"x"},"event":"ping"}"#,
        " {\n\t\"event\" : \"ping\" }\r\n",
        r#"{"\u0065vent":"\u0070ing"}"#,
        r#"{"event":"ping","data":"a \"b\" }"}"#,
    ] {
        client.send(ping).await;
        assert_eq!(client.text().await, r#"{"event":"pong"}"#, "{ping}");
    }
    for other in [
        r#"{"event":"Ping"}"#,
        r#"{"event":"ping "}"#,
        r#"{"data":{"event":"ping"}}"#,
        r#"[{"event":"ping"}]"#,
    ] {
        client.send(other).await;
        assert_eq!(data(app.next().await.text()), other);
    }
}

#[tokio::test]
async fn a_message_in_fragments_is_one_message() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let mut raw = Raw::open(&gateway).await;
    app.next_of("open").await;
    raw.send(&raw::piece(false, raw::TEXT, b"{\"text\":\"\xc3"))
        .await;
    raw.send(&raw::frame(raw::PING, b"between")).await;
    assert_eq!(raw.frame().await.unwrap(), (raw::PONG, b"between".to_vec()));
    raw.send(&raw::piece(false, raw::CONTINUATION, b"\xa9"))
        .await;
    raw.send(&raw::piece(false, raw::CONTINUATION, b"")).await;
    raw.send(&raw::piece(true, raw::CONTINUATION, b"\"}")).await;
    assert_eq!(data(app.next_of("message").await.text()), r#"{"text":"é"}"#);
}

/// Frames that come in one packet with the upgrade request: nothing of them is lost.
#[tokio::test]
async fn frames_behind_the_upgrade_request() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let mut raw = Raw::dial(gateway.clients).await;
    let request = support::http::request("GET", "/ws", &support::http::upgrade_headers(&[]), b"");
    raw.send(
        &[
            request,
            raw::frame(raw::TEXT, b"1"),
            raw::frame(raw::TEXT, b"2"),
        ]
        .concat(),
    )
    .await;
    assert_eq!(raw.response().await.status, 101);
    app.next_of("open").await;
    assert_eq!(data(app.next_of("message").await.text()), "1");
    assert_eq!(data(app.next_of("message").await.text()), "2");
}

#[tokio::test]
async fn a_message_of_the_largest_size() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("limits.message", "300000")
        .start()
        .await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    let text = "é".repeat(150_000);
    client.send(&text).await;
    assert_eq!(app.next_of("message").await.field("data"), text);
    let bytes = vec![7; 300_000];
    client.send_binary(&bytes).await;
    assert_eq!(
        STANDARD
            .decode(app.next_of("message").await.field("data"))
            .unwrap(),
        bytes
    );
}

/// Without an app the gateway still serves clients, pings and the admin API.
#[tokio::test]
async fn without_an_app_messages_go_nowhere() {
    let gateway = Launch::new().start().await;
    let mut client = Client::user(&gateway, "ann").await;
    client.send("into the void").await;
    client.settle().await;
    assert_eq!(
        gateway
            .send(&serde_json::json!({"payload": 1, "users": ["ann"]}))
            .await["queued"],
        1
    );
    assert_eq!(client.text().await, "1");
    assert!(gateway.log().contains("WS_PORT and WS_URL are not set"));
    client.close(1000, "").await;
    let gone = async || (gateway.open_connections().await == 0).then_some(Duration::ZERO);
    support::eventually("the end of the connection", gone).await;
}

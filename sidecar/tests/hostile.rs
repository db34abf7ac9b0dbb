//! Clients that break the rules: the connection ends with the right code, memory stays bounded,
//! others go on.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use serde_json::json;
use support::{Answer, App, Client, Gate, Gateway, Launch, Raw, http, raw};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const MIB: u64 = 1 << 10;

/// What a client sends, and the code it hears.
#[tokio::test]
async fn frames_that_the_rfc_forbids_end_with_their_code() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut witness, _) = Client::open(&gateway, &mut app).await;
    let unmasked = vec![0x81, 2, b'h', b'i'];
    let control = |payload: &[u8]| raw::frame(raw::CLOSE, payload);
    let close = |code| control(&raw::close_body(code, b""));
    let cases = [
        ("unmasked", unmasked, 1002),
        (
            "reserved bit",
            [vec![0xC1], raw::frame(raw::TEXT, b"")[1..].to_vec()].concat(),
            1002,
        ),
        ("reserved opcode", raw::frame(0x3, b""), 1002),
        ("reserved control opcode", raw::frame(0xB, b""), 1002),
        (
            "length of 2^63",
            raw::header(true, raw::BINARY, 1 << 63),
            1002,
        ),
        (
            "length of 2^63-1",
            raw::header(true, raw::BINARY, (1 << 63) - 1),
            1009,
        ),
        ("ping of 126 bytes", raw::frame(raw::PING, &[0; 126]), 1002),
        ("fragmented ping", raw::piece(false, raw::PING, b""), 1002),
        (
            "continuation of nothing",
            raw::frame(raw::CONTINUATION, b"x"),
            1002,
        ),
        (
            "text inside text",
            [
                raw::piece(false, raw::TEXT, b"a"),
                raw::frame(raw::TEXT, b"b"),
            ]
            .concat(),
            1002,
        ),
        ("invalid UTF-8", raw::frame(raw::TEXT, b"\xff"), 1007),
        ("surrogate", raw::frame(raw::TEXT, b"\xed\xa0\x80"), 1007),
        ("overlong", raw::frame(raw::TEXT, b"\xc0\xaf"), 1007),
        ("cut character", raw::frame(raw::TEXT, b"\xe2\x82"), 1007),
        // Refused at the first byte that cannot be right, not at the end of the message.
        (
            "invalid first fragment",
            raw::piece(false, raw::TEXT, b"ok\xff"),
            1007,
        ),
        ("close of one byte", control(b"\x03"), 1002),
        ("close 0", close(0), 1002),
        ("close 999", close(999), 1002),
        ("close 1004", close(1004), 1002),
        ("close 1005", close(1005), 1002),
        ("close 1006", close(1006), 1002),
        ("close 1015", close(1015), 1002),
        ("close 1016", close(1016), 1002),
        ("close 2999", close(2999), 1002),
        ("close 5000", close(5000), 1002),
        ("close 65535", close(65535), 1002),
        (
            "close reason not UTF-8",
            control(&raw::close_body(1000, b"\xff")),
            1007,
        ),
    ];
    for (name, bytes, code) in cases {
        let mut raw = Raw::open(&gateway).await;
        let open = app.next_of("open").await;
        raw.send(&bytes).await;
        assert_eq!(raw.close_code().await, Some(code), "{name}");
        raw.ended().await;
        let close = app.next_of("close").await;
        assert_eq!(
            (close.conn_id(), &close.json()["code"]),
            (open.conn_id(), &json!(code)),
            "{name}"
        );
    }
    witness.settle().await;
    assert!(app.calls_of("message").is_empty());
}

/// What came before a frame that cannot be is answered first.
#[tokio::test]
async fn a_broken_frame_does_not_cost_the_answers_before_it() {
    let mut app = App::start().await;
    let gate = Gate::closed();
    app.answer_messages(Answer::action(&json!({"reply": "answer"})).once_open(&gate));
    let gateway = Gateway::start(&app).await;
    let mut raw = Raw::open(&gateway).await;
    app.next_of("open").await;
    let text = raw::frame(raw::TEXT, b"1");
    raw.send(
        &[
            text.clone(),
            text,
            raw::frame(0x3, b""),
            b"garbage".to_vec(),
        ]
        .concat(),
    )
    .await;
    app.next_of("message").await;
    gate.open();
    app.next_of("message").await;
    for _ in 0..2 {
        assert_eq!(
            raw.frame().await.unwrap(),
            (raw::TEXT, b"\"answer\"".to_vec())
        );
    }
    assert_eq!(raw.close_code().await, Some(1002));
    raw.ended().await;
    assert_eq!(app.next_of("close").await.json()["code"], 1002);

    // An app that does not answer holds back the end only until somebody else wants it.
    let held = Gate::closed();
    app.answer_messages(Answer::ok().once_open(&held));
    let mut raw = Raw::open(&gateway).await;
    let id = app.next_of("open").await.conn_id().to_owned();
    raw.send(&[raw::frame(raw::TEXT, b"1"), raw::frame(0x3, b"")].concat())
        .await;
    app.next_of("message").await;
    raw.send(b"more garbage").await;
    gateway.close(&json!({"conns": [id], "code": 4000})).await;
    assert_eq!(raw.close_code().await, Some(4000));
    raw.ended().await;
    held.open();
    app.next_of("close").await;
}

/// Good close codes are echoed, also without a code and with the longest reason.
#[tokio::test]
async fn close_frames_that_are_right_are_answered_in_kind() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000,
        4999,
    ] {
        let mut raw = Raw::open(&gateway).await;
        app.next_of("open").await;
        raw.send(&raw::frame(
            raw::CLOSE,
            &raw::close_body(code, &[b'r'; 123]),
        ))
        .await;
        assert_eq!(raw.close_code().await, Some(code));
        raw.ended().await;
        let close = app.next_of("close").await.json();
        assert_eq!(
            (&close["code"], close["reason"].as_str().unwrap().len()),
            (&json!(code), 123)
        );
    }
    let mut raw = Raw::open(&gateway).await;
    app.next_of("open").await;
    raw.send(&raw::frame(raw::CLOSE, b"")).await;
    assert_eq!(raw.frame().await.unwrap(), (raw::CLOSE, Vec::new()));
    assert_eq!(app.next_of("close").await.json()["code"], 1005);
}

#[tokio::test]
async fn header_bombs_are_refused() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut witness, _) = Client::open(&gateway, &mut app).await;
    let large = "x".repeat(1 << 20);
    let many = "X-Header: value\r\n".repeat(10_000);
    for request in [
        format!("GET /ws HTTP/1.1\r\nHost: localhost\r\nCookie: {large}\r\n\r\n"),
        format!("GET /ws?{large} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("GET /ws HTTP/1.1\r\nHost: localhost\r\n{many}\r\n"),
        format!("GET /ws HTTP/1.1\r\nHost: localhost\r\n{large}"),
        large.clone(),
    ] {
        let mut raw = Raw::dial(gateway.clients).await;
        raw.send_what_goes(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = support::soon("its end", raw.stream.read_to_end(&mut answer)).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            !answer.contains(" 101 ") && !answer.contains(" 200 "),
            "{answer}"
        );
    }
    witness.settle().await;
    assert_eq!(app.calls().len(), 1);
    assert!(gateway.memory("VmHWM") < 64 * MIB);
}

/// Requests that two servers might read differently: none of them becomes an admin call.
#[tokio::test]
async fn smuggled_requests_are_refused() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut witness, _) = Client::open(&gateway, &mut app).await;
    // It would be taken, if it were one.
    let close = "POST /tapr/ws/conn/close HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\n\r\n{\"all\":true}";
    for (name, head) in [
        (
            "both lengths",
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "two lengths",
            "Content-Length: 0\r\nContent-Length: 10\r\n\r\n",
        ),
        ("signed length", "Content-Length: +0\r\n\r\n"),
        (
            "odd encoding",
            "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        ),
        ("folded header", "X-A: a\r\n b\r\n\r\n"),
    ] {
        let mut raw = Raw::dial(gateway.clients).await;
        raw.send(format!("POST /nothing HTTP/1.1\r\nHost: localhost\r\n{head}{close}").as_bytes())
            .await;
        raw.stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = support::soon("its end", raw.stream.read_to_end(&mut answer)).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{name}: {answer}");
        assert_eq!(answer.matches(r#""code":"#).count(), 1, "{name}: {answer}");
    }
    witness.settle().await;
    let closes = r#"ws_gateway_admin_requests_total{call="close""#;
    let metrics = http::get(gateway.ops, "/metrics").await.text();
    assert!(!metrics.contains(closes), "{metrics}");
    // As it is without the others before it.
    let mut raw = Raw::dial(gateway.clients).await;
    raw.send(close.as_bytes()).await;
    assert_eq!(raw.response().await.status, 200);
    assert_eq!(witness.close_code().await, 1000);
}

/// Garbage on every port: the gateway goes on.
#[tokio::test]
async fn garbage_is_survived() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app).guarded().start().await;
    let (mut witness, _) = Client::open(&gateway, &mut app).await;
    for port in [gateway.clients, gateway.ops, gateway.remote_admin] {
        for garbage in [
            &b"\x16\x03\x01\x02\x00\x01"[..],
            b"\0\0\0\0",
            b"\r\n\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET",
        ] {
            let mut raw = Raw::dial(port).await;
            raw.send_what_goes(garbage).await;
            let _ = raw.stream.shutdown().await;
            let _ = support::soon("its end", raw.stream.read_to_end(&mut Vec::new())).await;
        }
    }
    witness.settle().await;
    assert_eq!(http::get(gateway.ops, "/healthz").await.status, 200);
}

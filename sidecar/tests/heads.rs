//! What a request's head may be, and what is answered where it is not: to each a status and a
//! reason, and to an app behind the gateway whatever it would have taken by itself.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::net::SocketAddr;

use serde_json::json;
use support::http::Response;
use support::{Answer, App, Client, Gateway, Launch, Raw, http, raw, soon};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

/// The answer to these bytes, and that the connection ends after it.
async fn refused(to: SocketAddr, bytes: &[u8]) -> Response {
    let mut raw = Raw::dial(to).await;
    raw.send_what_goes(bytes).await;
    let answer = raw.response().await;
    raw.ended().await;
    assert_eq!(answer.json()["code"], answer.status, "{answer:?}");
    answer
}

/// In front of a bare socket.
async fn entrance() -> (TcpListener, Gateway) {
    let app = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Launch::new()
        .env("WS_POD_IP", "127.0.0.1")
        .env(
            "WS_UPSTREAM_PORT",
            &app.local_addr().unwrap().port().to_string(),
        )
        .start()
        .await;
    (app, gateway)
}

/// The next request that the app gets, and the connection to answer it on.
async fn next(app: &TcpListener) -> (TcpStream, String, Vec<(String, String)>) {
    loop {
        let (mut stream, _) = soon("a connection", app.accept()).await.unwrap();
        let mut read = Vec::new();
        let head = http::read_head(&mut stream, &mut read);
        // The gateway also looks whether the app is there.
        if let Some((first, headers)) = soon("a request", head).await.unwrap() {
            return (stream, first, headers);
        }
    }
}

#[tokio::test]
async fn two_hosts_none_and_a_bare_line_feed_are_400() {
    let (app, entrance) = entrance().await;
    let plain = Launch::new()
        .env("WS_ADMIN_TOKEN", "0123456789abcdef0123456789abcdef")
        .start()
        .await;
    let ports = [
        entrance.clients,
        plain.clients,
        plain.ops,
        plain.remote_admin,
    ];
    for port in ports {
        for (head, why) in [
            ("GET / HTTP/1.1\r\n\r\n", "Host"),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nHost: localhost\r\n\r\n",
                "Host",
            ),
            ("GET / HTTP/1.1\nHost: a\n\n", "LF"),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nX: a\nX-BFL-USER: admin\r\n\r\n",
                "LF",
            ),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", "version"),
        ] {
            let answer = refused(port, head.as_bytes()).await;
            assert_eq!(answer.status, 400, "{head:?}");
            assert!(answer.text().contains(why), "{}", answer.text());
        }
    }
    assert!(entrance.log().contains("refused unread"), "it is told");
    // An old client names no host.
    let mut old = Raw::dial(entrance.clients).await;
    old.send(b"GET /old HTTP/1.0\r\n\r\n").await;
    let (mut stream, first, _) = next(&app).await;
    assert!(first.starts_with("GET /old "), "{first}");
    stream
        .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(old.response().await.status, 204);
}

/// Each request of a connection is looked at, also one that came with the one before.
#[tokio::test]
async fn what_comes_behind_a_body_is_looked_at_too() {
    let gateway = Launch::new().start().await;
    let list = "GET /tapr/ws/conn/list HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let send = |framing: &str, body: &str| {
        format!("POST /tapr/ws/conn/send HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n{body}")
    };
    let body = r#"{"all":true,"payload":1}"#;
    let sized = send(&format!("Content-Length: {}", body.len()), body);
    let (first, rest) = body.split_at(7);
    let pieces = format!(
        "7;x=y\r\n{first}\r\n{:x}\r\n{rest}\r\n0\r\nX-T: 1\r\n\r\n",
        rest.len()
    );
    let chunked = send("Transfer-Encoding: chunked", &pieces);
    let bad = "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
    for before in [list, &sized, &chunked] {
        let stream = format!("{before}{list}\r\n{sized}{chunked}{bad}{list}");
        for piece in [stream.len(), 1] {
            let mut raw = Raw::dial(gateway.clients).await;
            for piece in stream.as_bytes().chunks(piece) {
                raw.send_what_goes(piece).await;
            }
            for _ in 0..4 {
                let answer = raw.response().await;
                assert_eq!(answer.status, 200, "{}", answer.text());
            }
            assert_eq!(raw.response().await.status, 400);
            raw.ended().await;
        }
    }
}

#[tokio::test]
async fn a_head_over_the_limit_is_431_and_names_it() {
    let app = App::start().await;
    let gateway = Launch::for_app(&app)
        .env("WS_ADMIN_TOKEN", "0123456789abcdef0123456789abcdef")
        .start()
        .await;
    let head = |path: &str, bytes: usize| {
        let padding = "x".repeat(bytes);
        let headers = http::upgrade_headers(&[("X-Padding", &padding)]);
        http::request("GET", path, &headers, b"")
    };
    for port in [gateway.clients, gateway.ops, gateway.remote_admin] {
        for bytes in [17 << 10, 1 << 20] {
            let answer = refused(port, &head("/ws", bytes)).await;
            assert_eq!(answer.status, 431);
            assert!(answer.text().contains("limits.header"), "{}", answer.text());
        }
    }
    let counted = gateway
        .metric(r#"ws_gateway_upgrades_refused_total{reason="header"}"#)
        .await;
    assert_eq!(counted, 6);
    let mut fits = Raw::dial(gateway.clients).await;
    fits.send(&head("/ws", 15 << 10)).await;
    assert_eq!(fits.response().await.status, 101);

    let small = Launch::new().set("limits.header", "1Ki").start().await;
    let answer = refused(small.clients, &head("/ws", 1 << 10)).await;
    assert!(answer.text().contains("1024 bytes"), "{}", answer.text());
}

#[tokio::test]
async fn an_app_gets_longer_heads_but_no_upgrade_does() {
    let (app, gateway) = entrance().await;
    let padding = "x".repeat(60 << 10);
    let mut client = Raw::dial(gateway.clients).await;
    let headers = [("Host", "a"), ("Cookie", padding.as_str())];
    client
        .send(&http::request("GET", "/page", &headers, b""))
        .await;
    let (mut stream, _, headers) = next(&app).await;
    assert_eq!(http::header(&headers, "cookie").unwrap().len(), 60 << 10);
    // It counts among what waits, for as long as it is held.
    let held = gateway.metric("ws_gateway_buffered_bytes").await;
    assert!(held >= 60 << 10, "{held}");
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(client.response().await.status, 200);
    support::eventually("it to be given back", async || {
        let held = gateway.metric("ws_gateway_buffered_bytes").await;
        (held == 0).then_some(())
    })
    .await;
    let longer = "x".repeat(66 << 10);
    let headers = [("Host", "a"), ("Cookie", longer.as_str())];
    let answer = refused(
        gateway.clients,
        &http::request("GET", "/page", &headers, b""),
    )
    .await;
    assert_eq!(answer.status, 431);
    for path in ["/ws", "/tapr/ws/conn/list"] {
        let answer = http::upgrade(gateway.clients, path, &[("X-Padding", &padding)]).await;
        assert_eq!(answer.status, 431, "{path}");
        assert!(answer.text().contains("limits.header"), "{}", answer.text());
    }
}

#[tokio::test]
async fn hundreds_of_headers_pass() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let names: Vec<_> = (0..400).map(|n| format!("X-Header-{n}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let (mut client, open) = Client::open_with(&gateway, &mut app, "/ws", &many).await;
    let told = open["request"]["headers"].as_object().unwrap();
    assert!(told.contains_key("x-header-399"), "{told:?}");

    let mut answer = Answer::action(&json!({"reply": "read"}));
    for name in &names {
        answer = answer.with_header(name, "1");
    }
    app.answer_messages(answer);
    client.send("1").await;
    assert_eq!(client.text().await, "\"read\"");

    let (bare, gateway) = entrance().await;
    let mut raw = Raw::dial(gateway.clients).await;
    let headers = [&[("Host", "a")], &many[..]].concat();
    raw.send(&http::request("GET", "/page", &headers, b""))
        .await;
    let (mut stream, _, headers) = next(&bare).await;
    // With Host, and X-Forwarded-For of ours.
    assert_eq!(headers.len(), 402);
    let lines = names.join(": 1\r\n") + ": 1\r\n";
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{lines}\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
    let answer = raw.response().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.header("X-Header-399").is_some());
}

/// Browsers encode such targets, others do not; to the app it is the same.
#[tokio::test]
async fn targets_that_nobody_encoded_pass() {
    let target = "?filter={\"a\":1}&b=<c>`d`";
    let encoded = "filter={%22a%22:1}&b=%3Cc%3E%60d%60";
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let mut raw = Raw::dial(gateway.clients).await;
    let path = format!("/ws{target}");
    raw.send(&http::request(
        "GET",
        &path,
        &http::upgrade_headers(&[]),
        b"",
    ))
    .await;
    assert_eq!(raw.response().await.status, 101);
    let open = app.next_of("open").await.json();
    assert_eq!(open["request"]["query"], encoded);

    let (bare, gateway) = entrance().await;
    let mut raw = Raw::dial(gateway.clients).await;
    let line = [
        b"GET /\xe4<x>",
        target.as_bytes(),
        b" HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    raw.send(&line.concat()).await;
    let (_stream, first, _) = next(&bare).await;
    assert_eq!(first, format!("GET /%E4%3Cx%3E?{encoded} HTTP/1.1"));
}

/// What a client says too early is heard once it is let in.
#[tokio::test]
async fn frames_behind_the_upgrade_are_no_request() {
    let mut app = App::start().await;
    let gate = support::Gate::closed();
    let held = gate.clone();
    app.answer(move |call| {
        if call.path.starts_with("/auth") {
            Answer::ok().once_open(&held)
        } else {
            Answer::ok()
        }
    });
    let gateway = Launch::for_app(&app).set("auth", "/auth").start().await;
    let mut raw = Raw::dial(gateway.clients).await;
    let upgrade = http::request("GET", "/ws", &http::upgrade_headers(&[]), b"");
    let text = raw::frame(raw::TEXT, b"1\n2\n\n3");
    raw.send(&[upgrade, text.clone()].concat()).await;
    app.next().await;
    raw.send(&text).await;
    gate.open();
    assert_eq!(raw.response().await.status, 101);
    app.next_of("open").await;
    for _ in 0..2 {
        assert_eq!(app.next_of("message").await.field("data"), "1\n2\n\n3");
    }
}

//! Who a client is: headers, cookies, the name in the URL, namespaces, subprotocols, origins.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use serde_json::json;
use support::{Answer, App, Client, Gateway, Launch, http};

const BASIC: (&str, &str) = ("Authorization", "Basic Y2xvd246YmlnY2xvd24=");

#[tokio::test]
async fn the_first_offered_subprotocol_is_echoed() {
    let app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let client = Client::with(
        &gateway,
        "/ws",
        &[("Sec-WebSocket-Protocol", "chat.v2, chat.v1")],
    )
    .await;
    assert_eq!(client.header("sec-websocket-protocol"), Some("chat.v2"));
    let plain = Client::connect(&gateway).await;
    assert_eq!(plain.header("sec-websocket-protocol"), None);
    assert_eq!(plain.header("sec-websocket-extensions"), None);
}

#[tokio::test]
async fn the_identity_header_of_a_trusted_peer_names_the_user() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (_client, open) =
        Client::open_with(&gateway, &mut app, "/ws", &[("X-BFL-USER", "ann")]).await;
    assert_eq!(open["user_name"], "ann");
    let (_nobody, open) = Client::open(&gateway, &mut app).await;
    assert_eq!(open["user_name"], "");
}

#[tokio::test]
async fn the_identity_header_of_anyone_else_is_dropped() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("identity.trustedProxies", "10.0.0.0/8")
        .start()
        .await;
    let spoofed = [("X-BFL-USER", "admin"), ("x-bfl-user", "root")];
    let (_client, open) = Client::open_with(&gateway, &mut app, "/ws", &spoofed).await;
    assert_eq!(open["user_name"], "");
    assert_eq!(
        open["request"]["headers"].get("x-bfl-user"),
        None,
        "the app must not see it either"
    );
}

#[tokio::test]
async fn other_identity_headers_in_their_order() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("identity.headers", "Remote-User,X-Forwarded-User")
        .start()
        .await;
    let both = [("X-Forwarded-User", "second"), ("Remote-User", "first")];
    let (_client, open) = Client::open_with(&gateway, &mut app, "/ws", &both).await;
    assert_eq!(open["user_name"], "first");
    let (_client, open) =
        Client::open_with(&gateway, &mut app, "/ws", &[("X-BFL-USER", "ann")]).await;
    assert_eq!(open["user_name"], "");
}

#[tokio::test]
async fn a_name_in_the_url_counts_only_once_the_hook_allowed_it() {
    let mut app = App::start().await;
    let open_to_all = Gateway::start(&app).await;
    let (_client, open) = Client::open_with(&open_to_all, &mut app, "/ws", &[BASIC]).await;
    assert_eq!(open["user_name"], "");

    let with_basic = Launch::for_app(&app).set("identity.basic", "true");
    let unguarded = with_basic.start().await;
    let (_client, open) = Client::open_with(&unguarded, &mut app, "/ws", &[BASIC]).await;
    assert_eq!(open["user_name"], "");

    let guarded = with_basic.set("auth", "/ws/auth").start().await;
    let _client = Client::with(&guarded, "/ws", &[BASIC]).await;
    assert_eq!(app.next().await.header("authorization"), Some(BASIC.1));
    assert_eq!(app.next_of("open").await.field("user_name"), "clown");
}

#[tokio::test]
async fn the_auth_token_cookie_is_the_token() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let cookie = [("Cookie", "a=1; auth_token=secret; b=2")];
    let (_client, open) = Client::open_with(&gateway, &mut app, "/ws", &cookie).await;
    assert_eq!(
        (&open["token"], &open["access_public"]),
        (&json!("secret"), &json!(false))
    );
    let (_a, first) = Client::open(&gateway, &mut app).await;
    let (_b, second) = Client::open(&gateway, &mut app).await;
    assert_eq!(first["access_public"], true);
    assert_ne!(first["token"], second["token"]);
}

#[tokio::test]
async fn the_cookie_goes_along_on_every_callback() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let cookies = [
        ("Cookie", "auth_token=secret; theme=dark"),
        ("Cookie", "more=1"),
    ];
    let (mut client, _) = Client::open_with(&gateway, &mut app, "/ws", &cookies).await;
    client.send("1").await;
    app.next_of("message").await;
    client.close(1000, "").await;
    app.next_of("close").await;
    for call in app.calls() {
        assert_eq!(
            call.header("cookie"),
            Some("auth_token=secret; theme=dark; more=1"),
            "{}",
            call.action()
        );
    }
}

#[tokio::test]
async fn namespaces() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let user = [("X-BFL-USER", "alex")];
    let (mut one, open) = Client::open_with(&gateway, &mut app, "/ws?namespace=one", &user).await;
    assert_eq!(open["namespace"], "one");
    let (mut two, _) = Client::open_with(&gateway, &mut app, "/ws?x=y&namespace=two", &user).await;
    let (mut none, open) = Client::open_with(&gateway, &mut app, "/ws?namespace=", &user).await;
    assert_eq!(open.get("namespace"), None);
    let sent = gateway
        .send(&json!({"payload": 1, "users": ["alex"], "namespace": "one"}))
        .await;
    assert_eq!(sent["matched"], 1);
    assert_eq!(one.text().await, "1");
    let sent = gateway
        .send(&json!({"payload": 2, "users": ["alex"]}))
        .await;
    assert_eq!(sent["matched"], 3);
    for client in [&mut one, &mut two, &mut none] {
        assert_eq!(client.text().await, "2");
    }
}

#[tokio::test]
async fn origins() {
    let app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("origins", "https://app.example,https://*.trusted.example")
        .start()
        .await;
    for allowed in [
        "https://app.example",
        "HTTPS://APP.example",
        "https://a.trusted.example",
    ] {
        Client::with(&gateway, "/ws", &[("Origin", allowed)]).await;
    }
    // No browser, so not held back: the list is against pages that use a browser's cookies.
    Client::connect(&gateway).await;
    let foreign = [
        "https://evil.example",
        "http://app.example",
        "https://app.example:8443",
        "https://app.example.evil.example",
        "https://trusted.example.evil.example",
        "https://xtrusted.example",
        "null",
        "",
    ];
    for origin in foreign {
        let headers = format!("Origin: {origin}\r\n");
        let request = http::request("GET", "/ws", &http::upgrade_headers(&[]), b"");
        let mut raw = support::Raw::dial(gateway.clients).await;
        let with_origin =
            String::from_utf8(request)
                .unwrap()
                .replacen("\r\n", &format!("\r\n{headers}"), 1);
        raw.send(with_origin.as_bytes()).await;
        assert_eq!(raw.response().await.status, 403, "{origin:?}");
    }
    let refused = gateway
        .metric(r#"ws_gateway_upgrades_refused_total{reason="origin"}"#)
        .await;
    assert_eq!(refused, foreign.len() as u64);
    assert!(
        app.calls()
            .iter()
            .all(|call| call.header("origin").is_none())
    );
}

async fn origin(gateway: &Gateway, origin: &str, more: &[(&str, &str)]) -> u16 {
    let headers = [&[("Origin", origin)], more].concat();
    http::upgrade(gateway.clients, "/ws", &headers).await.status
}

/// A page of another site sends its user's cookies along (RFC 6455 §10.2).
#[tokio::test]
async fn by_default_a_page_of_the_same_host_and_port() {
    let app = App::start().await;
    let gateway = Gateway::start(&app).await;
    for (from, host) in [
        ("https://app.example", "app.example"),
        ("https://APP.example", "app.EXAMPLE:443"),
        ("http://app.example", "app.example:80"),
        ("https://app.example:8443", "app.example:8443"),
        ("http://[::1]:40010", "[::1]:40010"),
    ] {
        let status = origin(&gateway, from, &[("Host", host)]).await;
        assert_eq!(status, 101, "{from} at {host}");
    }
    for (from, host) in [
        ("https://evil.example", "app.example"),
        ("https://app.example.evil.example", "app.example"),
        ("https://app.example:8443", "app.example"),
        ("https://app.example", "app.example:80"),
        ("null", "app.example"),
        ("file://", "app.example"),
    ] {
        let status = origin(&gateway, from, &[("Host", host)]).await;
        assert_eq!(status, 403, "{from} at {host}");
        // A stranger's word on what he asked for.
        let forwarded = [("Host", host), ("X-Forwarded-Host", "evil.example")];
        assert_eq!(origin(&gateway, from, &forwarded).await, 403, "{from}");
    }
    let refused = http::upgrade(
        gateway.clients,
        "/ws",
        &[("Origin", "https://evil.example")],
    )
    .await;
    assert!(refused.text().contains("origins"), "{}", refused.text());
    support::eventually("a line in the log", async || {
        let log = gateway.log();
        let line = log.lines().find(|line| line.contains("another site"))?;
        assert!(
            line.contains("origins") && line.contains("app.example"),
            "{line}"
        );
        Some(())
    })
    .await;
    // Two are two claims.
    let two = [
        ("Origin", "http://localhost"),
        ("Origin", "https://evil.example"),
    ];
    assert_eq!(
        http::upgrade(gateway.clients, "/ws", &two).await.status,
        403
    );
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_host_is_what_it_says() {
    let app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("identity.trustedProxies", "127.0.0.1")
        .start()
        .await;
    let forwarded = [
        ("Host", "10.0.0.1:40010"),
        ("X-Forwarded-Host", "app.example"),
    ];
    assert_eq!(
        origin(&gateway, "https://app.example", &forwarded).await,
        101
    );
    assert_eq!(
        origin(&gateway, "https://evil.example", &forwarded).await,
        403
    );
}

#[tokio::test]
async fn any_origin_where_the_setting_says_so() {
    let app = App::start().await;
    let gateway = Launch::for_app(&app).set("origins", "*").start().await;
    for any in ["https://any.example", "null", "file://"] {
        assert_eq!(origin(&gateway, any, &[]).await, 101, "{any}");
    }
}

/// As people write them, and as browsers send them.
#[tokio::test]
async fn origins_of_every_kind() {
    let app = App::start().await;
    let listed = "https://a.example:443, http://localhost:*, https://xn--bcher-kva.example, \
                  file://, vscode-webview://*";
    let gateway = Launch::for_app(&app).set("origins", listed).start().await;
    for (from, status) in [
        ("https://a.example", 101),
        ("https://a.example:444", 403),
        ("http://localhost:5173", 101),
        ("http://localhost.evil.example:5173", 403),
        ("https://xn--bcher-kva.example", 101),
        ("file://", 101),
        ("null", 403),
        ("vscode-webview://0abc", 101),
    ] {
        assert_eq!(origin(&gateway, from, &[]).await, status, "{from}");
    }
}

/// Two people whose names are no UTF-8 stay two.
#[tokio::test]
async fn names_in_latin_1() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut names, mut open_ones) = (Vec::new(), Vec::new());
    for name in [&b"J\xF6rg"[..], b"J\xE4rg", "Jörg".as_bytes()] {
        let request = http::request("GET", "/ws", &http::upgrade_headers(&[]), b"");
        let end = request.len() - 2;
        let request = [&request[..end], b"X-BFL-USER: ", name, b"\r\n\r\n"].concat();
        let mut raw = support::Raw::dial(gateway.clients).await;
        raw.send(&request).await;
        assert_eq!(raw.response().await.status, 101);
        let open = app.next_of("open").await.json();
        assert_eq!(open["request"]["headers"]["x-bfl-user"], open["user_name"]);
        names.push(open["user_name"].as_str().unwrap().to_owned());
        open_ones.push(raw);
    }
    assert_eq!(names, ["Jörg", "Järg", "Jörg"]);
}

/// `?namespace=` is what the client says: nothing that is meant for a group goes by it alone.
#[tokio::test]
async fn a_namespace_alone_selects_nobody() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, _) =
        Client::open_with(&gateway, &mut app, "/ws?namespace=tenant-a", &[]).await;
    for alone in [
        json!({"namespace": "tenant-a"}),
        json!({"namespace": "tenant-a", "all": true}),
    ] {
        let mut send = alone.clone();
        send["payload"] = json!(1);
        for (call, body) in [("send", send), ("close", alone)] {
            let refused = gateway.try_admin(call, &body.to_string()).await;
            assert_eq!(refused.status, 400, "{call} {body}");
            let text = refused.text();
            assert!(text.contains("identity.namespaces: hook"), "{text}");
        }
    }
    // Nor in an answer, of which then nothing counts.
    let broadcast = json!({"broadcast": {"payload": 1, "namespace": "tenant-a"}, "reply": 2});
    app.answer_messages(Answer::action(&broadcast));
    client.send("1").await;
    app.next_of("message").await;
    client.has_heard_nothing().await;
}

#[tokio::test]
async fn a_namespace_of_the_hook_selects_its_people() {
    let mut app = App::start().await;
    app.answer(|call| match call.path.as_str() {
        path if path.starts_with("/ws/auth") && path.contains("member") => {
            Answer::ok().with_header("X-Ws-Namespace", "tenant-a")
        }
        _ => Answer::ok(),
    });
    let gateway = Launch::for_app(&app)
        .set("auth", "/ws/auth")
        .set("identity.namespaces", "hook")
        .start()
        .await;
    let mut opened = async |path: &str| {
        let client = Client::with(&gateway, path, &[]).await;
        app.next().await;
        (client, app.next_of("open").await.json())
    };
    let (mut member, open) = opened("/ws?as=member").await;
    assert_eq!(open["namespace"], "tenant-a");
    let (mut stranger, open) = opened("/ws?namespace=tenant-a").await;
    assert_eq!(open.get("namespace"), None);
    let sent = gateway
        .send(&json!({"payload": 1, "namespace": "tenant-a"}))
        .await;
    assert_eq!(sent["matched"], 1);
    assert_eq!(member.text().await, "1");
    stranger.has_heard_nothing().await;
}

/// The open answer's word is the last: it re-files the connection.
#[tokio::test]
async fn the_open_answer_names_the_user_and_namespace() {
    let mut app = App::start().await;
    app.answer_opens(Answer::action(
        &json!({"user_name": "bob", "namespace": "space"}),
    ));
    let gateway = Gateway::start(&app).await;
    let (mut client, open) =
        Client::open_with(&gateway, &mut app, "/ws", &[("X-BFL-USER", "ann")]).await;
    assert_eq!(open["user_name"], "ann");
    client.send("1").await;
    let message = app.next_of("message").await.json();
    assert_eq!(
        (&message["user_name"], &message["namespace"]),
        (&json!("bob"), &json!("space"))
    );
    assert_eq!(
        gateway.send(&json!({"payload": 1, "users": ["ann"]})).await["matched"],
        0
    );
    assert_eq!(
        gateway
            .send(&json!({"payload": 1, "users": ["bob"], "namespace": "space"}))
            .await["matched"],
        1
    );
    client.close(1000, "").await;
    assert_eq!(app.next_of("close").await.field("user_name"), "bob");
}

/// Also for a client that has already gone when the answer comes.
#[tokio::test]
async fn the_open_answer_names_the_user_of_one_who_left_meanwhile() {
    let mut app = App::start().await;
    let gate = support::Gate::closed();
    app.answer_opens(
        Answer::action(&json!({"user_name": "bob", "namespace": "space"})).once_open(&gate),
    );
    let gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    client.send("1").await;
    client.close(1000, "").await;
    gate.open();
    for action in ["message", "close"] {
        let call = app.next_of(action).await;
        assert_eq!(
            (call.field("user_name"), call.field("namespace")),
            ("bob", "space"),
            "{action}"
        );
    }
}

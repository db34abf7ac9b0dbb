//! The auth hook: the app is asked before each upgrade, and its word is final.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::time::{Duration, Instant};

use support::{Answer, App, Client, Gate, Gateway, Launch, http};

async fn guarded(app: &App) -> Gateway {
    Launch::for_app(app).set("auth", "/ws/auth").start().await
}

/// Answers the hook so, and callbacks with 200.
fn on_hook(app: &App, answer: Answer) {
    app.answer(move |call| {
        if call.path.starts_with("/ws/auth") {
            answer.clone()
        } else {
            Answer::ok()
        }
    });
}

#[tokio::test]
async fn the_app_is_asked_with_all_that_the_client_sent() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("auth", "/ws/auth")
        .set("origins", "https://app.example")
        .start()
        .await;
    let headers = [
        ("Cookie", "session=1"),
        ("Authorization", "Bearer abc"),
        ("Origin", "https://app.example"),
        ("Sec-WebSocket-Protocol", "v2, v1"),
        ("X-BFL-USER", "ann"),
        ("X-Custom", "kept"),
    ];
    let _client = Client::with(&gateway, "/ws?token=valid&userId=5", &headers).await;
    let asked = app.next().await;
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str()),
        ("GET", "/ws/auth?token=valid&userId=5")
    );
    assert_eq!(
        asked.header("x-original-uri"),
        Some("/ws?token=valid&userId=5")
    );
    for (name, value) in headers {
        assert_eq!(asked.header(name), Some(value), "{name}");
    }
    for name in [
        "connection",
        "upgrade",
        "sec-websocket-key",
        "sec-websocket-version",
        "content-length",
    ] {
        assert_eq!(asked.header(name), None, "{name}");
    }
    assert!(asked.body.is_empty());
    app.next_of("open").await;
}

#[tokio::test]
async fn a_path_with_a_query_of_its_own() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("auth", "/check?kind=ws")
        .start()
        .await;
    let _client = Client::with(&gateway, "/ws?a=b", &[]).await;
    assert_eq!(app.next().await.path, "/check?kind=ws&a=b");
}

#[tokio::test]
async fn a_401_reaches_the_client_with_its_challenge_and_body() {
    let app = App::start().await;
    let challenge = Answer::status(401)
        .with_header("WWW-Authenticate", "Basic realm=\"Clown.Hub\"")
        .with_header("Content-Type", "text/html; charset=utf-8")
        .with_header("X-Custom", "kept")
        .with_body("<h1>who are you?</h1>");
    on_hook(&app, challenge);
    let gateway = guarded(&app).await;
    let refused = http::upgrade(gateway.clients, "/ws", &[]).await;
    assert_eq!(refused.status, 401);
    assert_eq!(
        refused.header("www-authenticate"),
        Some("Basic realm=\"Clown.Hub\"")
    );
    assert_eq!(
        refused.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(refused.header("x-custom"), Some("kept"));
    assert_eq!(refused.text(), "<h1>who are you?</h1>");
    assert!(app.calls_of("open").is_empty());
}

#[tokio::test]
async fn redirects_and_errors_reach_the_client() {
    let app = App::start().await;
    let gateway = guarded(&app).await;
    for status in [302, 303, 307, 400, 403, 404, 429, 500, 502] {
        on_hook(
            &app,
            Answer::status(status)
                .with_header("Location", "/login?next=/ws")
                .with_body("no"),
        );
        let refused = http::upgrade(gateway.clients, "/ws", &[]).await;
        assert_eq!((refused.status, refused.text().as_str()), (status, "no"));
        assert_eq!(refused.header("location"), Some("/login?next=/ws"));
    }
    on_hook(
        &app,
        Answer::status(302)
            .with_header("Set-Cookie", "a=1")
            .with_header("Set-Cookie", "b=2"),
    );
    let refused = http::upgrade(gateway.clients, "/ws", &[]).await;
    let cookies: Vec<_> = refused
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"))
        .collect();
    assert_eq!(cookies.len(), 2);
    assert!(app.calls_of("open").is_empty());
}

#[tokio::test]
async fn any_2xx_lets_in_and_its_headers_decide() {
    let mut app = App::start().await;
    let yes = Answer::status(204)
        .with_header("X-BFL-USER", "hooked")
        .with_header("X-Ws-Namespace", "space")
        .with_header("Sec-WebSocket-Protocol", "v1");
    on_hook(&app, yes);
    let gateway = guarded(&app).await;
    let offered = [
        ("Sec-WebSocket-Protocol", "v2, v1"),
        ("X-BFL-USER", "header"),
        ("Authorization", "Basic Y2xvd246eA=="),
    ];
    let client = Client::with(&gateway, "/ws?namespace=query", &offered).await;
    assert_eq!(client.header("sec-websocket-protocol"), Some("v1"));
    app.next().await;
    let open = app.next_of("open").await;
    assert_eq!(
        (open.field("user_name"), open.field("namespace")),
        ("hooked", "space")
    );
}

/// As nginx does by `auth_request_set` and `add_header`: a session that the app renews.
#[tokio::test]
async fn cookies_of_the_hook_come_with_the_101() {
    let app = App::start().await;
    let renewed = ["session=2; Path=/; HttpOnly; SameSite=Lax", "seen=1"];
    let yes = renewed.iter().fold(Answer::status(204), |answer, cookie| {
        answer.with_header("Set-Cookie", cookie)
    });
    on_hook(&app, yes.with_header("X-Custom", "the hook's alone"));
    let gateway = guarded(&app).await;
    let let_in = http::upgrade(gateway.clients, "/ws", &[]).await;
    assert_eq!(let_in.status, 101);
    let cookies = let_in.headers.iter().filter_map(|(name, value)| {
        name.eq_ignore_ascii_case("set-cookie")
            .then_some(value.as_str())
    });
    assert_eq!(cookies.collect::<Vec<_>>(), renewed);
    assert_eq!(let_in.header("x-custom"), None);
}

#[tokio::test]
async fn an_app_that_is_down_lets_nobody_in() {
    let mut app = App::start().await;
    let gateway = guarded(&app).await;
    app.kill().await;
    let refused = http::upgrade(gateway.clients, "/ws", &[]).await;
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some());
    app.start_again().await;
    on_hook(&app, Answer::reset());
    assert_eq!(http::upgrade(gateway.clients, "/ws", &[]).await.status, 503);
    assert!(app.calls_of("open").is_empty());
    on_hook(&app, Answer::ok());
    Client::connect(&gateway).await;
}

#[tokio::test]
async fn an_app_that_is_late_lets_nobody_in() {
    let app = App::start().await;
    let gate = Gate::closed();
    on_hook(&app, Answer::ok().once_open(&gate));
    let gateway = Launch::for_app(&app)
        .set("auth", "/ws/auth")
        .set("callback.timeout", "500ms")
        .start()
        .await;
    let started = Instant::now();
    assert_eq!(http::upgrade(gateway.clients, "/ws", &[]).await.status, 503);
    assert!(started.elapsed() >= Duration::from_millis(500));
    gate.open();
    assert!(app.calls_of("open").is_empty());
}

/// A gateway without an app has nobody to ask, so nobody comes in.
#[tokio::test]
async fn a_hook_without_an_app_lets_nobody_in() {
    let gateway = Launch::new().set("auth", "/ws/auth").start().await;
    assert_eq!(http::upgrade(gateway.clients, "/ws", &[]).await.status, 503);
}

/// What is refused anyway does not bother the app.
#[tokio::test]
async fn no_upgrade_no_question() {
    let app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("auth", "/ws/auth")
        .set("origins", "https://a.example")
        .start()
        .await;
    assert_eq!(http::get(gateway.clients, "/ws").await.status, 426);
    assert_eq!(
        http::upgrade(gateway.clients, "/ws", &[("Origin", "https://b.example")])
            .await
            .status,
        403
    );
    assert!(app.calls().is_empty());
}

/// A spoofed identity header does not become the hook's by way of the question.
#[tokio::test]
async fn the_hook_does_not_see_a_strangers_identity_header() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("auth", "/ws/auth")
        .set("identity.trustedProxies", "10.0.0.0/8")
        .start()
        .await;
    let _client = Client::with(&gateway, "/ws", &[("X-BFL-USER", "admin")]).await;
    assert_eq!(app.next().await.header("x-bfl-user"), None);
    assert_eq!(app.next_of("open").await.field("user_name"), "");
    // CGI, PHP and WSGI read each of these as HTTP_X_BFL_USER; and one as our own X-Original-URI.
    let spelled = [
        ("X_BFL_USER", "admin"),
        ("X.BFL.USER", "admin"),
        ("X-BFL_USER", "admin"),
        ("X_Original_URI", "/admin"),
    ];
    let _client = Client::with(&gateway, "/ws", &spelled).await;
    let asked = app.next().await;
    let seen = format!("{:?}", asked.headers);
    assert!(!seen.contains("admin"), "{seen}");
    assert_eq!(asked.header("x-original-uri"), Some("/ws"));
}

/// RFC 9110 §7.6.1: what concerns the app's connection to the gateway is no client's business.
#[tokio::test]
async fn a_refusal_leaves_hop_by_hop_headers_behind() {
    let app = App::start().await;
    let refusal = Answer::status(401)
        .with_header("Connection", "keep-alive, X-Hop")
        .with_header("Keep-Alive", "timeout=5, max=100")
        .with_header("Proxy-Connection", "keep-alive")
        .with_header("X-Hop", "gone")
        .with_header("WWW-Authenticate", "Basic")
        .with_header("X-Kept", "kept");
    on_hook(&app, refusal);
    let gateway = guarded(&app).await;
    let refused = http::upgrade(gateway.clients, "/ws", &[]).await;
    assert_eq!(refused.status, 401);
    for name in ["keep-alive", "proxy-connection", "x-hop"] {
        assert_eq!(refused.header(name), None, "{name}");
    }
    assert_eq!(refused.header("www-authenticate"), Some("Basic"));
    assert_eq!(refused.header("x-kept"), Some("kept"));
}

/// A hook that looks at a cookie has checked no password.
#[tokio::test]
async fn a_name_in_the_url_is_not_vouched_for_by_a_cookie() {
    let mut app = App::start().await;
    let gateway = guarded(&app).await;
    let mallory = [
        ("Cookie", "session=valid-of-mallory"),
        ("Authorization", "Basic YWRtaW46d2hhdGV2ZXI="),
    ];
    let _client = Client::with(&gateway, "/ws", &mallory).await;
    app.next().await;
    assert_eq!(app.next_of("open").await.field("user_name"), "");
}

/// Midway's `onWebSocketUpgrade` returns `false`; over HTTP that is a 200.
#[tokio::test]
async fn an_answer_that_is_false_lets_nobody_in() {
    let app = App::start().await;
    let gateway = guarded(&app).await;
    for (body, status) in [
        ("false", 403),
        (" false\r\n", 403),
        ("true", 101),
        ("", 101),
        (r#"{"ok":false}"#, 101),
        ("\"false\"", 101),
    ] {
        on_hook(&app, Answer::status(200).with_body(body));
        let answer = http::upgrade(gateway.clients, "/ws", &[]).await;
        assert_eq!(answer.status, status, "{body:?}");
    }
    let log = gateway.log();
    assert!(log.contains("the auth hook answered `false`"), "{log}");
    assert!(
        log.contains("/ws/auth") && log.contains("answer 403"),
        "{log}"
    );
}

//! In front of the app's own port (`expose: entrance`): what a stranger may not send to the app.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::net::{IpAddr, SocketAddr};

use support::elsewhere::ADDRESS;
use support::reverse::Nginx;
use support::{Answer, App, Client, Gateway, Launch, Raw, elsewhere, http};

/// The app's pages are on the port that gets the callbacks.
fn in_front_of(app: &App) -> Launch {
    Launch::for_app(app)
        .arg("--upstream-port", &app.port().to_string())
        .arg("--pod-ip", "127.0.0.1")
}

/// What the app says of everything that is no callback of ours.
const SEEN: u16 = 418;

async fn stage() -> (App, Gateway) {
    let app = App::start().await;
    app.answer(|_| Answer::status(SEEN));
    let gateway = in_front_of(&app)
        .set("types", "[{type: order, url: /ws/order}]")
        .set("auth", "/ws/auth")
        .start()
        .await;
    (app, gateway)
}

const FORGED: &str = r#"{"action":"open","user_name":"admin","conn_id":"1","data":{}}"#;

/// Bytes as they are: no client library has a say in the request's target.
async fn ask(gateway: &Gateway, method: &str, target: &str, body: &str) -> u16 {
    let mut raw = Raw::dial(gateway.clients).await;
    let length = match body {
        "" => String::new(),
        body => format!("Content-Length: {}\r\n", body.len()),
    };
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n{length}\r\n{body}"
    );
    raw.send(request.as_bytes()).await;
    raw.response().await.status
}

#[tokio::test]
async fn a_post_to_a_callbacks_path_is_404_however_it_is_spelled() {
    let (app, gateway) = stage().await;
    for target in [
        "/ws/message",
        "/ws/order",
        "/ws/message?x=y",
        "/ws/message/",
        "//ws/message",
        "/ws//message",
        "/WS/Message",
        "/ws/%6dessage",
        "/ws%2Fmessage",
        "/ws/mess%2561ge",
        "/ws/%25256dessage",
        "/./ws/message",
        "/ws/./message",
        "/x/../ws/message",
        "/x/%2e%2e/ws/message",
        "/x/%252e%252e/ws/message",
        "/x%2f../ws/message",
        "/ws//../message",
        "/ws;a=b/message",
        "/ws/message;jsessionid=1",
        "/ws/x/..;/message",
        "/ws/message%3bx",
        "/ws/message%3fx",
        "/ws/message%23",
        "/ws/message%00",
        "/ws/message%0a",
        "/ws/message%20",
        "/ws%5cmessage",
        "/ws\\message",
        "//app.example/ws/message",
        "http://app.example/ws/message",
        "HTTP://app.example:80//ws/%6dessage",
        "/ws/message.json",
    ] {
        let status = ask(&gateway, "POST", target, FORGED).await;
        assert!(matches!(status, 400 | 404), "{target}: {status}");
        let seen = app.calls();
        assert!(seen.is_empty(), "{target} reached the app: {seen:?}");
    }
    // What a handler that looks at no method takes for a callback.
    for (method, body) in [
        ("post", FORGED),
        ("PUT", FORGED),
        ("GET", FORGED),
        ("POST", ""),
    ] {
        let status = ask(&gateway, method, "/ws/message", body).await;
        assert_eq!(status, 404, "{method}");
    }
    assert!(app.calls().is_empty());
    support::eventually("a line in the log", async || {
        gateway
            .log()
            .contains("404 to a request from outside")
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn everything_else_still_reaches_the_app() {
    let (app, gateway) = stage().await;
    for (method, target, body) in [
        ("GET", "/ws/message", ""),
        ("HEAD", "/ws/message", ""),
        ("POST", "/ws/auth", "x"),
        ("POST", "/", "x"),
        ("POST", "/ws", "x"),
        ("POST", "/ws/messages", "x"),
        ("POST", "/ws/message/more", "x"),
        ("DELETE", "/orders/1", ""),
    ] {
        let status = ask(&gateway, method, target, body).await;
        assert_eq!(status, SEEN, "{method} {target}");
    }
    assert_eq!(app.calls().len(), 8);
}

/// Callbacks do not come through the gateway's own port, so they are not held back.
#[tokio::test]
async fn callbacks_arrive_all_the_same() {
    let mut app = App::start().await;
    let gateway = in_front_of(&app).start().await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    client.send("1").await;
    app.next_of("message").await;
}

/// `PRI` is HTTP/2 only with all of its preface: else a lenient app would take what stands behind it
/// for a request that was looked at.
#[tokio::test]
async fn a_preface_that_is_none_hides_no_request() {
    let web = App::start().await;
    let gateway = Launch::new()
        .env("WS_POD_IP", "127.0.0.1")
        .env("WS_UPSTREAM_PORT", &web.port().to_string())
        .set("identity.trustedProxies", "10.0.0.0/8")
        .start()
        .await;
    for first in ["PRI / HTTP/1.1", "PRI * HTTP/1.1", "PRI * HTTP/2.0"] {
        let mut raw = Raw::dial(gateway.clients).await;
        let hidden =
            "GET /hidden HTTP/1.1\r\nHost: a\r\nX-BFL-USER: admin\r\nConnection: close\r\n\r\n";
        raw.send_what_goes(format!("{first}\r\nHost: a\r\n\r\n{hidden}").as_bytes())
            .await;
        raw.rest().await;
    }
    let calls = web.calls();
    assert!(!calls.is_empty(), "the first two are requests");
    for call in calls {
        assert_eq!(call.header("x-bfl-user"), None, "{call:?}");
    }
}

/// What HTTP/2 asks for is not looked into: not where callbacks go as well.
#[tokio::test]
async fn http_2_does_not_carry_a_callback_past_the_gateway() {
    let (app, gateway) = stage().await;
    let mut raw = Raw::dial(gateway.clients).await;
    raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let said = raw.rest().await;
    // A GOAWAY whose error is HTTP_1_1_REQUIRED (RFC 9113 §7).
    assert_eq!(
        (said[12], &said[22..26]),
        (7, &[0, 0, 0, 13][..]),
        "{said:?}"
    );

    let upgrade = [
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"),
    ];
    let answer = http::call(gateway.clients, "GET", "/page", &upgrade, b"").await;
    assert_eq!(answer.status, SEEN);
    let calls = app.calls();
    assert_eq!(calls.len(), 1);
    for name in ["upgrade", "http2-settings", "connection"] {
        assert_eq!(calls[0].header(name), None, "{name}");
    }
}

const SPELLINGS: [&str; 5] = [
    "X-BFL-USER",
    "x_bfl_user",
    "X.BFL.USER",
    "X-BFL_USER",
    "X.bfl-user",
];

#[tokio::test]
async fn no_spelling_of_an_identity_header_gets_past_from_a_stranger() {
    let app = App::start().await;
    let gateway = in_front_of(&app)
        .set("auth", "/ws/auth")
        .set("identity.trustedProxies", "10.0.0.0/8")
        .start()
        .await;
    let mut clients = Vec::new();
    for name in SPELLINGS {
        let headers = [
            (name, "admin"),
            ("X_Forwarded_For", "127.0.0.9"),
            ("X_Custom", "kept"),
        ];
        http::call(gateway.clients, "GET", "/page", &headers, b"").await;
        clients.push(Client::with(&gateway, "/ws", &headers).await);
    }
    app.until_calls("open", SPELLINGS.len()).await;
    let calls = app.calls();
    assert_eq!(calls.len(), 3 * SPELLINGS.len());
    for call in calls {
        let text = format!("{call:?}").to_lowercase();
        assert!(
            !text.contains("admin") && !text.contains("127.0.0.9"),
            "{text}"
        );
        assert_eq!(call.field("user_name"), "");
        assert!(call.action() == "open" || call.header("x_custom") == Some("kept"));
    }
}

/// The edge overwrites one spelling; what its client sent in another is a stranger's word too.
#[tokio::test]
async fn a_trusted_proxys_client_has_no_other_spelling_either() {
    let mut app = App::start().await;
    let gateway = in_front_of(&app)
        .set("identity.trustedProxies", "127.0.0.1")
        .start()
        .await;
    let headers = [
        ("x_bfl_user", "admin"),
        ("X-BFL-USER", "mallory"),
        ("X-BFL-USER", "ann"),
        ("X-Forwarded-For", "192.0.2.1"),
    ];
    http::call(gateway.clients, "GET", "/page", &headers, b"").await;
    let page = app.next().await;
    let named: Vec<_> = page
        .headers
        .iter()
        .filter(|(name, _)| name.to_lowercase().contains("bfl"))
        .collect();
    assert_eq!(named, [&("X-BFL-USER".to_owned(), "ann".to_owned())]);
    let (_client, open) = Client::open_with(&gateway, &mut app, "/ws", &headers).await;
    assert_eq!(open["user_name"], "ann");
    assert_eq!(open["request"]["headers"].get("x_bfl_user"), None);
}

/// Where the proxies are listed a stranger is none, as at the edge of nginx, Envoy and Traefik.
#[tokio::test]
async fn nobody_but_a_listed_proxy_speaks_for_others() {
    const SAID: [(&str, &str); 8] = [
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Port", "443"),
        ("X_Forwarded_Proto", "https"),
        ("Forwarded", "for=6.6.6.6;proto=https"),
        ("True-Client-IP", "6.6.6.6"),
        ("X-Forwarded-For", "6.6.6.6"),
        ("X-Real-IP", "6.6.6.6"),
    ];
    if !elsewhere::inside("nobody_but_a_listed_proxy_speaks_for_others") {
        return;
    }
    // The page's header, and the same in the open callback's `request`.
    let seen = async |trusted: Option<&str>, name: &str| {
        let said = SAID.iter().find(|(said, _)| *said == name).unwrap();
        let mut app = App::start().await;
        let launch = match trusted {
            Some(proxies) => in_front_of(&app).set("identity.trustedProxies", proxies),
            None => in_front_of(&app),
        };
        let gateway = launch.start().await;
        let clients = SocketAddr::new(ADDRESS, gateway.clients.port());
        http::call(clients, "GET", "/page", &SAID, b"").await;
        let page = app.next().await.header(name).map(str::to_owned);
        let _client = Client::to(clients, "/ws", &SAID).await;
        let open = app.next_of("open").await.json();
        let open = open["request"]["headers"].get(name.to_lowercase());
        let open = open.map(|value| value.as_str().unwrap().to_owned());
        let sent = said.1.to_owned();
        (page, open, sent)
    };
    let address = ADDRESS.to_string();
    for (name, _) in SAID {
        let (page, open, _) = seen(Some("10.0.0.0/8"), name).await;
        // The page is told whose request it is.
        let ours = matches!(name, "X-Forwarded-For" | "X-Real-IP").then(|| address.clone());
        assert_eq!((page, open), (ours, None), "{name}");
        // While none is listed, any peer may be a proxy whose word the app needs.
        for trusted in [Some(address.as_str()), Some("[]"), None] {
            let (page, open, sent) = seen(trusted, name).await;
            let expected = match name {
                "X_Forwarded_Proto" => (None, None),
                "X-Forwarded-For" => (Some(format!("{sent}, {address}")), Some(sent)),
                _ => (Some(sent.clone()), Some(sent)),
            };
            assert_eq!((page, open), expected, "{trusted:?} {name}");
        }
    }
}

/// nginx passes the client's `Connection` on, as its documentation shows for WebSockets.
#[tokio::test]
async fn a_clients_connection_header_strips_nothing_that_the_edge_said() {
    let mut app = App::start().await;
    let gateway = in_front_of(&app)
        .set("identity.trustedProxies", "127.0.0.1")
        .start()
        .await;
    let usual = "proxy_http_version 1.1; proxy_set_header Host app.example;
        proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection;
        proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-BFL-USER ann;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header Forwarded for=192.0.2.1;";
    let nginx = Nginx::start(gateway.clients, usual).await;
    let said = [
        ("host", "app.example"),
        ("x-bfl-user", "ann"),
        // nginx' peer, and nginx as ours.
        ("x-forwarded-for", "127.0.0.1, 127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("forwarded", "for=192.0.2.1"),
        ("cookie", "a=b"),
        ("authorization", "Bearer t"),
        ("content-type", "text/plain"),
    ];
    for (name, _) in said {
        let connection = format!("close, X-Hop, {name}");
        let headers = [
            ("Connection", connection.as_str()),
            ("Cookie", "a=b"),
            ("Authorization", "Bearer t"),
            ("Content-Type", "text/plain"),
            ("X-Hop", "gone"),
        ];
        http::call(nginx.address, "POST", "/page", &headers, b"x").await;
        let page = app.next().await;
        for (kept, value) in said {
            assert_eq!(page.header(kept), Some(value), "{connection}: {kept}");
        }
        assert_eq!(page.header("x-hop"), None, "what is really hop-by-hop goes");
    }
    // The upgrade, and the app's open, too.
    let connection = "Upgrade, X-BFL-USER, Host, Cookie";
    let headers = [("Connection", connection), ("Cookie", "auth_token=t")];
    let answer = http::upgrade(nginx.address, "/ws", &headers).await;
    assert_eq!(answer.status, 101);
    let open = app.next_of("open").await;
    assert_eq!((open.field("user_name"), open.field("token")), ("ann", "t"));
}

/// A mesh's sidecar brings strangers in from 127.0.0.6.
#[tokio::test]
async fn loopback_is_not_all_the_pod() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let mesh: IpAddr = [127, 0, 0, 6].into();
    let mut stranger = Raw::dial_from(mesh, gateway.clients).await;
    stranger.upgrade(&[("X-BFL-USER", "admin")]).await;
    assert_eq!(app.next_of("open").await.field("user_name"), "");
    let mut caller = Raw::dial_from(mesh, gateway.clients).await;
    caller
        .send(b"GET /tapr/ws/conn/list HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(caller.response().await.status, 404);
    // Nor is what a proxy in the pod carries in from 127.0.0.1.
    let mut clients = Vec::new();
    for said in [
        "X-Forwarded-For",
        "X-Envoy-External-Address",
        "Via",
        "x_real_ip",
    ] {
        let headers = [("X-BFL-USER", "admin"), (said, "192.0.2.1")];
        let (client, open) = Client::open_with(&gateway, &mut app, "/ws", &headers).await;
        assert_eq!(open["user_name"], "", "{said}");
        clients.push(client);
    }
}

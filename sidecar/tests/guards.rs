//! Nobody gets in: the admin API is the pod's, identity is the trusted peer's.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::net::SocketAddr;

use serde_json::json;
use support::gateway::BEARER;
use support::reverse::{Nginx, relay};
use support::{Answer, App, Client, Gateway, Launch, Raw, elsewhere, http};
use tokio::net::TcpStream;

const LIST: &str = "/tapr/ws/conn/list";

async fn status(to: SocketAddr, headers: &[(&str, &str)]) -> u16 {
    http::call(to, "GET", LIST, headers, b"").await.status
}

async fn each_host_gets(to: SocketAddr, hosts: &[&str], wanted: u16) {
    for host in hosts {
        assert_eq!(status(to, &[("Host", host)]).await, wanted, "{host}");
    }
}

#[tokio::test]
async fn the_pods_own_processes_get_in() {
    let app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let own = [
        "localhost",
        "localhost:40010",
        "127.0.0.1",
        "127.0.0.1:40010",
        "[::1]",
        "[::1]:40010",
        "Localhost:40010",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]:40010",
    ];
    each_host_gets(gateway.clients, &own, 200).await;
    let v6 = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, gateway.clients.port()));
    assert_eq!(status(v6, &[]).await, 200);
}

#[tokio::test]
async fn another_address_does_not_find_the_admin_api() {
    if !elsewhere::inside("another_address_does_not_find_the_admin_api") {
        return;
    }
    let app = App::start().await;
    for guarded in [false, true] {
        let launch = Launch::for_app(&app);
        let launch = if guarded { launch.guarded() } else { launch };
        let gateway = launch.start().await;
        let from_elsewhere = SocketAddr::new(elsewhere::ADDRESS, gateway.clients.port());
        for headers in [&[][..], &[("Host", "127.0.0.1:40010")], &[BEARER]] {
            assert_eq!(
                status(from_elsewhere, headers).await,
                404,
                "{guarded} {headers:?}"
            );
        }
        for (call, body) in [
            ("send", r#"{"payload":1,"all":true}"#),
            ("close", r#"{"all":true}"#),
        ] {
            let path = format!("/tapr/ws/conn/{call}");
            assert_eq!(
                http::call(from_elsewhere, "POST", &path, &[], body.as_bytes())
                    .await
                    .status,
                404
            );
        }
        // Clients do.
        let _client = Client::to(from_elsewhere, "/ws", &[]).await;
    }
}

#[tokio::test]
async fn identity_headers_from_another_address_are_ignored() {
    if !elsewhere::inside("identity_headers_from_another_address_are_ignored") {
        return;
    }
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let from_elsewhere = SocketAddr::new(elsewhere::ADDRESS, gateway.clients.port());
    let _stranger = Client::to(from_elsewhere, "/ws", &[("X-BFL-USER", "admin")]).await;
    let open = app.next_of("open").await;
    assert_eq!(open.field("user_name"), "");
    assert_eq!(open.json()["request"]["headers"].get("x-bfl-user"), None);
    let _own = Client::to(gateway.clients, "/ws", &[("X-BFL-USER", "ann")]).await;
    assert_eq!(app.next_of("open").await.field("user_name"), "ann");
}

/// A page whose name points to loopback (DNS rebinding) sends its own name.
#[tokio::test]
async fn a_foreign_host_is_refused() {
    let app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let foreign = [
        "evil.example",
        "evil.example:40010",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "xlocalhost",
        "127.0.0.2",
        "127.0.1.1",
        "localhost.",
        "[::1].evil.example",
        "localhost@evil.example",
        "0.0.0.0:40010",
    ];
    each_host_gets(gateway.clients, &foreign, 403).await;
    let refused = r#"ws_gateway_admin_requests_total{call="refused",code="403"}"#;
    assert_eq!(gateway.metric(refused).await, foreign.len() as u64);
    // No Host, two of them, and one that the request line contradicts.
    for request in [
        format!("GET {LIST} HTTP/1.1\r\n\r\n"),
        format!("GET {LIST} HTTP/1.0\r\n\r\n"),
        format!("GET {LIST} HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"),
        format!("GET http://evil.example{LIST} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ] {
        let mut raw = Raw::dial(gateway.clients).await;
        raw.send(request.as_bytes()).await;
        let answer = raw.response().await;
        assert!(matches!(answer.status, 400 | 403), "{request}: {answer:?}");
    }
}

#[tokio::test]
async fn what_came_through_a_proxy_is_refused() {
    let app = App::start().await;
    let gateway = Gateway::start(&app).await;
    for name in [
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "x-forwarded-anything",
        "Via",
        "X-Real-IP",
        "X_Forwarded_For",
        "X-Original-Forwarded-For",
        "X-Envoy-External-Address",
        "CF-Connecting-IP",
        "True-Client-IP",
        "X-Client-IP",
        "X-Cluster-Client-IP",
    ] {
        assert_eq!(
            status(gateway.clients, &[(name, "127.0.0.1")]).await,
            403,
            "{name}"
        );
    }
}

/// A page in a browser on the same machine reaches loopback by its right name, and needs no
/// permission to post text; but its browser says where the page is from.
#[tokio::test]
async fn a_web_page_is_refused() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    let body = br#"{"all":true,"payload":"from a page","encoding":"text"}"#;
    for origin in ["https://evil.example", "http://localhost:3000", "null"] {
        let headers = [("Origin", origin), ("Content-Type", "text/plain")];
        let answer = http::call(
            gateway.clients,
            "POST",
            "/tapr/ws/conn/send",
            &headers,
            body,
        )
        .await;
        assert_eq!(answer.status, 403, "{origin}");
    }
    client.has_heard_nothing().await;
}

/// With a GET that a page causes (an image, a script) browsers send no `Origin`; they say what it
/// is for. Node's `fetch` says its mode, and is the app.
#[tokio::test]
async fn a_browser_without_an_origin_is_refused() {
    let app = App::start().await;
    let gateway = Gateway::start(&app).await;
    for said in [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-origin"),
        ("Sec-Fetch-Dest", "image"),
        ("Sec-Fetch-Mode", "no-cors"),
    ] {
        assert_eq!(status(gateway.clients, &[said]).await, 403, "{said:?}");
    }
    let node = [("Sec-Fetch-Mode", "cors")];
    assert_eq!(status(gateway.clients, &node).await, 200);
}

#[tokio::test]
async fn with_a_token_it_is_asked_of_everyone() {
    let app = App::start().await;
    let gateway = Launch::for_app(&app).guarded().start().await;
    assert_eq!(status(gateway.clients, &[BEARER]).await, 200);
    assert_eq!(
        status(gateway.clients, &[("Authorization", "bearer s3cret")]).await,
        200
    );
    for wrong in [
        "Bearer s3cre",
        "Bearer s3cret2",
        "Bearer ",
        "Basic s3cret",
        "s3cret",
        "Bearer S3CRET",
    ] {
        assert_eq!(
            status(gateway.clients, &[("Authorization", wrong)]).await,
            401,
            "{wrong}"
        );
    }
    assert_eq!(status(gateway.clients, &[]).await, 401);
    // The token does not replace the other guards on this port.
    assert_eq!(
        status(gateway.clients, &[BEARER, ("Host", "evil.example")]).await,
        403
    );
    assert_eq!(
        status(gateway.clients, &[BEARER, ("X-Forwarded-For", "1.2.3.4")]).await,
        403
    );
}

#[tokio::test]
async fn without_a_token_there_is_no_remote_admin_port() {
    let app = App::start().await;
    let gateway = Gateway::start(&app).await;
    TcpStream::connect(gateway.remote_admin).await.unwrap_err();
}

#[tokio::test]
async fn with_a_token_other_pods_use_the_api_on_its_own_port() {
    if !elsewhere::inside("with_a_token_other_pods_use_the_api_on_its_own_port") {
        return;
    }
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app).guarded().start().await;
    let remote = SocketAddr::new(elsewhere::ADDRESS, gateway.remote_admin.port());
    let (mut client, open) = Client::open(&gateway, &mut app).await;
    let body = json!({"payload": "from another pod", "conn_id": open["conn_id"]}).to_string();
    let path = "/tapr/ws/conn/send";
    // By any name, also through a Service's proxy; but never without the token.
    let by_name = [
        BEARER,
        ("Host", "gateway.namespace.svc"),
        ("X-Forwarded-For", "10.0.0.1"),
    ];
    assert_eq!(
        http::call(remote, "POST", path, &by_name, body.as_bytes())
            .await
            .status,
        200
    );
    assert_eq!(client.text().await, "\"from another pod\"");
    assert_eq!(
        http::call(remote, "POST", path, &[], body.as_bytes())
            .await
            .status,
        401
    );
    assert_eq!(
        http::call(
            remote,
            "POST",
            path,
            &[("Authorization", "Bearer x")],
            body.as_bytes()
        )
        .await
        .status,
        401
    );
    // Nothing else is there: no clients, no app.
    for other in ["/ws", "/", "/metrics", "/healthz"] {
        assert_eq!(
            http::upgrade(remote, other, &[BEARER]).await.status,
            404,
            "{other}"
        );
    }
}

/// In front of the app's own port everything else is the app's; the admin API is still nobody's,
/// in no spelling, and never passed on.
#[tokio::test]
async fn in_front_of_the_apps_port_the_admin_api_stays_closed() {
    if !elsewhere::inside("in_front_of_the_apps_port_the_admin_api_stays_closed") {
        return;
    }
    let app = App::start().await;
    app.answer(|_| Answer::status(418));
    let gateway = Launch::for_app(&app)
        .arg("--upstream-port", &app.port().to_string())
        .arg("--pod-ip", "127.0.0.1")
        .start()
        .await;
    let from_elsewhere = SocketAddr::new(elsewhere::ADDRESS, gateway.clients.port());
    let get = async |path: &str| {
        http::call(from_elsewhere, "GET", path, &[], b"")
            .await
            .status
    };
    assert_eq!(get(LIST).await, 404);
    assert!(app.calls().is_empty(), "it was passed on");
    for other in [
        "//tapr/ws/conn/list",
        "/tapr/ws/conn%2Flist",
        "/x/../tapr/ws/conn/list",
        "/TAPR/ws/conn/list",
        "/tapr/ws/conn",
    ] {
        assert_eq!(get(other).await, 418, "{other} is the app's");
    }
    // The app's own admin calls are not held up by being in front of it.
    assert_eq!(status(gateway.clients, &[]).await, 200);
}

/// A Secret without a value must not open what it was to close.
#[tokio::test]
async fn an_empty_admin_token_is_an_error() {
    for token in ["", " ", "\n"] {
        let run = tokio::process::Command::new(env!("CARGO_BIN_EXE_ws-gateway"))
            .arg("run")
            .env("WS_ADMIN_TOKEN", token)
            .kill_on_drop(true)
            .output();
        let output = support::soon("its end", run).await.unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{token:?}: {text}");
        assert!(
            text.contains("leave WS_ADMIN_TOKEN out"),
            "{token:?}: {text}"
        );
    }
}

/// A reverse proxy inside the pod reaches the gateway from loopback. The usual ones say what they
/// are; against one that does not, and names itself `localhost`, there is the token.
#[tokio::test]
async fn through_a_reverse_proxy_in_the_pod() {
    let app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let guarded = Launch::for_app(&app).guarded().start().await;
    let port = gateway.clients.port();
    let stranger = [("Host", "app.example")];
    let keeps_host = relay(gateway.clients, "app.example", "").await;
    assert_eq!(status(keeps_host, &stranger).await, 403);
    let says_so = relay(
        gateway.clients,
        &format!("127.0.0.1:{port}"),
        "X-Forwarded-For: 192.0.2.1\r\n",
    )
    .await;
    assert_eq!(status(says_so, &stranger).await, 403);
    let says_nothing = relay(gateway.clients, &format!("127.0.0.1:{port}"), "").await;
    assert_eq!(
        status(says_nothing, &stranger).await,
        200,
        "cannot be told apart, as SECURITY.md says"
    );
    let says_nothing = relay(guarded.clients, &format!("127.0.0.1:{port}"), "").await;
    assert_eq!(
        status(says_nothing, &stranger).await,
        401,
        "but the token holds"
    );
}

#[tokio::test]
async fn through_nginx_in_the_pod() {
    let app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let guarded = Launch::for_app(&app).guarded().start().await;
    let stranger = [("Host", "app.example")];
    let usual =
        "proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;";
    let nginx = Nginx::start(gateway.clients, usual).await;
    assert_eq!(status(nginx.address, &stranger).await, 403);
    let real_ip = Nginx::start(gateway.clients, "proxy_set_header X-Real-IP $remote_addr;").await;
    assert_eq!(status(real_ip.address, &stranger).await, 403);
    let bare = Nginx::start(guarded.clients, "").await;
    assert_eq!(status(bare.address, &stranger).await, 401);
}

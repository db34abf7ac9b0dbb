//! Sockets of strangers that become no WebSockets: as many as one machine can open, from another
//! address than the app's. Whoever comes meanwhile gets in; the strangers pay.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use support::elsewhere::{ADDRESS, OTHER};
use support::{App, Client, Gateway, Launch, Raw, elsewhere, eventually, http, raw, soon};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const MIB: u64 = 1 << 10;
/// More than the gateway has places for.
const MANY: usize = 4300;
/// Half a request.
const HALF: &[u8] = b"GET /ws HTTP/1.1\r\nHost: loc";

/// The gateway's ports as they are seen from elsewhere.
fn seen(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(ADDRESS, address.port())
}

async fn hold(count: usize, to: SocketAddr, first_bytes: &[u8]) -> Vec<Raw> {
    let mut held = Vec::new();
    for _ in 0..count {
        let mut raw = Raw::dial_from(OTHER, to).await;
        raw.send_what_goes(first_bytes).await;
        held.push(raw);
    }
    held
}

fn open(held: &[Raw]) -> usize {
    held.iter().filter(|raw| raw.is_open()).count()
}

/// The app's own port, with the gateway in front of it.
fn in_front_of(app: &TcpListener) -> Launch {
    Launch::new().env("WS_POD_IP", "127.0.0.1").env(
        "WS_UPSTREAM_PORT",
        &app.local_addr().unwrap().port().to_string(),
    )
}

/// A connection to the app, once something has come on it.
async fn asked(app: &TcpListener) -> TcpStream {
    let (mut stream, _) = soon("a connection", app.accept()).await.unwrap();
    let mut read = Vec::new();
    let count = soon("a request", stream.read_buf(&mut read)).await;
    assert!(count.unwrap() > 0);
    stream
}

/// Answers every request of every connection, and does nothing about anything else.
async fn answering(app: TcpListener) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((mut stream, _)) = app.accept().await {
        connections.spawn(async move {
            let mut read = Vec::new();
            while let Ok(Some(_)) = http::read_head(&mut stream, &mut read).await {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                if stream.write_all(answer).await.is_err() {
                    return;
                }
            }
        });
    }
}

#[tokio::test]
async fn many_half_open_handshakes_keep_nobody_out() {
    if !elsewhere::inside("many_half_open_handshakes_keep_nobody_out") {
        return;
    }
    let app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("limits.handshake", "60s")
        .start()
        .await;
    let early = Raw::dial_from(ADDRESS, seen(gateway.clients)).await;
    let held = hold(MANY, seen(gateway.clients), HALF).await;
    for _ in 0..20 {
        let mut client = Client::to(seen(gateway.clients), "/ws", &[]).await;
        client.settle().await;
    }
    assert_eq!(gateway.list("").await["code"], 0, "the app gets through");
    let went = async || {
        let counted = gateway
            .metric(r#"ws_gateway_upgrades_refused_total{reason="crowded"}"#)
            .await;
        (MANY - open(&held) >= MANY - 4096 && counted >= 204).then_some(())
    };
    eventually("the oldest of them to go", went).await;
    assert!(early.is_open(), "it was there before, and holds one place");
    assert!(!held[0].is_open() && held[MANY - 1].is_open());
    assert!(gateway.log().contains("limits.handshake"), "it is told");
    let peak = gateway.memory("VmHWM");
    assert!(peak < 64 * MIB, "{peak} KiB");
}

#[tokio::test]
async fn in_front_of_an_app_they_keep_nobody_out_either() {
    if !elsewhere::inside("in_front_of_an_app_they_keep_nobody_out_either") {
        return;
    }
    let app = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = in_front_of(&app)
        .set("limits.handshake", "60s")
        .start()
        .await;
    let answering = tokio::spawn(answering(app));
    // Half a request, half of HTTP/2's first words, and a TLS handshake that stops there: the
    // last is the app's, and holds a place of another kind.
    for first_bytes in [HALF, b"PR", b"\x16"] {
        let held = hold(MANY, seen(gateway.clients), first_bytes).await;
        for _ in 0..20 {
            let page = http::get(seen(gateway.clients), "/page").await;
            assert_eq!(page.status, 200, "{first_bytes:?}");
            drop(Client::to(seen(gateway.clients), "/ws", &[]).await);
        }
        let went = async || (open(&held) <= 4096).then_some(());
        eventually("the oldest of them to go", went).await;
    }
    answering.abort();
}

/// Whoever stands in the pod as a proxy is loopback too; only the app's idle connections may rest.
#[tokio::test]
async fn a_head_that_does_not_end_is_cut_off_on_loopback_too() {
    let app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("limits.handshake", "300ms")
        .start()
        .await;
    let list = http::request("GET", "/tapr/ws/conn/list", &[("Host", "localhost")], b"");
    let mut apps = Raw::dial(gateway.clients).await;
    let mut begins_again = Raw::dial(gateway.clients).await;
    for raw in [&mut apps, &mut begins_again] {
        raw.send(&list).await;
        assert_eq!(raw.response().await.status, 200);
    }
    let mut strangers = vec![begins_again];
    for _ in 0..4 {
        strangers.push(Raw::dial(gateway.clients).await);
    }
    strangers[0].send(b"G").await;
    strangers[1].send(b"G").await;
    strangers[2].send(HALF).await;
    strangers[3].send(b"\r\n\r\n").await;
    for (n, raw) in strangers.iter_mut().enumerate() {
        let end = soon("its end", raw.stream.read_to_end(&mut Vec::new())).await;
        assert!(matches!(end, Ok(0)), "{n}: {end:?}");
    }
    apps.send(&list).await;
    assert_eq!(apps.response().await.status, 200);
}

#[tokio::test]
async fn on_the_other_ports_a_head_has_its_time_too() {
    let app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("limits.handshake", "300ms")
        .env("WS_ADMIN_TOKEN", "0123456789abcdef0123456789abcdef")
        .start()
        .await;
    for port in [gateway.ops, gateway.remote_admin] {
        for first_bytes in [&b""[..], b"G", HALF] {
            let mut raw = Raw::dial(port).await;
            raw.send(first_bytes).await;
            let end = soon("its end", raw.stream.read_to_end(&mut Vec::new())).await;
            assert!(matches!(end, Ok(0)), "{port} {first_bytes:?}: {end:?}");
        }
    }
}

/// What is sent of a head counts: fewer can hold a place where each sends much.
#[tokio::test]
async fn heads_that_do_not_end_cost_little_memory() {
    if !elsewhere::inside("heads_that_do_not_end_cost_little_memory") {
        return;
    }
    let app = App::start().await;
    let gateway = Launch::for_app(&app)
        .env("WS_ADMIN_TOKEN", "0123456789abcdef0123456789abcdef")
        .start()
        .await;
    let before = gateway.memory("VmRSS");
    let bytes = [HALF, &[b'x'; 15 << 10]].concat();
    let mut held = Vec::new();
    for port in [gateway.clients, gateway.ops, gateway.remote_admin] {
        held.extend(hold(2000, seen(port), &bytes).await);
    }
    drop(Client::to(seen(gateway.clients), "/ws", &[]).await);
    let grown = gateway.memory("VmHWM").saturating_sub(before);
    eprintln!("6,000 heads of 15 KiB that do not end: {} MiB", grown / MIB);
    assert!(grown < 64 * MIB, "{grown} KiB");
    let went = async || (open(&held) < 2100).then_some(());
    eventually("most of them to go", went).await;
}

#[tokio::test]
async fn on_the_other_ports_the_oldest_goes() {
    if !elsewhere::inside("on_the_other_ports_the_oldest_goes") {
        return;
    }
    let app = App::start().await;
    let gateway = Launch::for_app(&app)
        .env("WS_ADMIN_TOKEN", "0123456789abcdef0123456789abcdef")
        .start()
        .await;
    for (port, places) in [(gateway.ops, 64), (gateway.remote_admin, 256)] {
        let path = "/healthz";
        for first_bytes in [
            HALF.to_vec(),
            http::request("GET", path, &[("Host", "a")], b""),
        ] {
            let held = hold(500, seen(port), &first_bytes).await;
            assert!(http::get(seen(port), path).await.status > 0);
            let went = async || (open(&held) <= places).then_some(());
            eventually("the oldest of them to go", went).await;
        }
    }
}

/// What was sent is waited for, not looked for.
#[tokio::test]
async fn first_bytes_that_may_become_either_cost_no_time() {
    let app = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = in_front_of(&app)
        .set("limits.handshake", "60s")
        .start()
        .await;
    let mut held = Vec::new();
    for _ in 0..4000 {
        let mut raw = Raw::dial(gateway.clients).await;
        raw.send(b"P").await;
        held.push(raw);
    }
    gateway.list("").await;
    let before = processor_time(&gateway);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let ticks = processor_time(&gateway) - before;
    assert_eq!(open(&held), 4000);
    assert!(ticks < 15, "{ticks} of 100 ticks for connections that wait");
}

/// In ticks, of which there are a hundred a second.
fn processor_time(gateway: &Gateway) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", gateway.pid())).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let number = |n: usize| fields.split(' ').nth(n).unwrap().parse::<u64>().unwrap();
    number(11) + number(12)
}

/// Streams, splices and tunnels that have died without a word.
#[tokio::test]
async fn what_is_silent_on_both_sides_ends() {
    let app = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = in_front_of(&app).set("limits.idle", "500ms").start().await;
    let upgrade = http::request(
        "GET",
        "/other",
        &[("Host", "a"), ("Connection", "Upgrade"), ("Upgrade", "x")],
        b"",
    );
    let stream = http::request("GET", "/events", &[("Host", "a")], b"");
    let cases: [(&[u8], &[u8]); 3] = [
        (b"\x16\x03\x01", b"hello"),
        (
            &upgrade,
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
        ),
        (
            &stream,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n.\r\n",
        ),
    ];
    for (asks, answer) in cases {
        let mut client = Raw::dial(gateway.clients).await;
        client.send(asks).await;
        let mut app = asked(&app).await;
        app.write_all(answer).await.unwrap();
        let mut byte = [0];
        soon("an answer", client.stream.read_exact(&mut byte))
            .await
            .unwrap();
        let ended = async {
            let mut rest = Vec::new();
            let _ = client.stream.read_to_end(&mut rest).await;
            let _ = app.read_to_end(&mut rest).await;
        };
        soon(
            &format!("the end of both sides: {}", String::from_utf8_lossy(asks)),
            ended,
        )
        .await;
    }
}

/// Streams of the app hold places of their own, and when those are all taken the oldest goes.
#[tokio::test]
async fn streams_of_the_app_keep_nobody_out() {
    let app = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = in_front_of(&app).set("limits.requests", "10").start().await;
    let mut held = Vec::new();
    for _ in 0..25 {
        let mut client = Raw::dial(gateway.clients).await;
        client
            .send(&http::request("GET", "/events", &[("Host", "a")], b""))
            .await;
        let mut app = asked(&app).await;
        let begins = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        app.write_all(begins).await.unwrap();
        client.stream.readable().await.unwrap();
        held.push((client, app));
    }
    let went = async || {
        let open: Vec<_> = held.iter().map(|(client, _)| client.is_open()).collect();
        (open[15..].iter().all(|open| *open) && !open[..15].contains(&true)).then_some(())
    };
    eventually("the oldest to go", went).await;
    // A WebSocket holds none of them.
    let mut sockets = Vec::new();
    for _ in 0..20 {
        sockets.push(Raw::open(&gateway).await);
    }
    assert_eq!(gateway.list("").await["code"], 0);
    assert!(sockets.iter().all(Raw::is_open));
    sockets[0].send(&raw::frame(raw::PING, b"")).await;
    assert_eq!(sockets[0].frame().await.unwrap().0, raw::PONG);
}

/// A proxy's clients have places of their own, so that one of them does not send away another.
#[tokio::test]
async fn behind_a_listed_proxy_whoever_takes_many_places_pays() {
    let app = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = in_front_of(&app)
        .set("identity.trustedProxies", "127.0.0.1")
        .set("limits.requests", "10")
        .start()
        .await;
    let mut held = Vec::new();
    let clients = ["198.51.100.7"; 1].into_iter().chain(["203.0.113.9"; 24]);
    for client in clients {
        let mut raw = Raw::dial(gateway.clients).await;
        let headers = [("Host", "a"), ("X-Forwarded-For", client)];
        raw.send(&http::request("GET", "/events", &headers, b""))
            .await;
        let app = asked(&app).await;
        held.push((raw, app));
    }
    let went = async || {
        let open: Vec<_> = held.iter().map(|(client, _)| client.is_open()).collect();
        (open.iter().filter(|open| **open).count() == 10).then_some(open)
    };
    let open = eventually("places to be taken from others", went).await;
    assert!(open[0], "it was there before, and holds one place");
    assert!(open[16..].iter().all(|open| *open), "{open:?}");
}

/// The same once a PROXY protocol header has named the client.
#[tokio::test]
async fn half_open_sockets_count_for_whom_the_proxy_protocol_names() {
    let app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("identity.trustedProxies", "127.0.0.1")
        .set("identity.proxyProtocol", "true")
        .set("limits.handshake", "60s")
        .start()
        .await;
    let half_open = async |client: &str| {
        let header = format!("PROXY TCP4 {client} 192.0.2.1 1 443\r\n");
        let mut raw = Raw::dial(gateway.clients).await;
        raw.send_what_goes(&[header.as_bytes(), HALF].concat())
            .await;
        raw
    };
    let early = half_open("198.51.100.7").await;
    let mut held = Vec::new();
    for _ in 0..MANY {
        held.push(half_open("203.0.113.9").await);
    }
    let went = async || (open(&held) <= 4096).then_some(());
    eventually("the oldest of them to go", went).await;
    assert!(early.is_open(), "it was there before, and holds one place");
}

/// One address opens connections without pause; others still get in.
#[tokio::test]
async fn connection_churn_of_one_address_keeps_nobody_out() {
    if !elsewhere::inside("connection_churn_of_one_address_keeps_nobody_out") {
        return;
    }
    let app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("limits.connectRate", "10")
        .set("identity.trustedProxies", "127.0.0.1/32")
        .start()
        .await;
    let upgrade = http::request("GET", "/ws", &http::upgrade_headers(&[]), b"");
    let (mut let_in, mut turned_away) = (0, 0);
    let mut newcomers = Vec::new();
    for n in 0..500 {
        let mut raw = Raw::dial_from(OTHER, seen(gateway.clients)).await;
        raw.send(&upgrade).await;
        let answer = raw.response().await;
        match answer.status {
            101 => let_in += 1,
            503 => {
                assert!(answer.header("retry-after").is_some());
                assert!(answer.text().contains("limits.connectRate"), "{answer:?}");
                turned_away += 1;
            }
            other => panic!("{other}"),
        }
        if n % 100 == 99 {
            newcomers.push(Client::to(seen(gateway.clients), "/ws", &[]).await);
        }
    }
    assert!(let_in >= 90 && turned_away > 0, "{let_in} {turned_away}");
    let counted = gateway
        .metric(r#"ws_gateway_upgrades_refused_total{reason="connect_rate"}"#)
        .await;
    assert_eq!(counted, turned_away);
    // Behind a trusted proxy it is the client's address that counts.
    let from_proxy = async |client: &str| {
        let headers = [("X-Forwarded-For", client)];
        http::upgrade(gateway.clients, "/ws", &headers).await.status
    };
    assert_eq!(from_proxy(&OTHER.to_string()).await, 503);
    assert_eq!(from_proxy("198.51.100.7").await, 101);
}

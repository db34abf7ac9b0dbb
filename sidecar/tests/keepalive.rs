//! Connections to the app rest for less long than the app allows, and are closed by themselves.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::{Answer, App, Client, Gateway, Launch, eventually, free_port, http, soon};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const IN_DOUBT: &str = r#"ws_gateway_callbacks_total{action="message",result="in_doubt"}"#;

/// Clients that speak in step with the moment at which their app hangs up.
async fn in_step(app: App, idle: Duration, clients: usize, rounds: usize, settings: Launch) {
    app.close_idle_after(idle);
    let gateway = settings.start().await;
    let mut all = Vec::new();
    for _ in 0..clients {
        all.push(Client::connect(&gateway).await);
    }
    app.until_calls("open", clients).await;
    // Long enough for a connection to have been seen to end, where the app gives no notice.
    tokio::time::sleep(idle + Duration::from_millis(500)).await;
    let started = Instant::now();
    for round in 0..rounds {
        let due = started + idle * u32::try_from(round).unwrap();
        tokio::time::sleep_until(due.into()).await;
        for client in &mut all {
            client.send("1").await;
        }
        app.until_calls("message", clients * (round + 1)).await;
    }
    assert_eq!(gateway.metric(IN_DOUBT).await, 0, "{idle:?}");
    assert_eq!(gateway.open_connections().await, clients, "{idle:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_in_doubt_at_the_moment_when_a_server_hangs_up() {
    let mut playing = Vec::new();
    for (idle, rounds) in [(1000, 12), (2000, 6), (5000, 3)] {
        let app = App::start().await;
        let launch = Launch::for_app(&app);
        playing.push(in_step(
            app,
            Duration::from_millis(idle),
            40,
            rounds,
            launch,
        ));
    }
    // One that says what it allows, and is given much more.
    let app = App::start().await;
    app.answer(|_| Answer::ok().with_header("Keep-Alive", "timeout=1, max=100"));
    let launch = Launch::for_app(&app).set("callback.keepAlive", "1m");
    playing.push(in_step(app, Duration::from_secs(1), 40, 12, launch));
    futures_util::future::join_all(playing).await;
}

/// The first connection that the app closes shows how long it lets them rest.
#[tokio::test]
async fn it_learns_when_the_app_hangs_up() {
    let mut app = App::start().await;
    app.close_idle_after(Duration::from_secs(1));
    let gateway = Launch::for_app(&app)
        .set("callback.keepAlive", "10s")
        .start()
        .await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    tokio::time::sleep(Duration::from_millis(1300)).await;
    let mut say = async |pause: u64| {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        client.send("1").await;
        app.next_of("message").await.connection
    };
    let connections = [say(0).await, say(300).await, say(950).await];
    assert_eq!(connections, [1, 1, 2], "kept for 300 ms, not for 950");
}

/// Nothing is asked for any more, and still they end: the app sees its side closed.
#[tokio::test]
async fn what_rests_is_closed_by_a_timer() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(Client::open(&gateway, &mut app).await);
    }
    assert!(app.open_connections() > 0);
    let closed = async || (app.open_connections() == 0).then_some(());
    eventually("the end of all", closed).await;
    let longest = app.calls().last().unwrap().at.elapsed();
    assert!(longest < Duration::from_secs(4), "{longest:?}");
}

/// As Python's `HTTPServer` with HTTP/1.1: whoever is connected is served until he hangs up.
async fn one_at_a_time(listener: TcpListener, served: Arc<AtomicUsize>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut buffer = Vec::new();
        while let Ok(Some((_, headers))) = http::read_head(&mut stream, &mut buffer).await {
            let len =
                http::header(&headers, "content-length").map_or(0, |len| len.parse().unwrap());
            http::read_body(&mut stream, &mut buffer, len)
                .await
                .unwrap();
            served.fetch_add(1, Ordering::Relaxed);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            if stream.write_all(answer).await.is_err() {
                break;
            }
        }
    }
}

#[tokio::test]
async fn an_app_of_one_thread_serves_its_probe_and_other_clients() {
    let (port, served) = (free_port(), Arc::new(AtomicUsize::new(0)));
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = tokio::spawn(one_at_a_time(listener, Arc::clone(&served)));
    let gateway = Launch::for_port(port)
        .set("callback.timeout", "20s")
        .start()
        .await;
    let _first = Client::connect(&gateway).await;
    let opened = async |count| {
        let all = async || (served.load(Ordering::Relaxed) >= count).then_some(());
        eventually("callbacks", all).await;
    };
    opened(1).await;
    let started = Instant::now();
    assert_eq!(http::get(address, "/healthz").await.status, 200);
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
    // One who never stops talking does not keep others out.
    let mut talker = Client::connect(&gateway).await;
    let talking = async {
        loop {
            talker.send("1").await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let others = async {
        opened(5).await;
        let started = Instant::now();
        assert_eq!(http::get(address, "/healthz").await.status, 200);
        started.elapsed()
    };
    let waited = tokio::select! {
        () = talking => unreachable!("it talks without end"),
        waited = others => waited,
    };
    assert!(waited < Duration::from_secs(8), "{waited:?}");
    let timeouts = r#"ws_gateway_callbacks_total{action="open",result="timeout"}"#;
    assert_eq!(gateway.metric(timeouts).await, 0);
    app.abort();
}

async fn in_front_of(listener: &TcpListener, keep_alive: &str) -> Gateway {
    Launch::new()
        .env("WS_POD_IP", "127.0.0.1")
        .env(
            "WS_UPSTREAM_PORT",
            &listener.local_addr().unwrap().port().to_string(),
        )
        .set("callback.keepAlive", keep_alive)
        .start()
        .await
}

/// Reads one request on a connection to the app and answers it; the connection, to go on with.
async fn serve(stream: &mut TcpStream, headers: &str) -> bool {
    let Ok(Some(_)) = http::read_head(stream, &mut Vec::new()).await else {
        return false;
    };
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{headers}\r\n");
    stream.write_all(answer.as_bytes()).await.is_ok()
}

/// `expose: entrance` keeps its connections in the same way.
#[tokio::test]
async fn what_rests_behind_the_entrance_is_closed_by_a_timer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = in_front_of(&listener, "1m").await;
    for headers in ["Keep-Alive: timeout=1\r\n", "Keep-Alive: timeout=2\r\n"] {
        let asking = http::get(gateway.clients, "/page");
        let app = async {
            let (mut stream, _) = soon("a connection", listener.accept()).await.unwrap();
            assert!(serve(&mut stream, headers).await);
            stream
        };
        let (answer, mut stream) = tokio::join!(asking, app);
        assert_eq!(answer.status, 200);
        let rested = Instant::now();
        assert_eq!(soon("its end", stream.read(&mut [0; 8])).await.unwrap(), 0);
        let allowed = if headers.contains('1') { 1 } else { 2 };
        assert!(rested.elapsed() < Duration::from_secs(allowed), "{headers}");
    }
}

/// The app may have died on it: only a kept connection may have been dead before.
#[tokio::test]
async fn a_request_that_broke_off_on_a_new_connection_is_not_repeated() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = in_front_of(&listener, "10s").await;
    for method in ["GET", "HEAD", "OPTIONS"] {
        let asking = http::call(gateway.clients, method, "/poison", &[], b"");
        let app = async {
            let (mut stream, _) = soon("a connection", listener.accept()).await.unwrap();
            http::read_head(&mut stream, &mut Vec::new())
                .await
                .unwrap()
                .unwrap();
            stream.set_zero_linger().unwrap();
        };
        let once = async {
            app.await;
            // A second try would be here before the answer is.
            soon("a second try", listener.accept()).await
        };
        let answer = tokio::select! {
            answer = asking => answer,
            again = once => panic!("{method} was repeated: {again:?}"),
        };
        assert_eq!(answer.status, 502, "{method}");
    }
    // On a kept one it is.
    let asking = async {
        assert_eq!(http::get(gateway.clients, "/first").await.status, 200);
        http::get(gateway.clients, "/second").await.status
    };
    let app = async {
        let (mut stream, _) = soon("a connection", listener.accept()).await.unwrap();
        assert!(serve(&mut stream, "").await);
        http::read_head(&mut stream, &mut Vec::new())
            .await
            .unwrap()
            .unwrap();
        stream.set_zero_linger().unwrap();
        drop(stream);
        let (mut stream, _) = soon("a second try", listener.accept()).await.unwrap();
        assert!(serve(&mut stream, "").await);
        stream
    };
    let (status, _stream) = tokio::join!(asking, app);
    assert_eq!(status, 200);
}

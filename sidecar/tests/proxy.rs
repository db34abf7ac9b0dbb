//! `expose: entrance`: in front of the app's own port nobody can tell that the gateway is there.
//!
//! The app is a bare socket here, so that what arrives can be held against what was sent, byte
//! by byte, and so that both ends decide when the next byte comes.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use support::{Gateway, Launch, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The app's own port, and the gateway in front of it.
struct Stage {
    app: TcpListener,
    gateway: Gateway,
}

/// One end of a conversation.
struct End {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Stage {
    async fn set() -> Self {
        Self::with(|launch| launch).await
    }

    async fn with(more: impl FnOnce(Launch) -> Launch) -> Self {
        let app = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = app.local_addr().unwrap().port().to_string();
        let launch = Launch::new()
            .env("WS_POD_IP", "127.0.0.1")
            .env("WS_UPSTREAM_PORT", &port);
        Self {
            app,
            gateway: more(launch).start().await,
        }
    }

    async fn client(&self) -> End {
        End::new(TcpStream::connect(self.gateway.clients).await.unwrap())
    }

    async fn app(&self) -> End {
        End::new(
            soon("a connection to the app", self.app.accept())
                .await
                .unwrap()
                .0,
        )
    }
}

impl Stage {
    /// The gateway also looks whether the app still answers; those connections say nothing.
    async fn app_with_a_request(&self) -> End {
        loop {
            let mut app = self.app().await;
            if soon("a request", app.stream.read_buf(&mut app.read))
                .await
                .unwrap_or(0)
                > 0
            {
                return app;
            }
        }
    }
}

impl End {
    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            read: Vec::new(),
        }
    }

    async fn write(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// Everything up to and including `end`.
    async fn until(&mut self, end: &str) -> String {
        let reading = async {
            loop {
                let found = self
                    .read
                    .windows(end.len())
                    .position(|part| part == end.as_bytes());
                if let Some(at) = found {
                    let part = self.read.drain(..at + end.len()).collect();
                    return String::from_utf8(part).unwrap();
                }
                let count = self.stream.read_buf(&mut self.read).await.unwrap();
                assert!(
                    count > 0,
                    "ended before {end:?}: {:?}",
                    String::from_utf8_lossy(&self.read)
                );
            }
        };
        soon(&format!("{end:?}"), reading).await
    }

    async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    async fn ended(&mut self) -> bool {
        let mut rest = [0; 1024];
        soon("the end", async {
            loop {
                match self.stream.read(&mut rest).await {
                    Ok(0) | Err(_) => return true,
                    Ok(_) => {}
                }
            }
        })
        .await
    }
}

#[tokio::test]
async fn a_request_arrives_as_it_was_sent() {
    let stage = Stage::with(|launch| launch.set("identity.trustedProxies", "127.0.0.1")).await;
    let mut client = stage.client().await;
    let head = "GET /a/b?c=%20d HTTP/1.1\r\nHost: my.example:8443\r\nX-Mixed-Case: One\r\n\
                Cookie: a=b\r\nX-Forwarded-For: 1.2.3.4\r\nX-BFL-USER: ann\r\nx-lower: two\r\n\r\n";
    client.write(head).await;
    let mut app = stage.app().await;
    let arrived = head.replace("1.2.3.4", "1.2.3.4, 127.0.0.1");
    assert_eq!(app.head().await, arrived);
    let answer = "HTTP/1.1 404 Not Found\r\nX-Answer: Yes\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
                  Content-Length: 4\r\nDate: today\r\n\r\nnone";
    app.write(answer).await;
    assert_eq!(client.until("none").await, answer);
}

#[tokio::test]
async fn the_websockets_path_without_an_upgrade_is_the_apps() {
    let stage = Stage::set().await;
    let mut client = stage.client().await;
    client.write("GET /ws HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut app = stage.app().await;
    assert!(app.head().await.starts_with("GET /ws "));
    let upgraded = support::Client::connect(&stage.gateway).await;
    drop(upgraded);
}

#[tokio::test]
async fn one_connection_to_the_app_serves_many_requests() {
    let stage = Stage::set().await;
    let mut client = stage.client().await;
    client.write("GET /0 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut app = stage.app().await;
    for n in 0..5 {
        assert!(app.head().await.starts_with(&format!("GET /{n} ")));
        app.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await;
        client.until("ok").await;
        client
            .write(&format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", n + 1))
            .await;
    }
}

/// hyper's side of a connection is kept from one request to the next, with room for as many headers
/// as the first one needed.
#[tokio::test]
async fn requests_of_one_connection_may_differ() {
    let stage = Stage::set().await;
    let mut client = stage.client().await;
    let mut app = None;
    for (n, lines) in [1, 300, 2, 99, 100, 101, 0].into_iter().enumerate() {
        let many = "X-Many: y\r\n".repeat(lines);
        let head = format!("POST /{n} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n{many}\r\n");
        client.write(&format!("{head}body")).await;
        let app = match &mut app {
            Some(app) => app,
            None => app.insert(stage.app().await),
        };
        let head = app.head().await;
        assert!(head.starts_with(&format!("POST /{n} ")), "{head}");
        assert_eq!(head.matches("X-Many: y\r\n").count(), lines);
        app.until("body").await;
        app.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await;
        client.until("ok").await;
    }
}

#[tokio::test]
async fn bodies_stream_both_ways_and_trailers_follow() {
    let stage = Stage::set().await;
    let mut client = stage.client().await;
    client
        .write(
            "POST /stream HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\
             Trailer: X-Sum\r\nTE: trailers\r\n\r\n3\r\none\r\n",
        )
        .await;
    let mut app = stage.app().await;
    app.head().await;
    // Each piece arrives before the next is sent.
    app.until("3\r\none\r\n").await;
    app.write(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n5\r\nfirst\r\n",
    )
    .await;
    client.until("5\r\nfirst\r\n").await;
    client.write("3\r\ntwo\r\n").await;
    app.until("3\r\ntwo\r\n").await;
    app.write("6\r\nsecond\r\n").await;
    client.until("6\r\nsecond\r\n").await;
    client.write("0\r\nX-Sum: 6\r\n\r\n").await;
    let end = app.until("\r\n\r\n").await.to_lowercase();
    assert_eq!(end, "0\r\nx-sum: 6\r\n\r\n");
    app.write("0\r\nX-End: yes\r\n\r\n").await;
    let end = client.until("\r\n\r\n").await.to_lowercase();
    assert_eq!(end, "0\r\nx-end: yes\r\n\r\n");
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_gets_it() {
    let stage = Stage::set().await;
    let mut client = stage.client().await;
    client
        .write("PUT /big HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert!(client.head().await.starts_with("HTTP/1.1 100 "));
    client.write("body").await;
    let mut app = stage.app().await;
    assert!(app.head().await.contains("Expect: 100-continue"));
    app.write("HTTP/1.1 100 Continue\r\n\r\n").await;
    app.until("body").await;
    app.write("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert!(client.head().await.starts_with("HTTP/1.1 201 "));
}

#[tokio::test]
async fn a_large_upload_passes_and_is_not_kept() {
    const SIZE: usize = 64 << 20;
    let stage = Stage::set().await;
    let mut client = stage.client().await;
    let before = stage.gateway.memory("VmHWM");
    client
        .write(&format!(
            "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n"
        ))
        .await;
    let upload = tokio::spawn(async move {
        let piece = vec![7; 1 << 20];
        for _ in 0..SIZE >> 20 {
            client.stream.write_all(&piece).await.unwrap();
        }
        client
    });
    let mut app = stage.app().await;
    app.head().await;
    let mut count = app.read.len();
    let mut buffer = vec![0; 1 << 16];
    while count < SIZE {
        count += soon("more of the upload", app.stream.read(&mut buffer))
            .await
            .unwrap();
    }
    assert_eq!(count, SIZE);
    app.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .await;
    upload.await.unwrap().head().await;
    let grown = stage.gateway.memory("VmHWM") - before;
    assert!(grown < 16 << 20, "the gateway grew by {grown} bytes");
}

#[tokio::test]
async fn an_app_sees_that_its_client_has_gone() {
    let stage = Stage::set().await;
    let mut client = stage.client().await;
    client
        .write("GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    let mut app = stage.app().await;
    app.head().await;
    app.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n.\r\n").await;
    client.until("1\r\n.\r\n").await;
    drop(client);
    assert!(app.ended().await);
}

#[tokio::test]
async fn other_upgrades_become_tunnels() {
    let stage = Stage::set().await;
    let mut client = stage.client().await;
    client
        .write("GET /other/socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await;
    let mut app = stage.app().await;
    let head = app.head().await;
    assert!(head.contains("Upgrade: websocket"), "{head}");
    app.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello").await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    client.until("hello").await;
    client.write("and back").await;
    app.until("and back").await;
    client.stream.shutdown().await.unwrap();
    assert!(app.ended().await);
}

#[tokio::test]
async fn what_is_not_http_1_is_spliced_through() {
    let stage = Stage::set().await;
    for greeting in [
        "\u{16}\u{3}\u{1} a client hello",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n and frames",
    ] {
        let mut client = stage.client().await;
        let (first, rest) = greeting.split_at(2);
        client.write(first).await;
        client.write(rest).await;
        let mut app = stage.app().await;
        assert_eq!(app.until(&greeting[greeting.len() - 5..]).await, greeting);
        app.write("an answer").await;
        client.until("an answer").await;
        drop(app);
        assert!(client.ended().await);
    }
}

#[tokio::test]
async fn a_connection_that_the_app_has_closed_costs_no_request() {
    let stage = Stage::set().await;
    let mut client = stage.client().await;
    for _ in 0..20 {
        client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut app = stage.app().await;
        app.head().await;
        app.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await;
        client.until("ok").await;
        // The gateway may or may not have noticed by the next request.
        drop(app);
    }
}

#[tokio::test]
async fn an_app_that_is_down_is_a_502() {
    let Stage { app, gateway } = Stage::set().await;
    drop(app);
    let answer = support::http::get(gateway.clients, "/").await;
    assert_eq!(answer.status, 502);
    assert!(
        answer.text().contains("the app does not answer"),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn on_sigterm_it_goes_on_as_long_as_the_app_does() {
    let mut stage = Stage::set().await;
    stage.gateway.terminate();
    support::eventually("it is not ready any more", async || {
        let ready = support::http::get(stage.gateway.ops, "/readyz").await;
        (ready.status == 503).then_some(())
    })
    .await;
    for _ in 0..3 {
        let mut client = stage.client().await;
        client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut app = stage.app_with_a_request().await;
        app.head().await;
        app.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await;
        let answer = client.until("ok").await.to_lowercase();
        assert!(answer.contains("connection: close"), "{answer}");
    }
    drop(stage.app);
    assert!(stage.gateway.exited().await.success());
}

/// What an app's page shows of an upgrade is the app's, to the byte.
#[tokio::test]
async fn a_body_that_looks_like_an_upgrade_is_left_as_it_is() {
    let stage = Stage::set().await;
    let mut client = stage.client().await;
    client.write("GET /page HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut app = stage.app_with_a_request().await;
    app.head().await;
    let body = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n";
    let length = body.len();
    app.write(&format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
    ))
    .await;
    // Only now, so that it is written by itself.
    client.head().await;
    app.write(body).await;
    assert_eq!(client.until("upgrade\r\n").await, body);
}

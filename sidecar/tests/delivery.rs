//! No message is silently lost: it reached the app once and in order, or the client was told.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use support::{Answer, App, Call, Client, Gateway, Launch};
use tokio::net::{TcpSocket, TcpStream};

#[tokio::test]
async fn refused_connections_are_tried_again_until_the_app_is_back() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    app.stop().await;
    for n in 0..5 {
        client.send(&n.to_string()).await;
    }
    let retried =
        async || (gateway.metric("ws_gateway_callback_retries_total").await >= 3).then_some(());
    support::eventually("some retries", retried).await;
    app.start_again().await;
    for n in 0..5 {
        assert_eq!(app.next_of("message").await.json()["data"], n);
    }
    client.settle().await;
}

#[tokio::test]
async fn when_the_time_is_up_the_client_is_told_with_1013() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("callback.retryFor", "500ms")
        .start()
        .await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    app.stop().await;
    let started = Instant::now();
    client.send("1").await;
    client.send("2").await;
    assert_eq!(
        client.closed().await,
        (1013, "app unreachable, try again".to_owned())
    );
    assert!(started.elapsed() >= Duration::from_millis(500));
    assert!(app.calls_of("message").is_empty());
}

/// Nobody is left who could be told of a lost end.
#[tokio::test]
async fn an_end_is_told_however_long_the_app_is_away() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("callback.retryFor", "200ms")
        .start()
        .await;
    let (client, _) = Client::open(&gateway, &mut app).await;
    app.stop().await;
    client.close(1000, "").await;
    let given_up = async || {
        let name = r#"ws_gateway_callbacks_total{action="close",result="not_delivered"}"#;
        (gateway.metric(name).await >= 2).then_some(())
    };
    support::eventually("two rounds in vain", given_up).await;
    app.start_again().await;
    let close = app.next_of("close").await;
    assert_eq!(close.json()["code"], 1000);
}

#[tokio::test]
async fn an_open_that_cannot_be_delivered_closes_with_1013_and_has_no_close_callback() {
    let mut app = App::start().await;
    app.stop().await;
    let gateway = Launch::for_app(&app)
        .set("callback.retryFor", "300ms")
        .start()
        .await;
    let mut lost = Client::connect(&gateway).await;
    assert_eq!(
        lost.closed().await,
        (1013, "app unreachable, try again".to_owned())
    );
    app.start_again().await;
    let (client, _) = Client::open(&gateway, &mut app).await;
    client.close(1000, "").await;
    app.next_of("close").await;
    assert_eq!(app.calls().len(), 2, "{:?}", app.calls());
}

#[tokio::test]
async fn a_503_with_retry_after_is_tried_again() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    app.answer_messages(Answer::status(503).with_header("Retry-After", "1"));
    client.send("1").await;
    client.send("2").await;
    let first = app.next_of("message").await;
    app.answer(|_| Answer::ok());
    let again = app.next_of("message").await;
    assert_eq!(
        (again.event_id(), &again.body),
        (first.event_id(), &first.body)
    );
    assert!(again.at.duration_since(first.at) >= Duration::from_secs(1));
    assert_eq!(app.next_of("message").await.json()["data"], 2);
    let date = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(2));
    app.answer_messages(Answer::status(503).with_header("Retry-After", &date));
    client.send("3").await;
    let first = app.next_of("message").await;
    app.answer(|_| Answer::ok());
    let again = app.next_of("message").await;
    assert!(again.at.duration_since(first.at) >= Duration::from_millis(900));
}

/// An app that says "at once" is not hammered either.
#[tokio::test]
async fn retry_after_zero_backs_off_all_the_same() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("callback.retryFor", "1s")
        .start()
        .await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    app.answer_messages(Answer::status(503).with_header("Retry-After", "0"));
    client.send("1").await;
    assert_eq!(client.close_code().await, 1013);
    let tries = app.calls_of("message").len();
    assert!((3..20).contains(&tries), "{tries} tries in a second");
}

/// The app had the request and broke the connection: it may have acted on it, so it does not
/// get it twice, and the client knows that something is in doubt.
#[tokio::test]
async fn where_arrival_is_in_doubt_nothing_is_sent_twice() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    app.answer_messages(Answer::reset());
    client.send("1").await;
    client.send("2").await;
    assert_eq!(
        client.closed().await,
        (1013, "app unreachable, try again".to_owned())
    );
    assert_eq!(app.next_of("message").await.json()["data"], 1);
    let close = app.next_of("close").await.json();
    assert_eq!(close["code"], 1013);
    assert_eq!(
        app.calls().len(),
        3,
        "neither twice, nor what came behind it"
    );
}

/// The app may have heard of this one, so it hears of its end.
#[tokio::test]
async fn an_open_in_doubt_has_its_close() {
    let mut app = App::start().await;
    app.answer_opens(Answer::reset());
    let gateway = Gateway::start(&app).await;
    let mut client = Client::connect(&gateway).await;
    assert_eq!(client.close_code().await, 1013);
    let open = app.next_of("open").await;
    assert_eq!(app.next_of("close").await.conn_id(), open.conn_id());
}

/// The kernel has the connection, the app never saw it: an app that hangs with a full backlog.
#[tokio::test]
async fn an_app_that_accepts_no_connections_has_not_got_the_event() {
    let port = support::free_port();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, port).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let mut waiting = Vec::new();
    // Until the backlog is full: then the kernel drops what knocks.
    while let Ok(Ok(stream)) = tokio::time::timeout(
        Duration::from_millis(300),
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)),
    )
    .await
    {
        waiting.push(stream);
    }
    let gateway = Launch::for_port(port)
        .set("callback.timeout", "500ms")
        .set("callback.retryFor", "2s")
        .start()
        .await;
    let mut client = Client::connect(&gateway).await;
    assert_eq!(
        client.closed().await,
        (1013, "app unreachable, try again".to_owned())
    );
    drop(listener);
}

#[tokio::test]
async fn connections_to_the_app_are_kept_and_few() {
    let app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Client::connect(&gateway).await);
    }
    for round in 1..=20 {
        for client in &mut clients {
            client.send("1").await;
        }
        app.until_calls("message", round * 20).await;
    }
    assert!(
        app.connections() <= 40,
        "{} connections for 420 callbacks",
        app.connections()
    );
}

/// Servers close connections that idle; that must cost no event.
#[tokio::test]
async fn an_app_that_closes_idle_connections_loses_nothing() {
    let mut app = App::start().await;
    app.close_idle_after(Duration::from_millis(100));
    let gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    for n in 0..20 {
        client.send(&n.to_string()).await;
        assert_eq!(app.next_of("message").await.json()["data"], n);
        // Well before and well behind the moment when the app closes: at the moment itself it is
        // in doubt whether the app has the event.
        tokio::time::sleep(Duration::from_millis(if n % 2 == 0 { 250 } else { 0 })).await;
    }
    client.settle().await;
    assert!(app.connections() > 1);
}

/// Some servers close after each answer without having said so.
#[tokio::test]
async fn an_app_that_closes_after_each_answer_loses_nothing() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    app.answer(|_| Answer::ok().with_header("Connection", "close").then_close());
    for n in 0..50 {
        client.send(&n.to_string()).await;
    }
    for n in 0..50 {
        assert_eq!(app.next_of("message").await.json()["data"], n);
    }
    assert!(app.connections() >= 50);
}

/// And some without having said so: the next event may meet a connection that is being closed,
/// where it cannot be known whether the app took it. Then nothing is sent twice, and the client
/// is told.
#[tokio::test]
async fn an_app_that_hangs_up_without_a_word_gets_nothing_twice() {
    let app = App::start().await;
    app.answer_messages(Answer::ok().then_close());
    let gateway = Gateway::start(&app).await;
    for number in 0..10 {
        let user = format!("user{number}");
        let mut client = Client::user(&gateway, &user).await;
        for n in 0..20 {
            client.send(&n.to_string()).await;
        }
        let arrived = |calls: &[Call]| -> Vec<_> {
            let of_user = calls.iter().filter(|call| call.field("user_name") == user);
            of_user
                .filter(|call| call.action() == "message")
                .map(|call| call.json()["data"].clone())
                .collect()
        };
        let all = app.until("all of them", |calls| {
            (arrived(calls).len() == 20).then_some(())
        });
        tokio::select! {
            () = all => {}
            code = client.close_code() => assert_eq!(code, 1013),
        }
        let arrived = arrived(&app.calls());
        assert!(
            arrived.iter().enumerate().all(|(n, data)| *data == n),
            "{arrived:?}"
        );
    }
}

#[tokio::test]
async fn an_app_on_one_family_only() {
    for ip in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
        let mut app = App::start_on(ip).await;
        let gateway = Gateway::start(&app).await;
        let (client, _) = Client::open(&gateway, &mut app).await;
        client.close(1000, "").await;
        app.next_of("close").await;
    }
}

/// The app comes back on the other family: `localhost` is both.
#[tokio::test]
async fn an_app_that_moves_to_the_other_family() {
    let mut app = App::start_on(Ipv4Addr::LOCALHOST.into()).await;
    let gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    app.stop().await;
    app.address.set_ip(Ipv6Addr::LOCALHOST.into());
    app.start_again().await;
    client.send("1").await;
    assert_eq!(app.next_of("message").await.json()["data"], 1);
}

//! The admin API: who is selected, what is sent, and what an error says.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use serde_json::{Value as Json, json};
use support::{App, Client, Gateway, Launch, Raw, http, raw};

/// Four connections: of ann with a token of her own and as a stranger, of bob, of nobody.
struct Crowd {
    app: App,
    gateway: Gateway,
    clients: Vec<Client>,
    opens: Vec<Json>,
}

const PRIVATE: usize = 0;
const PUBLIC: usize = 1;
const BOB: usize = 2;
const NOBODY: usize = 3;

impl Crowd {
    async fn gather() -> Self {
        let mut app = App::start().await;
        let gateway = Gateway::start(&app).await;
        let ann = ("X-BFL-USER", "ann");
        let token = |token| ("Cookie", token);
        let who = [
            ("/ws?namespace=one", vec![ann, token("auth_token=ann1")]),
            ("/ws?namespace=two", vec![ann]),
            (
                "/ws?namespace=one",
                vec![("X-BFL-USER", "bob"), token("auth_token=bob1")],
            ),
            ("/ws", vec![]),
        ];
        let (mut clients, mut opens) = (Vec::new(), Vec::new());
        for (path, headers) in who {
            let (client, open) = Client::open_with(&gateway, &mut app, path, &headers).await;
            clients.push(client);
            opens.push(open);
        }
        Self {
            app,
            gateway,
            clients,
            opens,
        }
    }

    fn id(&self, who: usize) -> &Json {
        &self.opens[who]["conn_id"]
    }

    /// Sends with this selector; exactly these have to get it.
    async fn reaches(&mut self, selector: Json, expected: &[usize]) {
        let mut body = selector.clone();
        body["payload"] = json!({"mark": selector.to_string()});
        let sent = self.gateway.send(&body).await;
        assert_eq!(
            sent,
            json!({"matched": expected.len(), "queued": expected.len(), "dropped": 0}),
            "{selector}"
        );
        for (who, client) in self.clients.iter_mut().enumerate() {
            client.send(r#"{"event":"ping"}"#).await;
            let first = client.text().await;
            if expected.contains(&who) {
                assert_eq!(first, body["payload"].to_string(), "{selector} for {who}");
                assert_eq!(client.text().await, r#"{"event":"pong"}"#);
            } else {
                assert_eq!(first, r#"{"event":"pong"}"#, "{selector} for {who}");
            }
        }
    }
}

#[tokio::test]
async fn selectors_and_their_intersections() {
    let mut crowd = Crowd::gather().await;
    let [private, public, bob, _] = [PRIVATE, PUBLIC, BOB, NOBODY].map(|who| crowd.id(who).clone());
    let strangers_token = crowd.opens[PUBLIC]["token"].clone();
    for (selector, expected) in [
        (json!({"conn_id": private}), &[PRIVATE][..]),
        (json!({"users": ["ann"]}), &[PRIVATE, PUBLIC]),
        (
            json!({"users": ["ann", "bob", "ann"]}),
            &[PRIVATE, PUBLIC, BOB],
        ),
        (json!({"users": ["nobody there"]}), &[]),
        (json!({"tokens": ["ann1", "bob1"]}), &[PRIVATE, BOB]),
        (json!({"tokens": [strangers_token]}), &[PUBLIC]),
        (json!({"all": true}), &[PRIVATE, PUBLIC, BOB, NOBODY]),
        (
            json!({"all": true, "except": [private, bob]}),
            &[PUBLIC, NOBODY],
        ),
        (json!({"users": ["ann"], "except": [public]}), &[PRIVATE]),
        // Given together they intersect.
        (json!({"users": ["ann"], "namespace": "one"}), &[PRIVATE]),
        (json!({"users": ["ann"], "tokens": ["bob1"]}), &[]),
        (json!({"conn_id": bob, "users": ["ann"]}), &[]),
        (
            json!({"conn_id": bob, "users": ["bob"], "tokens": ["bob1"], "namespace": "one"}),
            &[BOB],
        ),
        (json!({"all": true, "users": ["bob"]}), &[BOB]),
        // The access type only narrows.
        (
            json!({"users": ["ann"], "users_access_type": 0}),
            &[PRIVATE, PUBLIC],
        ),
        (
            json!({"users": ["ann"], "users_access_type": 1}),
            &[PRIVATE],
        ),
        (json!({"users": ["ann"], "users_access_type": 2}), &[PUBLIC]),
        (
            json!({"all": true, "users_access_type": 2}),
            &[PUBLIC, NOBODY],
        ),
        // Existing apps send both keys and fill one.
        (json!({"conn_id": "", "users": ["bob"]}), &[BOB]),
        (json!({"conn_id": bob, "users": []}), &[BOB]),
        (
            json!({"conn_id": null, "users": ["bob"], "except": null}),
            &[BOB],
        ),
        // Whatever else is empty selects nobody.
        (json!({"users": ["bob"], "tokens": []}), &[]),
        (json!({"users": ["bob"], "namespace": ""}), &[]),
        (json!({"users": []}), &[]),
        (json!({"all": false}), &[]),
        // An id that is none of ours selects nobody, not everybody.
        (json!({"conn_id": "1"}), &[]),
        (
            json!({"conn_id": "00000000-0000-0000-0000-000000000000"}),
            &[],
        ),
    ] {
        crowd.reaches(selector, expected).await;
    }
}

#[tokio::test]
async fn payloads_and_encodings_to_the_byte() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, open) = Client::open(&gateway, &mut app).await;
    let id = &open["conn_id"];
    for exact in [
        r#"{ "b" : 12345678901234567890 , "a":1.0 }"#,
        "[]",
        "\"text\"",
        "null",
        "-0.0",
        "true",
        "\"\\u00e9\"",
    ] {
        let body = format!(r#"{{"conn_id":{id},"payload":{exact}}}"#);
        assert_eq!(gateway.try_admin("send", &body).await.status, 200);
        assert_eq!(client.text().await, exact);
    }
    let text = "not \"JSON\" é😀\n";
    gateway
        .send(&json!({"conn_id": id, "payload": text, "encoding": "text"}))
        .await;
    assert_eq!(client.text().await, text);
    gateway
        .send(&json!({"conn_id": id, "payload": "AAH+/w==", "encoding": "base64"}))
        .await;
    assert_eq!(client.binary().await, [0, 1, 254, 255]);
    let large = "x".repeat(3 << 20);
    gateway
        .send(&json!({"conn_id": id, "payload": large, "encoding": "text"}))
        .await;
    assert_eq!(client.text().await, large);
}

/// RFC 6455 wants the shortest form of each length; browsers insist.
#[tokio::test]
async fn frames_of_every_length_form() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let mut raw = Raw::open(&gateway).await;
    let id = app.next_of("open").await.conn_id().to_owned();
    for len in [0, 1, 125, 126, 127, 65_535, 65_536] {
        let payload = "x".repeat(len);
        gateway
            .send(&json!({"conn_id": id, "payload": payload, "encoding": "text"}))
            .await;
        assert_eq!(
            raw.frame().await.unwrap(),
            (raw::TEXT, payload.into_bytes())
        );
    }
}

#[tokio::test]
async fn close_with_every_selector_code_and_reason() {
    let mut crowd = Crowd::gather().await;
    let gateway = &crowd.gateway;
    let closed = gateway
        .close(&json!({"users": ["ann"], "namespace": "two", "code": 4000, "reason": "grün"}))
        .await;
    assert_eq!(closed["matched"], 1);
    assert_eq!(
        crowd.clients[PUBLIC].closed().await,
        (4000, "grün".to_owned())
    );
    let close = crowd.app.next_of("close").await.json();
    assert_eq!(
        (&close["code"], &close["reason"]),
        (&json!(4000), &json!("grün"))
    );
    let closed = gateway.close(&json!({"tokens": ["ann1"]})).await;
    assert_eq!(closed["matched"], 1);
    assert_eq!(crowd.clients[PRIVATE].closed().await, (1000, String::new()));
    let closed = gateway
        .close(&json!({"all": true, "except": [crowd.opens[BOB]["conn_id"]], "code": 1012}))
        .await;
    assert_eq!(closed["matched"], 1);
    assert_eq!(crowd.clients[NOBODY].close_code().await, 1012);
    let closed = gateway
        .close(&json!({"conns": [crowd.opens[BOB]["conn_id"]], "users_access_type": 2}))
        .await;
    assert_eq!(closed["matched"], 0);
    crowd.clients[BOB].settle().await;
}

/// Upstream's close waited for the client's next frame.
#[tokio::test]
async fn close_takes_effect_at_once_also_on_a_client_that_never_answers() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("limits.close", "500ms")
        .start()
        .await;
    let mut raw = Raw::open(&gateway).await;
    let id = app.next_of("open").await.conn_id().to_owned();
    gateway.close(&json!({"conns": [id]})).await;
    assert_eq!(app.next_of("close").await.json()["code"], 1000);
    assert_eq!(gateway.open_connections().await, 0);
    assert_eq!(
        gateway.send(&json!({"payload": 1, "conn_id": id})).await["matched"],
        0
    );
    // It never answers the close frame, and is cut off.
    assert_eq!(raw.close_code().await, Some(1000));
    raw.ended().await;
}

#[tokio::test]
async fn errors_carry_their_status_and_name_the_field() {
    let app = App::start().await;
    let gateway = Gateway::start(&app).await;
    for (call, body, named) in [
        ("send", "", "JSON object"),
        ("send", "[]", "JSON object"),
        ("send", r#"{"payload":1"#, "JSON object"),
        ("send", r#"{"all":true}"#, "payload"),
        ("send", r#"{"payload":1,"users":"ann"}"#, "users"),
        ("send", r#"{"payload":1,"users":[1]}"#, "users"),
        ("send", r#"{"payload":1,"conn_id":5}"#, "conn_id"),
        ("send", r#"{"payload":1,"tokens":{}}"#, "tokens"),
        ("send", r#"{"payload":1,"all":1}"#, "all"),
        ("send", r#"{"payload":1,"all":true,"except":"x"}"#, "except"),
        (
            "send",
            r#"{"payload":1,"all":true,"namespace":[]}"#,
            "namespace",
        ),
        (
            "send",
            r#"{"payload":1,"all":true,"users_access_type":3}"#,
            "users_access_type",
        ),
        (
            "send",
            r#"{"payload":1,"all":true,"users_access_type":"1"}"#,
            "users_access_type",
        ),
        (
            "send",
            r#"{"payload":1,"all":true,"encoding":"gzip"}"#,
            "encoding",
        ),
        (
            "send",
            r#"{"payload":1,"all":true,"encoding":"text"}"#,
            "payload",
        ),
        (
            "send",
            r#"{"payload":"*","all":true,"encoding":"base64"}"#,
            "payload",
        ),
        ("close", r#"{"all":true,"code":1005}"#, "code"),
        ("close", r#"{"all":true,"code":999}"#, "code"),
        ("close", r#"{"all":true,"code":5000}"#, "code"),
        ("close", r#"{"all":true,"code":"1000"}"#, "code"),
        ("close", r#"{"all":true,"reason":5}"#, "reason"),
        ("close", r#"{"conns":"x"}"#, "conns"),
        ("close", "{}", "nobody is selected"),
        ("close", r#"{"users_access_type":1}"#, "nobody is selected"),
        ("send", r#"{"payload":1,"except":[]}"#, "nobody is selected"),
        (
            "send",
            r#"{"username":"alex","users":["alex"],"payload":1}"#,
            "username: is no key here; did you mean users: [\"…\"]?",
        ),
        (
            "send",
            r#"{"payload":1,"all":true,"execpt":["x"]}"#,
            "execpt: is no key here; did you mean except?",
        ),
        (
            "close",
            r#"{"users":["ann"],"payload":1}"#,
            "payload: is no key here",
        ),
    ] {
        let answer = gateway.try_admin(call, body).await;
        assert_eq!(
            (answer.status, answer.json()["code"].clone()),
            (400, json!(400)),
            "{call} {body}"
        );
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(named), "{call} {body}: {message}");
    }
    let long = json!({"all": true, "reason": "é".repeat(62)}).to_string();
    assert!(
        gateway
            .try_admin("close", &long)
            .await
            .text()
            .contains("reason: expected at most 123 bytes")
    );
}

#[tokio::test]
async fn wrong_methods_and_paths() {
    let app = App::start().await;
    let gateway = Gateway::start(&app).await;
    for (method, call, status) in [
        ("GET", "send", 405),
        ("PUT", "close", 405),
        ("POST", "list", 405),
        ("GET", "nothing", 404),
    ] {
        let answer = http::call(
            gateway.clients,
            method,
            &format!("/tapr/ws/conn/{call}"),
            &[],
            b"",
        )
        .await;
        assert_eq!(
            (answer.status, answer.json()["code"].clone()),
            (status, json!(status)),
            "{method} {call}"
        );
    }
}

/// One call after the other on one connection, as an app's HTTP client does it.
#[tokio::test]
async fn calls_on_a_kept_connection() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, open) = Client::open(&gateway, &mut app).await;
    let mut connection = Raw::dial(gateway.clients).await;
    for n in 0..50 {
        let body = json!({"payload": n, "conn_id": open["conn_id"]}).to_string();
        let request = http::request(
            "POST",
            "/tapr/ws/conn/send",
            &[("Host", "localhost")],
            body.as_bytes(),
        );
        connection.send(&request).await;
        assert_eq!(connection.response().await.status, 200);
        assert_eq!(client.text().await, n.to_string());
    }
}

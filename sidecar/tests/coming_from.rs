//! What apps of other WebSocket servers become, with the real thing behind the gateway.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use serde_json::json;
use support::tokens::from_now;
use support::{Answer, App, Browser, Client, Launch, Midway, Signer, http};

/// docs/examples/midway: the page's calculator, and its `onWebSocketUpgrade`.
#[tokio::test]
async fn the_midway_controller_does_what_midways_websockets_do() {
    let midway = Midway::start("docs/examples/midway", &[]).await;
    let gateway = Launch::for_port(midway.address.port())
        .set("path", "/")
        .set("auth", "/ws/auth")
        .start()
        .await;
    let refused = http::upgrade(gateway.clients, "/?token=wrong", &[]).await;
    assert_eq!(refused.status, 403);
    let mut client = Client::with(&gateway, "/?token=valid-token", &[]).await;
    client.send("1").await;
    assert_eq!(client.json().await, json!({"name": "harry", "result": 6}));
}

/// BigClown's `wss://name:password@server`: a browser says the name once it is asked for it.
#[tokio::test]
async fn a_browser_logs_in_by_name_and_password_after_a_challenge() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("auth", "/ws/auth")
        .set("identity.basic", "true")
        .set("origins", "http://127.0.0.1:*")
        .start()
        .await;
    let script = format!(
        "<script>new WebSocket('ws://clown:secret@{}/ws')</script>",
        gateway.clients
    );
    app.answer(move |call| {
        let challenge =
            || Answer::status(401).with_header("WWW-Authenticate", r#"Basic realm="clown""#);
        match (call.path.as_str(), call.header("authorization")) {
            ("/", _) => Answer::status(200)
                .with_header("Content-Type", "text/html")
                .with_body(&script),
            ("/ws/auth", Some("Basic Y2xvd246c2VjcmV0")) => Answer::ok(),
            ("/ws/auth", _) => challenge(),
            _ => Answer::ok(),
        }
    });
    let mut browser = Browser::start(&[]).await;
    let page = format!("http://127.0.0.1:{}/", app.port());
    browser.open(&page).await;
    let named = async {
        loop {
            let call = app.next().await;
            if call.method == "POST" {
                return call;
            }
        }
    };
    assert_eq!(named.await.field("user_name"), "clown");
}

/// The page's message, its relay, and two lines in one frame.
#[tokio::test]
async fn bigclowns_messages_and_topics() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("path", "/auth/clown-talk-server_nodes_bridge_0")
        .set("types", "[{type: 'relay/#', url: /relay}]")
        .set("heartbeat.serverPing", "true")
        .start()
        .await;
    let path = "/auth/clown-talk-server_nodes_bridge_0";
    let (mut client, _) = Client::open_with(&gateway, &mut app, path, &[]).await;
    let relay = r#"["relay/i2c0-3b/set", {"state": false}]"#;
    let two = format!("{relay}\n{relay}\n");
    for (said, data, paths) in [
        (
            "[\"clown.talk/-/config/set\", {}]\n",
            json!(["clown.talk/-/config/set", {}]),
            &["/ws/message"][..],
        ),
        (
            relay,
            json!(["relay/i2c0-3b/set", {"state": false}]),
            &["/ws/message", "/relay"],
        ),
        (two.as_str(), json!(two), &["/ws/message"]),
    ] {
        client.send(said).await;
        for path in paths {
            let call = app.next_of("message").await;
            assert_eq!((call.path.as_str(), &call.json()["data"]), (*path, &data));
        }
    }
    // An answer in the same shape: the page's client reads topic and payload from a list.
    app.answer_messages(Answer::action(
        &json!({"reply": ["relay/i2c0-3b/state", false]}),
    ));
    client.send("[]").await;
    assert_eq!(client.text().await, r#"["relay/i2c0-3b/state",false]"#);
}

const BODHI: &str = "the secret that Bodhi's identity provider signs with";

/// The page from its curl to its broadcast, with callbacks in the place of topics.
#[tokio::test]
async fn bodhis_page_by_callbacks() {
    let mut app = App::start().await;
    app.answer(|call| {
        let of_type = |name: &str| Answer::action(&json!({"reply": {"type": name, "payload": {}}}));
        match (call.action(), call.path.as_str()) {
            ("open", _) => of_type("onconnect"),
            ("message", "/one") => of_type("socket:type_one"),
            ("message", _) if call.json()["data"]["fail"] == true => {
                Answer::action(&json!({"error": "someErrorObject"}))
            }
            ("message", _) => of_type("socket:generalMessage"),
            _ => Answer::ok(),
        }
    });
    let gateway = Launch::for_app(&app)
        .set("path", "/connect")
        .set("types", "[{type: message_type_one, url: /one}]")
        .set("identity.jwt.secret", BODHI)
        .set("identity.jwt.required", "true")
        .start()
        .await;
    // As it stands on the page, whose token is no token.
    let curl = |cookie| {
        [
            ("Host", "localhost:4000"),
            ("Origin", "http://localhost:4000"),
            ("Sec-WebSocket-Key", "SGVsbG8sIHdvcmxkIQ=="),
            ("Cookie", cookie),
        ]
    };
    let path = "/connect?namespace=alex";
    let refused = http::upgrade(gateway.clients, path, &curl("ID_TOKEN=validAuthToken")).await;
    assert_eq!(refused.status, 401);
    let claims = json!({"preferred_username": "alex", "exp": from_now(3600)}).to_string();
    let token = Signer::secret(BODHI).token(&json!({"alg": "HS256"}), &claims);
    let cookie = format!("ID_TOKEN={token}");
    let let_in = http::upgrade(gateway.clients, path, &curl(&cookie)).await;
    assert_eq!(let_in.status, 101);
    let open = app.next_of("open").await.json();
    assert_eq!(
        (&open["user_name"], &open["namespace"]),
        (&json!("alex"), &json!("alex"))
    );
    app.next_of("close").await;

    // Four connections of one user in two namespaces.
    let mut clients = Vec::new();
    for namespace in ["one", "one", "two", "two"] {
        let path = format!("/connect?namespace={namespace}");
        let headers = [("Cookie", cookie.as_str())];
        let mut client = Client::with(&gateway, &path, &headers).await;
        let greeting = json!({"type": "onconnect", "payload": {}});
        assert_eq!(client.json().await, greeting);
        clients.push(client);
    }
    let message = json!({"type": "message_type", "payload": {"someData": 1}});
    for (selector, reached) in [
        (json!({"users": ["alex"], "namespace": "two"}), &[2, 3][..]),
        (json!({"users": ["alex"]}), &[0, 1, 2, 3]),
        (json!({"all": true}), &[0, 1, 2, 3]),
    ] {
        let mut body = selector.clone();
        body["payload"] = message.clone();
        assert_eq!(gateway.send(&body).await["matched"], reached.len());
        for n in reached {
            assert_eq!(clients[*n].json().await, message, "{selector}");
        }
    }
    let mut client = clients.pop().unwrap();
    client.send(r#"{"type":"message_type_one"}"#).await;
    for name in ["socket:generalMessage", "socket:type_one"] {
        assert_eq!(client.json().await["type"], name);
    }
    client.send(r#"{"fail":true}"#).await;
    let failed = json!({"type": "error", "payload": "someErrorObject"});
    assert_eq!(client.json().await, failed);
    client.settle().await;
}

/// What the page tells people to publish: posted as it stands it reaches nobody, and is answered
/// with what to write.
#[tokio::test]
async fn bodhis_own_keys_are_refused_by_name() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app).start().await;
    let path = "/ws?namespace=tenant";
    let (mut bob, _) = Client::open_with(&gateway, &mut app, path, &[("X-BFL-USER", "bob")]).await;
    let own = json!({"username": "alex", "namespace": "tenant", "type": "t", "payload": {}});
    let told = |text: String| {
        let meant = [
            "username: is no key here; did you mean users: [\"…\"]?",
            "type: is no key here; did you mean payload: {\"type\": …}?",
        ];
        assert!(meant.iter().all(|words| text.contains(words)), "{text}");
    };
    let refused = gateway.try_admin("send", &own.to_string()).await;
    assert_eq!(refused.status, 400);
    told(refused.json()["message"].as_str().unwrap().to_owned());
    app.answer_messages(Answer::action(&json!({"broadcast": own})));
    bob.send("1").await;
    app.next_of("message").await;
    bob.has_heard_nothing().await;
    told(gateway.log().replace("\\\"", "\""));
    // So it is meant.
    let meant =
        json!({"users": ["bob"], "namespace": "tenant", "payload": {"type": "t", "payload": {}}});
    assert_eq!(gateway.send(&meant).await["matched"], 1);
    assert_eq!(bob.json().await["type"], "t");
}

//! `identity.jwt`: which tokens name whom, from where, and until when. Key sets from elsewhere are
//! in `jwks.rs`.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use serde_json::{Value as Json, json};
use support::tokens::{base64url, from_now};
use support::{Answer, App, Client, Gateway, Launch, Signer, http};

const SECRET: &str = "a shared secret that is long enough for HS512, which wants sixty-four bytes";
const LATER: u64 = 4_000_000_000;
const CARRIER: &str = "base64url.bearer.authorization.k8s.io.";

fn ann() -> Json {
    json!({"preferred_username": "ann", "exp": LATER})
}

fn signed(claims: &Json) -> String {
    let header = json!({"alg": "HS256", "typ": "JWT"});
    Signer::secret(SECRET).token(&header, &claims.to_string())
}

fn with(mut base: Json, more: &Json) -> Json {
    for (name, value) in more.as_object().unwrap() {
        base[name] = value.clone();
    }
    base.as_object_mut()
        .unwrap()
        .retain(|_, value| !value.is_null());
    base
}

/// Who a client with this request is to the app, or the status that refuses it.
async fn verdict(
    gateway: &Gateway,
    app: &mut App,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<String, u16> {
    match http::upgrade(gateway.clients, path, headers).await.status {
        101 => {
            let user = app.next_of("open").await.field("user_name").to_owned();
            app.next_of("close").await;
            Ok(user)
        }
        status => Err(status),
    }
}

async fn bearer(gateway: &Gateway, app: &mut App, token: &str) -> Result<String, u16> {
    let header = format!("Bearer {token}");
    verdict(gateway, app, "/ws", &[("Authorization", &header)]).await
}

/// Who a client with this header is to the app.
async fn user_of(launch: Launch, app: &mut App, headers: &[(&str, &str)]) -> String {
    let gateway = launch.start().await;
    verdict(&gateway, app, "/ws", headers).await.unwrap()
}

#[tokio::test]
async fn a_shared_secret_with_cookie_and_bearer() {
    let mut app = App::start().await;
    let launch = Launch::for_app(&app).set("identity.jwt.secret", SECRET);
    let (cookie, bearer) = (
        format!("a=b; ID_TOKEN={}", signed(&ann())),
        format!("Bearer {}", signed(&ann())),
    );
    assert_eq!(
        user_of(launch.clone(), &mut app, &[("Cookie", &cookie)]).await,
        "ann"
    );
    assert_eq!(
        user_of(launch.clone(), &mut app, &[("Authorization", &bearer)]).await,
        "ann"
    );
    // A verified claim goes before a trusted header.
    assert_eq!(
        user_of(
            launch,
            &mut app,
            &[("Cookie", &cookie), ("X-BFL-USER", "header")]
        )
        .await,
        "ann"
    );
}

/// Every way to make a token that somebody has thought of, against one set of keys.
#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn tokens_that_are_let_in_and_those_that_are_not() {
    let mut app = App::start().await;
    let (rsa, other) = (Signer::rsa(0), Signer::rsa(1));
    let (signs, p256, p384, ed) = (Signer::p256(), Signer::p256(), Signer::p384(), Signer::ed());
    let symmetric = Signer::secret("a secret that has no business in a set of public keys");
    let public = rsa.jwk(&json!({"kid": "a", "alg": "RS256", "use": "sig"}));
    let set = json!({"keys": [
        public,
        rsa.jwk(&json!({"kid": "any"})),
        other.jwk(&json!({"kid": "enc", "use": "enc"})),
        other.jwk(&json!({"kid": "wrap", "key_ops": ["wrapKey", "encrypt"]})),
        other.jwk(&json!({"kid": "oaep", "alg": "RSA-OAEP"})),
        signs.jwk(&json!({"kid": "sign", "key_ops": ["sign"]})),
        p256.jwk(&json!({"kid": "p256", "key_ops": ["verify"]})),
        p384.jwk(&json!({"kid": "p384", "use": "sig", "key_ops": ["sign", "verify"]})),
        ed.jwk(&json!({"kid": "ed"})),
        symmetric.jwk(&json!({"kid": "oct"})),
        {"kty": "OKP", "crv": "Ed25519", "kid": "short", "x": "AAAA"},
        {"kty": "RSA", "kid": "weak", "n": base64url([0xFF; 128]), "e": "AQAB"},
    ]});
    let gateway = Launch::for_app(&app)
        .set("identity.jwt.jwks", &set.to_string())
        .set("identity.jwt.required", "true")
        .set("identity.jwt.issuer", "me")
        .set("identity.jwt.audience", "us")
        .start()
        .await;
    let good = json!({"preferred_username": "ann", "exp": LATER, "iss": "me", "aud": "us"});
    let claims = |more: Json| with(good.clone(), &more).to_string();
    let same = || good.to_string();
    let a = |algorithm: &str| json!({"alg": algorithm, "kid": "a"});
    let named = |algorithm: &str, id: &str| json!({"alg": algorithm, "kid": id});
    let header = |more: Json| with(a("RS256"), &more);
    let unsigned =
        |header: Json| format!("{}.{}.", base64url(header.to_string()), base64url(same()));
    let hmac = |secret: String| Signer::secret(secret).token(&a("HS256"), &same());
    let n = public["n"].as_str().unwrap().to_owned();
    let honest = rsa.token(&a("RS256"), &same());
    let (message, signature) = honest.rsplit_once('.').unwrap();
    let now = from_now(0);
    let table = [
        ("RS256", honest.clone(), Some("ann")),
        (
            "RS384, a key without alg",
            rsa.token(&named("RS384", "any"), &same()),
            Some("ann"),
        ),
        (
            "PS512, a key without alg",
            rsa.token(&named("PS512", "any"), &same()),
            Some("ann"),
        ),
        (
            "ES256",
            p256.token(&named("ES256", "p256"), &same()),
            Some("ann"),
        ),
        (
            "ES384",
            p384.token(&named("ES384", "p384"), &same()),
            Some("ann"),
        ),
        (
            "EdDSA",
            ed.token(&named("EdDSA", "ed"), &same()),
            Some("ann"),
        ),
        (
            "no kid",
            rsa.token(&json!({"alg": "RS256"}), &same()),
            Some("ann"),
        ),
        (
            "no kid, EdDSA",
            ed.token(&json!({"alg": "EdDSA"}), &same()),
            Some("ann"),
        ),
        // alg
        ("none", unsigned(a("none")), None),
        ("None", unsigned(a("None")), None),
        ("nOnE", unsigned(json!({"alg": "nOnE"})), None),
        ("no alg", unsigned(json!({"kid": "a"})), None),
        ("empty alg", unsigned(a("")), None),
        ("HS256 with n", hmac(n.clone()), None),
        ("HS256 with the key as JSON", hmac(public.to_string()), None),
        (
            "HS256 with an oct of the set",
            symmetric.token(&named("HS256", "oct"), &same()),
            None,
        ),
        (
            "RS512, a key of alg RS256",
            rsa.token(&a("RS512"), &same()),
            None,
        ),
        (
            "PS256, a key of alg RS256",
            rsa.token(&a("PS256"), &same()),
            None,
        ),
        (
            "ES384 on P-256",
            p256.token(&named("ES384", "p256"), &same()),
            None,
        ),
        // kid
        (
            "another's kid",
            rsa.token(&named("RS256", "oct"), &same()),
            None,
        ),
        (
            "kid of a path",
            other.token(&named("RS256", "../../../dev/null"), &same()),
            None,
        ),
        (
            "kid of SQL",
            other.token(&named("RS256", "a' or 1=1"), &same()),
            None,
        ),
        (
            "kid null",
            Signer::secret("").token(&json!({"alg": "HS256", "kid": null}), &same()),
            None,
        ),
        ("another key", other.token(&a("RS256"), &same()), None),
        // what a key is for
        (
            "use: enc",
            other.token(&named("RS256", "enc"), &same()),
            None,
        ),
        (
            "key_ops without verify",
            other.token(&named("RS256", "wrap"), &same()),
            None,
        ),
        (
            "key_ops: sign",
            signs.token(&named("ES256", "sign"), &same()),
            None,
        ),
        (
            "alg: RSA-OAEP",
            other.token(&named("RS256", "oaep"), &same()),
            None,
        ),
        (
            "no kid, a key for encryption",
            other.token(&json!({"alg": "RS256"}), &same()),
            None,
        ),
        (
            "a key too short",
            ed.token(&named("EdDSA", "short"), &same()),
            None,
        ),
        (
            "RSA of 1024 bits",
            rsa.token(&named("RS256", "weak"), &same()),
            None,
        ),
        // keys that the token brings along
        (
            "jwk",
            other.token(&header(json!({"jwk": other.jwk(&json!({}))})), &same()),
            None,
        ),
        (
            "jku",
            other.token(&header(json!({"jku": "http://127.0.0.1:1/"})), &same()),
            None,
        ),
        (
            "x5u",
            other.token(&header(json!({"x5u": "http://127.0.0.1:1/"})), &same()),
            None,
        ),
        (
            "crit",
            rsa.token(&header(json!({"crit": ["x"], "x": 1})), &same()),
            None,
        ),
        (
            "crit b64",
            rsa.token(&header(json!({"crit": ["b64"], "b64": true})), &same()),
            None,
        ),
        (
            "crit, empty",
            rsa.token(&header(json!({"crit": []})), &same()),
            None,
        ),
        // times
        (
            "expired a while ago",
            rsa.token(&a("RS256"), &claims(json!({"exp": now - 90}))),
            None,
        ),
        (
            "expired within the leeway",
            rsa.token(&a("RS256"), &claims(json!({"exp": now - 20}))),
            Some("ann"),
        ),
        (
            "no exp",
            rsa.token(&a("RS256"), &claims(json!({"exp": null}))),
            None,
        ),
        (
            "exp of text",
            rsa.token(&a("RS256"), &claims(json!({"exp": "4000000000"}))),
            None,
        ),
        (
            "exp below 0",
            rsa.token(&a("RS256"), &claims(json!({"exp": -5}))),
            None,
        ),
        (
            "exp far away",
            rsa.token(
                &a("RS256"),
                &claims(json!({"exp": 1_000_000_000_000_000_000_u64})),
            ),
            Some("ann"),
        ),
        (
            "exp with a fraction",
            rsa.token(&a("RS256"), &claims(json!({"exp": 4_000_000_000.5}))),
            Some("ann"),
        ),
        (
            "nbf to come",
            rsa.token(&a("RS256"), &claims(json!({"nbf": now + 300}))),
            None,
        ),
        (
            "nbf within the leeway",
            rsa.token(&a("RS256"), &claims(json!({"nbf": now + 20}))),
            Some("ann"),
        ),
        // audience and issuer
        (
            "aud list",
            rsa.token(&a("RS256"), &claims(json!({"aud": ["x", "us"]}))),
            Some("ann"),
        ),
        (
            "aud of others",
            rsa.token(&a("RS256"), &claims(json!({"aud": "usx"}))),
            None,
        ),
        (
            "no aud",
            rsa.token(&a("RS256"), &claims(json!({"aud": null}))),
            None,
        ),
        (
            "aud of another kind",
            rsa.token(&a("RS256"), &claims(json!({"aud": {"us": 1}}))),
            None,
        ),
        (
            "iss of others",
            rsa.token(&a("RS256"), &claims(json!({"iss": "me2"}))),
            None,
        ),
        (
            "no iss",
            rsa.token(&a("RS256"), &claims(json!({"iss": null}))),
            None,
        ),
        // the name
        (
            "a number",
            rsa.token(&a("RS256"), &claims(json!({"preferred_username": 7}))),
            Some("7"),
        ),
        (
            "below 0",
            rsa.token(&a("RS256"), &claims(json!({"preferred_username": -7}))),
            Some("-7"),
        ),
        (
            "a number of many digits",
            rsa.token(
                &a("RS256"),
                &same().replace("\"ann\"", "12345678901234567890123456789"),
            ),
            Some("12345678901234567890123456789"),
        ),
        (
            "escaped",
            rsa.token(&a("RS256"), &same().replace("ann", "\\u00e4nn")),
            Some("änn"),
        ),
        (
            "empty",
            rsa.token(&a("RS256"), &claims(json!({"preferred_username": ""}))),
            None,
        ),
        (
            "blank",
            rsa.token(&a("RS256"), &claims(json!({"preferred_username": " \t"}))),
            None,
        ),
        (
            "true",
            rsa.token(&a("RS256"), &claims(json!({"preferred_username": true}))),
            None,
        ),
        (
            "a list",
            rsa.token(&a("RS256"), &claims(json!({"preferred_username": ["ann"]}))),
            None,
        ),
        (
            "no name",
            rsa.token(&a("RS256"), &claims(json!({"preferred_username": null}))),
            None,
        ),
        // shape
        ("no signature", format!("{message}."), None),
        ("a part less", message.to_owned(), None),
        ("two parts more", format!("{honest}.d.e"), None),
        (
            "a signature with padding",
            format!("{message}.{signature}="),
            None,
        ),
        ("dots", "....".to_owned(), None),
        ("huge", "a".repeat(10_000), None),
        ("claims that are no map", rsa.token(&a("RS256"), "[]"), None),
    ];
    for (what, token, user) in &table {
        let expected = user.map(str::to_owned).ok_or(401);
        assert_eq!(bearer(&gateway, &mut app, token).await, expected, "{what}");
    }
    let valid = table.iter().filter(|(.., user)| user.is_some()).count();
    let counted = async |result| {
        gateway
            .metric(&format!(
                "ws_gateway_jwt_tokens_total{{result=\"{result}\"}}"
            ))
            .await
    };
    assert_eq!(counted("valid").await, valid as u64);
    assert_eq!(counted("invalid").await, (table.len() - valid) as u64);
}

#[tokio::test]
async fn a_token_that_is_not_valid_names_nobody() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("identity.jwt.secret", SECRET)
        .start()
        .await;
    let other = Signer::secret("another secret, that the gateway does not know");
    for token in [
        other.token(&json!({"alg": "HS256"}), &ann().to_string()),
        signed(&json!({"preferred_username": "ann", "exp": 1_000_000_000})),
        signed(&json!({"preferred_username": "ann", "exp": LATER, "nbf": LATER - 1})),
        signed(&json!({"sub": "ann", "exp": LATER})),
        signed(&json!({"preferred_username": "", "exp": LATER})),
        "x".to_owned(),
        "..".to_owned(),
    ] {
        assert_eq!(
            bearer(&gateway, &mut app, &token).await,
            Ok(String::new()),
            "{token}"
        );
    }
    for algorithm in ["HS256", "HS384", "HS512"] {
        let token = Signer::secret(SECRET)
            .token(&json!({"alg": algorithm, "kid": "any"}), &ann().to_string());
        assert_eq!(
            bearer(&gateway, &mut app, &token).await,
            Ok("ann".to_owned())
        );
    }
}

/// The public key is public: an HMAC made with it must not pass.
#[tokio::test]
async fn a_public_key_is_no_secret() {
    let mut app = App::start().await;
    let key = Signer::ed();
    let jwk = key.jwk(&json!({"kid": "one"}));
    let gateway = Launch::for_app(&app)
        .set("identity.jwt.jwks", &json!({"keys": [jwk]}).to_string())
        .start()
        .await;
    let x = jwk["x"].as_str().unwrap();
    for secret in [x.to_owned(), jwk.to_string()] {
        let forged = Signer::secret(secret)
            .token(&json!({"alg": "HS256", "kid": "one"}), &ann().to_string());
        assert_eq!(bearer(&gateway, &mut app, &forged).await, Ok(String::new()));
    }
    let honest = key.token(&json!({"alg": "EdDSA", "kid": "one"}), &ann().to_string());
    assert_eq!(
        bearer(&gateway, &mut app, &honest).await,
        Ok("ann".to_owned())
    );
}

#[tokio::test]
async fn issuer_audience_claim_and_cookie_name() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("identity.jwt.secret", SECRET)
        .set("identity.jwt.issuer", "us")
        .set("identity.jwt.audience", "chat")
        .set("identity.jwt.claim", "sub")
        .set("identity.jwt.cookie", "session")
        .start()
        .await;
    let good = json!({"sub": "ann", "exp": LATER, "iss": "us", "aud": "chat"});
    for (more, expected) in [
        (json!({}), "ann"),
        (json!({"aud": ["mail", "chat"]}), "ann"),
        (json!({"iss": "them"}), ""),
        (json!({"aud": "mail"}), ""),
        (json!({"iss": null}), ""),
        (json!({"aud": null}), ""),
    ] {
        let cookie = format!("session={}", signed(&with(good.clone(), &more)));
        let found = verdict(&gateway, &mut app, "/ws", &[("Cookie", &cookie)]).await;
        assert_eq!(found, Ok(expected.to_owned()), "{more}");
    }
}

#[tokio::test]
async fn a_tokens_namespace_counts_where_the_clients_word_does_not() {
    let mut app = App::start().await;
    let member = signed(&with(ann(), &json!({"namespace": "team"})));
    let bearer = format!("Bearer {member}");
    for (namespaces, expected) in [("hook", json!("team")), ("client", json!("mine"))] {
        let launch = Launch::for_app(&app)
            .set("identity.jwt.secret", SECRET)
            .set("identity.namespaces", namespaces);
        let gateway = launch.start().await;
        let headers = [("Authorization", bearer.as_str())];
        let (mut client, open) =
            Client::open_with(&gateway, &mut app, "/ws?namespace=mine", &headers).await;
        assert_eq!(open["namespace"], expected, "{namespaces}");
        if namespaces == "hook" {
            let sent = gateway
                .send(&json!({"payload": 1, "namespace": "team"}))
                .await;
            assert_eq!(sent["matched"], 1);
            assert_eq!(client.text().await, "1");
            // Nobody has vouched for this one.
            let forged = [("Authorization", "Bearer e30.e30.e30")];
            let (_stranger, open) =
                Client::open_with(&gateway, &mut app, "/ws?namespace=team", &forged).await;
            assert_eq!(open.get("namespace"), None);
        }
    }
}

#[tokio::test]
async fn where_a_token_is_required_nobody_gets_in_without() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("identity.jwt.secret", SECRET)
        .set("identity.jwt.required", "true")
        .set("auth", "/ws/auth")
        .start()
        .await;
    for headers in [
        &[][..],
        &[("Cookie", "ID_TOKEN=x")],
        &[("X-BFL-USER", "ann")],
    ] {
        let refused = http::upgrade(gateway.clients, "/ws", headers).await;
        assert_eq!(
            (refused.status, refused.header("www-authenticate")),
            (401, Some("Bearer")),
            "{headers:?}"
        );
    }
    assert!(app.calls().is_empty(), "the app is not bothered");
    let _client = Client::with(
        &gateway,
        "/ws",
        &[("Authorization", &format!("Bearer {}", signed(&ann())))],
    )
    .await;
    assert_eq!(app.next().await.path, "/ws/auth");
    assert_eq!(app.next_of("open").await.field("user_name"), "ann");
}

/// Pages set cookies in any language, and browsers send the bytes.
#[tokio::test]
async fn an_odd_cookie_hides_no_other() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("identity.jwt.secret", SECRET)
        .set("identity.jwt.required", "true")
        .start()
        .await;
    let token = signed(&ann());
    for cookie in [
        format!("city=Zürich; ID_TOKEN={token}"),
        format!("ID_TOKEN={token}; 名=前"),
        format!("a=\u{ff}; b=\"ID_TOKEN\"; ID_TOKEN=\"{token}\""),
    ] {
        let found = verdict(&gateway, &mut app, "/ws", &[("Cookie", &cookie)]).await;
        assert_eq!(found, Ok("ann".to_owned()), "{cookie}");
    }
    let odd = format!("ID_TOKEN={token}é");
    let found = verdict(&gateway, &mut app, "/ws", &[("Cookie", &odd)]).await;
    assert_eq!(found, Err(401));
}

#[tokio::test]
async fn by_default_a_token_in_the_url_or_a_subprotocol_is_none() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("identity.jwt.secret", SECRET)
        .start()
        .await;
    let token = signed(&ann());
    let carrier = format!("{CARRIER}{}", base64url(&token));
    let headers = [("Sec-WebSocket-Protocol", carrier.as_str())];
    let path = format!("/ws?access_token={token}");
    assert_eq!(
        verdict(&gateway, &mut app, &path, &headers).await,
        Ok(String::new())
    );
}

/// Browsers' WebSockets have no headers of their own. What carries the token is seen by nobody
/// else: not by the hook, not by the app, and it is not the subprotocol that is chosen.
#[tokio::test]
async fn a_browsers_token_in_the_query_or_a_subprotocol() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("identity.jwt.secret", SECRET)
        .set("identity.jwt.required", "true")
        .set("identity.jwt.from", "subprotocol,query")
        .set("identity.jwt.query", "t")
        .set("auth", "/ws/auth")
        .env("WS_LOG", "trace")
        .start()
        .await;
    let token = signed(&ann());
    let carrier = format!("{CARRIER}{}", base64url(&token));
    let (behind, before) = (format!("chat, {carrier}"), format!("{carrier},chat"));
    let query = format!("/ws?room=1&t={token}&x=%20");
    for (path, offered, chosen, left) in [
        (
            "/ws?room=1&x=%20",
            Some(behind.as_str()),
            Some("chat"),
            Some("chat"),
        ),
        (
            "/ws?room=1&x=%20",
            Some(before.as_str()),
            Some("chat"),
            Some("chat"),
        ),
        ("/ws?room=1&x=%20", Some(carrier.as_str()), None, None),
        (query.as_str(), None, None, None),
    ] {
        let headers: Vec<_> = offered
            .iter()
            .map(|offered| ("Sec-WebSocket-Protocol", *offered))
            .collect();
        let answer = http::upgrade(gateway.clients, path, &headers).await;
        assert_eq!(answer.status, 101, "{path} {offered:?}: {}", answer.text());
        assert_eq!(
            answer.header("sec-websocket-protocol"),
            chosen,
            "{offered:?}"
        );
        let question = app.next().await;
        assert_eq!(question.path, "/ws/auth?room=1&x=%20");
        assert_eq!(question.header("x-original-uri"), Some("/ws?room=1&x=%20"));
        assert_eq!(question.header("sec-websocket-protocol"), left);
        let open = app.next_of("open").await.json();
        assert_eq!(open["user_name"], "ann");
        assert_eq!(open["request"]["query"], "room=1&x=%20");
        assert_eq!(
            open["request"]["headers"]["sec-websocket-protocol"].as_str(),
            left
        );
        app.next_of("close").await;
    }
    let signature = token.rsplit_once('.').unwrap().1;
    let encoded = &base64url(&token)[token.len()..];
    for call in app.calls() {
        let text = format!(
            "{} {:?} {}",
            call.path,
            call.headers,
            String::from_utf8_lossy(&call.body)
        );
        assert!(
            !text.contains(signature) && !text.contains(encoded),
            "{text}"
        );
    }
    let log = gateway.log();
    assert!(!log.contains(signature) && !log.contains(encoded), "{log}");
    // One that cannot be read is a bad token, not none.
    let broken = format!("{CARRIER}!, chat");
    let headers = [("Sec-WebSocket-Protocol", broken.as_str())];
    let refused = http::upgrade(gateway.clients, "/ws", &headers).await;
    assert_eq!(refused.status, 401);
    assert!(refused.text().contains("not valid"), "{}", refused.text());
}

/// The places are asked in their order, and what is in the others is nobody's business either.
#[tokio::test]
async fn the_first_place_that_has_a_token_counts() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("identity.jwt.secret", SECRET)
        .set("identity.jwt.from", "cookie,query,header")
        .start()
        .await;
    let of = |name: &str| signed(&with(ann(), &json!({"preferred_username": name})));
    let (cookie, header) = (
        format!("ID_TOKEN={}", of("cookie")),
        format!("Bearer {}", of("header")),
    );
    let path = format!("/ws?access_token={}", of("query"));
    let all = [
        ("Cookie", cookie.as_str()),
        ("Authorization", header.as_str()),
    ];
    for (path, headers, expected) in [
        (path.as_str(), &all[..], "cookie"),
        (path.as_str(), &all[1..], "query"),
        ("/ws?access_token=", &all[1..], "header"),
        ("/ws", &all[1..], "header"),
    ] {
        let found = verdict(&gateway, &mut app, path, headers).await;
        assert_eq!(found, Ok(expected.to_owned()));
    }
    for call in app.calls_of("open") {
        assert_eq!(
            call.json()["request"]["query"],
            "",
            "taken out even where another counted"
        );
    }
}

/// exp and the leeway, as at the door; a client without a token stays.
#[tokio::test]
async fn a_connection_ends_with_its_token() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("identity.jwt.secret", SECRET)
        .set("identity.jwt.leeway", "1s")
        .set("heartbeat.timeout", "0")
        .start()
        .await;
    let ends = from_now(2);
    let cookie = format!("ID_TOKEN={}", signed(&with(ann(), &json!({"exp": ends}))));
    let lasting = format!("ID_TOKEN={}", signed(&ann()));
    let (mut stays, _) = Client::open(&gateway, &mut app).await;
    let lasting = [("Cookie", lasting.as_str())];
    let (mut lasts, _) = Client::open_with(&gateway, &mut app, "/ws", &lasting).await;
    let brief = [("Cookie", cookie.as_str())];
    let (mut gone, _) = Client::open_with(&gateway, &mut app, "/ws", &brief).await;
    assert_eq!(gone.closed().await, (4401, "token expired".to_owned()));
    assert!(from_now(0) > ends + 1, "not before its end and the leeway");
    let close = app.next_of("close").await.json();
    assert_eq!(
        (&close["code"], &close["user_name"]),
        (&json!(4401), &json!("ann"))
    );
    stays.settle().await;
    lasts.settle().await;
    let closed = "ws_gateway_connections_closed_total{reason=\"token_expired\"}";
    assert_eq!(gateway.metric(closed).await, 1);
    // At the door the same token is as old.
    assert_eq!(
        verdict(&gateway, &mut app, "/ws", &[("Cookie", &cookie)]).await,
        Ok(String::new())
    );
}

/// The hook's word on the name is final, and yet the token's end is the connection's.
#[tokio::test]
async fn a_connection_that_the_hook_named_ends_with_its_token_too() {
    let app = App::start().await;
    app.answer(|call| match call.path.as_str() {
        "/ws/auth" => Answer::ok().with_header("X-BFL-USER", "bob"),
        _ => Answer::ok(),
    });
    let gateway = Launch::for_app(&app)
        .set("identity.jwt.secret", SECRET)
        .set("identity.jwt.leeway", "0")
        .set("auth", "/ws/auth")
        .start()
        .await;
    let cookie = format!(
        "ID_TOKEN={}",
        signed(&with(ann(), &json!({"exp": from_now(2)})))
    );
    let mut gone = Client::with(&gateway, "/ws", &[("Cookie", &cookie)]).await;
    assert_eq!(gone.close_code().await, 4401);
}

#[tokio::test]
async fn a_secret_that_can_be_guessed_is_told_of() {
    let app = App::start().await;
    let options = |secret: &str| json!({"identity": {"jwt": {"secret": secret}}}).to_string();
    for (launch, told) in [
        (
            Launch::for_app(&app).set("identity.jwt.secret", "brief"),
            true,
        ),
        (
            Launch::for_app(&app).env("WS_OPTIONS", &options("brief")),
            true,
        ),
        (
            Launch::for_app(&app).env("WS_OPTIONS", &options(SECRET)),
            false,
        ),
    ] {
        let log = launch.start().await.log();
        let lines: Vec<_> = log.lines().filter(|line| line.contains("WARN")).collect();
        assert_eq!(lines.len(), usize::from(told), "{log}");
        assert!(
            !told
                || lines[0].contains("identity.jwt.secret has 5 bytes")
                || lines[0].contains("identity.jwt.secret: has 5 bytes"),
            "{log}"
        );
        assert!(!log.contains("brief"), "{log}");
    }
}

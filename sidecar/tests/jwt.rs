//! `identity.jwt`: a token in a cookie or in `Authorization: Bearer` names the user.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value as Json, json};
use support::{App, Client, Launch, http};

const SECRET: &str = "a shared secret that is long enough for HS512, which wants sixty-four bytes";
const LATER: u64 = 4_000_000_000;

/// RFC 8032 §7.1, test 1: the private key in PKCS#8, and the public one.
const PRIVATE: &str = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

fn signed(claims: &Json) -> String {
    encode(
        &Header::default(),
        claims,
        &EncodingKey::from_secret(SECRET.as_bytes()),
    )
    .unwrap()
}

fn signed_by_key(claims: &Json, id: &str) -> String {
    let header = Header {
        kid: Some(id.to_owned()),
        ..Header::new(Algorithm::EdDSA)
    };
    encode(
        &header,
        claims,
        &EncodingKey::from_ed_der(&STANDARD.decode(PRIVATE).unwrap()),
    )
    .unwrap()
}

fn key_set() -> String {
    json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "one", "x": PUBLIC}]}).to_string()
}

fn ann() -> Json {
    json!({"preferred_username": "ann", "exp": LATER})
}

/// Who a client with this header is to the app.
async fn user_of(launch: Launch, app: &mut App, headers: &[(&str, &str)]) -> String {
    let gateway = launch.start().await;
    let (client, open) = Client::open_with(&gateway, app, "/ws", headers).await;
    client.vanish();
    app.next_of("close").await;
    open["user_name"].as_str().unwrap().to_owned()
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

#[tokio::test]
async fn a_token_that_is_not_valid_names_nobody() {
    let mut app = App::start().await;
    let gateway = Launch::for_app(&app)
        .set("identity.jwt.secret", SECRET)
        .start()
        .await;
    let unsigned = {
        let part = |json: Json| URL_SAFE_NO_PAD.encode(json.to_string());
        format!(
            "{}.{}.",
            part(json!({"alg": "none", "typ": "JWT"})),
            part(ann())
        )
    };
    let other = encode(
        &Header::default(),
        &ann(),
        &EncodingKey::from_secret(b"another"),
    )
    .unwrap();
    let expired = signed(&json!({"preferred_username": "ann", "exp": 1_000_000_000}));
    let too_early = signed(&json!({"preferred_username": "ann", "exp": LATER, "nbf": LATER - 1}));
    let nameless = signed(&json!({"sub": "ann", "exp": LATER}));
    let number = signed(&json!({"preferred_username": 5, "exp": LATER}));
    for token in [
        unsigned,
        other,
        expired,
        too_early,
        nameless,
        number,
        "x".to_owned(),
        "..".to_owned(),
    ] {
        let cookie = format!("ID_TOKEN={token}");
        let (client, open) =
            Client::open_with(&gateway, &mut app, "/ws", &[("Cookie", &cookie)]).await;
        assert_eq!(open["user_name"], "", "{token}");
        client.vanish();
        app.next_of("close").await;
    }
}

#[tokio::test]
async fn a_key_set_inline_and_in_a_file() {
    let mut app = App::start().await;
    let cookie = format!("ID_TOKEN={}", signed_by_key(&ann(), "one"));
    let inline = Launch::for_app(&app).set("identity.jwt.jwks", &key_set());
    assert_eq!(
        user_of(inline.clone(), &mut app, &[("Cookie", &cookie)]).await,
        "ann"
    );
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(key_set().as_bytes()).unwrap();
    let from_file =
        Launch::for_app(&app).set("identity.jwt.jwksFile", file.path().to_str().unwrap());
    assert_eq!(
        user_of(from_file, &mut app, &[("Cookie", &cookie)]).await,
        "ann"
    );
    let unknown = format!("ID_TOKEN={}", signed_by_key(&ann(), "two"));
    assert_eq!(user_of(inline, &mut app, &[("Cookie", &unknown)]).await, "");
}

/// The public key is public: an HMAC made with it must not pass.
#[tokio::test]
async fn a_public_key_is_no_secret() {
    let mut app = App::start().await;
    let launch = Launch::for_app(&app).set("identity.jwt.jwks", &key_set());
    let public = URL_SAFE_NO_PAD.decode(PUBLIC).unwrap();
    for secret in [public.as_slice(), PUBLIC.as_bytes()] {
        let header = Header {
            kid: Some("one".to_owned()),
            ..Header::new(Algorithm::HS256)
        };
        let forged = encode(&header, &ann(), &EncodingKey::from_secret(secret)).unwrap();
        assert_eq!(
            user_of(
                launch.clone(),
                &mut app,
                &[("Cookie", &format!("ID_TOKEN={forged}"))]
            )
            .await,
            ""
        );
    }
}

#[tokio::test]
async fn issuer_audience_claim_and_cookie_name() {
    let mut app = App::start().await;
    let launch = Launch::for_app(&app)
        .set("identity.jwt.secret", SECRET)
        .set("identity.jwt.issuer", "us")
        .set("identity.jwt.audience", "chat")
        .set("identity.jwt.claim", "sub")
        .set("identity.jwt.cookie", "session");
    for (claims, expected) in [
        (
            json!({"sub": "ann", "exp": LATER, "iss": "us", "aud": "chat"}),
            "ann",
        ),
        (
            json!({"sub": "ann", "exp": LATER, "iss": "us", "aud": ["mail", "chat"]}),
            "ann",
        ),
        (
            json!({"sub": "ann", "exp": LATER, "iss": "them", "aud": "chat"}),
            "",
        ),
        (
            json!({"sub": "ann", "exp": LATER, "iss": "us", "aud": "mail"}),
            "",
        ),
        (json!({"sub": "ann", "exp": LATER, "aud": "chat"}), ""),
        (json!({"sub": "ann", "exp": LATER, "iss": "us"}), ""),
    ] {
        let cookie = format!("session={}", signed(&claims));
        assert_eq!(
            user_of(launch.clone(), &mut app, &[("Cookie", &cookie)]).await,
            expected,
            "{claims}"
        );
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

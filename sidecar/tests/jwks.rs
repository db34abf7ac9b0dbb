//! `identity.jwt`'s key sets: inline, in a file, and from a real server over HTTP and HTTPS.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value as Json, json};
use support::key_server::set_of;
use support::tokens::base64url;
use support::{
    Answer, App, Client, Gate, Gateway, KeyServer, Launch, Signer, eventually, http, soon,
};

const LATER: u64 = 4_000_000_000;
const READS: &str = "ws_gateway_jwt_key_reads_total";

fn token(key: &Signer, id: &str) -> String {
    let claims = json!({"preferred_username": "ann", "exp": LATER});
    let algorithm = match key {
        Signer::Rsa(_) => "RS256",
        _ => "EdDSA",
    };
    key.token(&json!({"alg": algorithm, "kid": id}), &claims.to_string())
}

fn named(key: &Signer, id: &str) -> Json {
    key.jwk(&json!({"kid": id, "use": "sig"}))
}

async fn status(gateway: &Gateway, token: &str) -> u16 {
    let header = format!("Bearer {token}");
    let answer = http::upgrade(gateway.clients, "/ws", &[("Authorization", &header)]).await;
    if answer.status == 503 {
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        assert!(answer.text().contains("identity.jwt.jwksUrl"), "{answer:?}");
    }
    answer.status
}

async fn becomes(gateway: &Gateway, token: &str, wanted: u16) {
    let what = format!("status {wanted}");
    eventually(&what, async || {
        (status(gateway, token).await == wanted).then_some(())
    })
    .await;
}

/// Only tokens get in, from keys that a server has.
fn from_url(server: &KeyServer) -> Launch {
    Launch::new()
        .set("identity.jwt.jwksUrl", &server.url)
        .set("identity.jwt.required", "true")
}

/// What stands beside the key that counts may be anything that others publish.
#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn odd_neighbours_in_a_set_do_no_harm() {
    let mut app = App::start().await;
    let key = Signer::rsa(0);
    let good = key.jwk(&json!({"kid": "sig", "use": "sig", "alg": "RS256"}));
    let like = |more: Json| {
        key.jwk(&json!({"kid": "sig", "use": "sig", "alg": "RS256"}))
            .as_object()
            .unwrap()
            .iter()
            .chain(more.as_object().unwrap())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect::<Json>()
    };
    let modulus = URL_SAFE_NO_PAD.decode(good["n"].as_str().unwrap()).unwrap();
    let zero = base64url([&[0], &modulus[..]].concat());
    for (what, keys) in [
        ("the key alone", vec![good.clone()]),
        (
            "one for encryption",
            vec![
                like(json!({"kid": "enc", "use": "enc", "alg": "RSA-OAEP"})),
                good.clone(),
            ],
        ),
        (
            "ML-DSA",
            vec![
                json!({"kty": "AKP", "kid": "pq", "alg": "ML-DSA-65", "pub": "AAAA"}),
                good.clone(),
            ],
        ),
        (
            "secp256k1",
            vec![
                json!({"kty": "EC", "crv": "secp256k1", "kid": "k1", "x": "AAAA", "y": "AAAA", "alg": "ES256K"}),
                good.clone(),
            ],
        ),
        (
            "X25519",
            vec![
                json!({"kty": "OKP", "crv": "X25519", "kid": "x", "x": "AAAA", "use": "enc"}),
                good.clone(),
            ],
        ),
        (
            "Ed448",
            vec![
                json!({"kty": "OKP", "crv": "Ed448", "kid": "x", "x": "AAAA", "alg": "EdDSA"}),
                good.clone(),
            ],
        ),
        (
            "an unknown alg",
            vec![
                like(json!({"kid": "o", "alg": "RSA-OAEP-512"})),
                good.clone(),
            ],
        ),
        (
            "an unknown use",
            vec![like(json!({"kid": "o", "use": "tls"})), good.clone()],
        ),
        (
            "unknown key_ops",
            vec![like(json!({"kid": "o", "key_ops": ["foo"]})), good.clone()],
        ),
        (
            "the same kid, another kind",
            vec![Signer::ed().jwk(&json!({"kid": "sig"})), good.clone()],
        ),
        (
            "the same kid, for encryption",
            vec![like(json!({"use": "enc"})), good.clone()],
        ),
        (
            "certificates",
            vec![like(
                json!({"x5c": ["MIIB"], "x5t": "abc", "x5t#S256": "d"}),
            )],
        ),
        (
            "EC without y",
            vec![
                json!({"kty": "EC", "crv": "P-256", "kid": "b", "x": "AAAA"}),
                good.clone(),
            ],
        ),
        ("no kty", vec![json!({"kid": "b"}), good.clone()]),
        (
            "no map",
            vec![json!("b"), json!(null), json!([]), good.clone()],
        ),
        (
            "a secret",
            vec![json!({"kty": "oct", "k": "AAAA", "kid": "s"}), good.clone()],
        ),
        ("no alg", vec![key.jwk(&json!({"kid": "sig"}))]),
        ("a zero before the modulus", vec![like(json!({"n": zero}))]),
    ] {
        let gateway = Launch::for_app(&app)
            .set("identity.jwt.jwks", &json!({"keys": keys}).to_string())
            .start()
            .await;
        assert_eq!(status(&gateway, &token(&key, "sig")).await, 101, "{what}");
        assert_eq!(
            app.next_of("open").await.field("user_name"),
            "ann",
            "{what}"
        );
        app.next_of("close").await;
    }
}

#[tokio::test]
async fn a_key_set_from_a_url() {
    let key = Signer::rsa(0);
    let server = KeyServer::start(&[named(&key, "one")]).await;
    let gateway = from_url(&server).start().await;
    becomes(&gateway, &token(&key, "one"), 101).await;
    assert_eq!(status(&gateway, &token(&Signer::rsa(1), "one")).await, 401);
    let request = server.requests().remove(0);
    assert!(request.starts_with("GET /keys?v=1 HTTP/1.1\n"), "{request}");
    let log = gateway.log();
    assert!(
        log.contains("keys for tokens") && !log.contains("v=1"),
        "{log}"
    );
}

#[tokio::test]
async fn a_key_set_over_https_from_whom_the_settings_trust() {
    let key = Signer::ed();
    let server = KeyServer::start_tls(&[named(&key, "one")]).await;
    let trusting = from_url(&server).set("identity.jwt.jwksCa", &server.certificate);
    let gateway = trusting.start().await;
    becomes(&gateway, &token(&key, "one"), 101).await;

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, &server.certificate).unwrap();
    let by_the_system = from_url(&server).env("SSL_CERT_FILE", file.to_str().unwrap());
    let gateway = by_the_system.start().await;
    becomes(&gateway, &token(&key, "one"), 101).await;

    let stranger = KeyServer::start_tls(&[]).await;
    let distrusting = from_url(&server).set("identity.jwt.jwksCa", &stranger.certificate);
    let gateway = distrusting.start().await;
    eventually("a failed read", async || {
        (gateway
            .metric(&format!("{READS}{{result=\"failed\"}}"))
            .await
            > 0)
        .then_some(())
    })
    .await;
    assert_eq!(status(&gateway, &token(&key, "one")).await, 503);
    assert!(gateway.log().contains("certificate"), "{}", gateway.log());
}

/// The gateway starts at once and lets in who needs no token; who has one comes again later.
#[tokio::test]
async fn until_the_first_keys_are_there_tokens_are_503() {
    let key = Signer::ed();
    let gate = Gate::closed();
    let server = KeyServer::start(&[]).await;
    server.hold(&[named(&key, "one")], &gate);
    let gateway = Launch::new()
        .set("identity.jwt.jwksUrl", &server.url)
        .start()
        .await;
    server.asked(1).await;
    assert_eq!(status(&gateway, &token(&key, "one")).await, 503);
    assert_eq!(http::upgrade(gateway.clients, "/ws", &[]).await.status, 101);
    gate.open();
    becomes(&gateway, &token(&key, "one"), 101).await;
    let strict = from_url(&server).start().await;
    assert_eq!(
        http::upgrade(strict.clients, "/ws", &[]).await.status,
        401,
        "no token is no token"
    );
}

/// A token of a key that is not known yet has the set read at once, but not at every stranger's
/// whim.
#[tokio::test]
async fn a_rotated_key_is_found_at_once_and_unknown_keys_cost_little() {
    let (old, new) = (Signer::ed(), Signer::ed());
    let server = KeyServer::start(&[named(&old, "old")]).await;
    let gateway = from_url(&server)
        .set("identity.jwt.jwksInterval", "1h")
        .set("identity.jwt.jwksCooldown", "1s")
        .start()
        .await;
    becomes(&gateway, &token(&old, "old"), 101).await;
    assert_eq!(server.requests().len(), 1);

    server.keys(&[named(&old, "old"), named(&new, "new")]);
    becomes(&gateway, &token(&new, "new"), 101).await;
    assert_eq!(status(&gateway, &token(&old, "old")).await, 101);
    let asked = server.requests().len();
    assert_eq!(asked, 2, "the first one after the cooldown was enough");

    let started = std::time::Instant::now();
    for attempt in 0..200 {
        let unknown = token(&new, &format!("unknown-{attempt}"));
        assert_eq!(status(&gateway, &unknown).await, 401);
    }
    let allowed = 1 + usize::try_from(started.elapsed().as_secs()).unwrap();
    let more = server.requests().len() - asked;
    assert!(
        more <= allowed,
        "{more} reads for 200 strangers' tokens in {:?}",
        started.elapsed()
    );

    // One that is withdrawn is worth nothing any more.
    server.keys(&[named(&new, "new")]);
    let unknown = token(&new, "unknown");
    eventually("the old key's end", async || {
        status(&gateway, &unknown).await;
        (status(&gateway, &token(&old, "old")).await == 401).then_some(())
    })
    .await;
}

/// Many who come with the new key at once wait for one and the same read.
#[tokio::test]
async fn all_wait_for_one_read() {
    let (old, new) = (Signer::ed(), Signer::ed());
    let server = KeyServer::start(&[named(&old, "old")]).await;
    let gateway = from_url(&server)
        .set("identity.jwt.jwksCooldown", "100ms")
        .start()
        .await;
    becomes(&gateway, &token(&old, "old"), 101).await;
    let gate = Gate::closed();
    server.hold(&[named(&new, "new")], &gate);
    let new = token(&new, "new");
    let asking = async { becomes_waiting(&gateway, &new, 20).await };
    let opening = async {
        server.asked(2).await;
        gate.open();
    };
    let (statuses, ()) = soon("all answers", async { tokio::join!(asking, opening) }).await;
    assert!(statuses.iter().all(|status| *status == 101), "{statuses:?}");
    assert_eq!(server.requests().len(), 2);
}

/// So many at once, once one of them has made the gateway ask.
async fn becomes_waiting(gateway: &Gateway, token: &str, count: usize) -> Vec<u16> {
    let one = async || loop {
        match status(gateway, token).await {
            // Within the cooldown of the first read.
            401 => tokio::task::yield_now().await,
            status => return status,
        }
    };
    futures_util::future::join_all((0..count).map(|_| one())).await
}

/// Whatever its server says then, the last good set counts on, and it is told of.
#[tokio::test]
async fn the_last_good_keys_outlive_their_server() {
    let key = Signer::ed();
    let server = KeyServer::start(&[named(&key, "one")]).await;
    let gateway = from_url(&server)
        .set("identity.jwt.jwksInterval", "100ms")
        .set("identity.jwt.jwksTimeout", "200ms")
        .start()
        .await;
    becomes(&gateway, &token(&key, "one"), 101).await;
    let failed = format!("{READS}{{result=\"failed\"}}");
    let large = format!("{{\"keys\":[], \"x\": \"{}\"}}", "x".repeat(300_000));
    let many = vec![named(&key, "one"); 101];
    for (answer, told) in [
        (Answer::status(500), "500"),
        (
            Answer::status(302).with_header("Location", "/elsewhere"),
            "redirects are not followed",
        ),
        (Answer::ok().with_body("<html>"), "not JSON"),
        (
            Answer::ok().with_body("{\"key\": 1}"),
            "no JSON Web Key Set",
        ),
        (Answer::ok().with_body(&large), "larger than 262144 bytes"),
        (set_of(&many), "101 keys"),
        (
            set_of(&[]).once_open(&Gate::closed()),
            "identity.jwt.jwksTimeout",
        ),
        (Answer::reset(), "keys for tokens could not be read"),
    ] {
        let before = gateway.metric(&failed).await;
        server.answer(answer);
        eventually(told, async || gateway.log().contains(told).then_some(())).await;
        eventually("two failures more", async || {
            (gateway.metric(&failed).await > before + 1).then_some(())
        })
        .await;
        assert_eq!(status(&gateway, &token(&key, "one")).await, 101, "{told}");
    }
    assert!(
        server
            .requests()
            .iter()
            .all(|request| request.starts_with("GET /keys"))
    );
    assert!(
        gateway.log().contains("those of before count on"),
        "{}",
        gateway.log()
    );
    // An empty set is what its owner says: no key counts.
    server.keys(&[]);
    becomes(&gateway, &token(&key, "one"), 401).await;
    assert!(
        gateway.log().contains("no key that can verify tokens"),
        "{}",
        gateway.log()
    );
}

#[tokio::test]
async fn a_server_that_comes_later_is_found() {
    let key = Signer::ed();
    let gone = KeyServer::start(&[]).await;
    let address = gone.url.split('/').nth(2).unwrap().parse().unwrap();
    let launch = from_url(&gone);
    drop(gone);
    let gateway = launch.start().await;
    eventually("a failed read", async || {
        let log = gateway.log();
        (log.contains("connecting to 127.0.0.1") && log.contains("answered 503")).then_some(())
    })
    .await;
    assert_eq!(status(&gateway, &token(&key, "one")).await, 503);
    let _server = KeyServer::start_on(address, &[named(&key, "one")]).await;
    becomes(&gateway, &token(&key, "one"), 101).await;
}

/// The keys' address is in the settings and nowhere else.
#[tokio::test]
async fn no_address_and_no_key_comes_from_a_token() {
    let (key, strange) = (Signer::ed(), Signer::ed());
    let server = KeyServer::start(&[named(&key, "one")]).await;
    let trap = KeyServer::start(&[named(&strange, "one"), named(&strange, "two")]).await;
    let gateway = from_url(&server)
        .set("identity.jwt.jwksCooldown", "100ms")
        .start()
        .await;
    becomes(&gateway, &token(&key, "one"), 101).await;
    let claims = json!({"preferred_username": "ann", "exp": LATER, "iss": trap.url}).to_string();
    for more in [
        json!({"jku": trap.url}),
        json!({"x5u": trap.url}),
        json!({"jwk": strange.jwk(&json!({}))}),
    ] {
        for id in ["one", "two"] {
            let mut header = json!({"alg": "EdDSA", "kid": id});
            for (name, value) in more.as_object().unwrap() {
                header[name] = value.clone();
            }
            assert_eq!(
                status(&gateway, &strange.token(&header, &claims)).await,
                401,
                "{header}"
            );
        }
    }
    assert!(trap.requests().is_empty(), "{:?}", trap.requests());
}

/// As kubelet changes a mounted Secret: the name leads to another file.
#[tokio::test]
async fn a_file_is_read_again_when_it_changes() {
    let (old, new) = (Signer::ed(), Signer::ed());
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let file = write(
        "jwks.json",
        &json!({"keys": [named(&old, "old")]}).to_string(),
    );
    let gateway = Launch::new()
        .set("identity.jwt.jwksFile", file.to_str().unwrap())
        .set("identity.jwt.required", "true")
        .set("identity.jwt.jwksInterval", "100ms")
        .start()
        .await;
    assert_eq!(status(&gateway, &token(&old, "old")).await, 101);
    let next = write("next", &json!({"keys": [named(&new, "new")]}).to_string());
    std::fs::rename(next, &file).unwrap();
    becomes(&gateway, &token(&new, "new"), 101).await;
    assert_eq!(status(&gateway, &token(&old, "old")).await, 401);

    let torn = write("next", "{\"keys\": [");
    std::fs::rename(torn, &file).unwrap();
    eventually("a warning", async || {
        gateway.log().contains("not JSON").then_some(())
    })
    .await;
    assert_eq!(status(&gateway, &token(&new, "new")).await, 101);
}

#[tokio::test]
async fn what_can_never_work_is_said_at_the_start() {
    let key = named(&Signer::ed(), "one");
    let set = json!({"keys": [key]}).to_string();
    for (settings, said) in [
        (
            &[("required", "true")][..],
            "identity.jwt.required needs one of",
        ),
        (&[("secret", "x"), ("jwks", set.as_str())], "found several"),
        (
            &[("jwksUrl", "ftp://login.example")],
            "expected an address such as",
        ),
        (
            &[("jwksUrl", "https://localhost"), ("jwksCa", "no PEM")],
            "expected certificates in PEM",
        ),
        (&[("jwksFile", "/nowhere/jwks.json")], "/nowhere/jwks.json"),
        (
            &[("jwksUrl", "http://localhost"), ("jwksInterval", "0")],
            "100ms or more",
        ),
        (
            &[("secret", "x"), ("from", "pocket")],
            "header, cookie, query or subprotocol",
        ),
        (
            &[("secret", "x"), ("from", "")],
            "identity.jwt.from is empty",
        ),
    ] {
        let flags = settings.iter().map(|(key, value)| {
            format!(
                "--{}={value}",
                stanza::env::flag(&format!("identity.jwt.{key}"))
            )
        });
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_ws-gateway"))
            .arg("run")
            .args(flags)
            .output()
            .await
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && text.contains(said),
            "{settings:?}: {text}"
        );
    }
}

/// The ends of many tokens at once are cheap, and of those that left before nothing is kept.
#[tokio::test]
async fn many_tokens_end_at_once() {
    const COUNT: usize = 300;
    let app = App::start().await;
    let secret = "a secret that is long enough for all of them";
    let gateway = Launch::for_app(&app)
        .set("identity.jwt.secret", secret)
        .set("identity.jwt.leeway", "0")
        .start()
        .await;
    let claims = |name: &str| {
        let exp = support::tokens::from_now(3);
        json!({"preferred_username": name, "exp": exp}).to_string()
    };
    let mut clients = Vec::new();
    for number in 0..COUNT {
        let token =
            Signer::secret(secret).token(&json!({"alg": "HS256"}), &claims(&number.to_string()));
        let header = format!("Bearer {token}");
        clients.push(Client::with(&gateway, "/ws", &[("Authorization", &header)]).await);
    }
    let leaving = clients.split_off(COUNT / 2);
    for client in leaving {
        client.close(1000, "").await;
    }
    for mut client in clients {
        assert_eq!(client.close_code().await, 4401);
    }
    let closed = "ws_gateway_connections_closed_total{reason=\"token_expired\"}";
    assert_eq!(gateway.metric(closed).await, (COUNT / 2) as u64);
}

//! `callback.signing`: callbacks prove who sent them, a key is replaced without a restart, and
//! without one nothing goes out unsigned.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde_json::json;
use sha2::Sha256;
use support::{Answer, App, Call, Client, Gateway, Launch, eventually, http};

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "another key, as plain text of many bytes";

/// A file of keys, replaced as kubelet does it: whole, by a rename.
struct Keys {
    folder: tempfile::TempDir,
}

impl Keys {
    fn none() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn with(text: &str) -> Self {
        let keys = Self::none();
        keys.put(text);
        keys
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    fn put(&self, text: &str) {
        let next = self.folder.path().join("next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, self.path()).unwrap();
    }
}

fn signed_by(app: &App, keys: &Path) -> Launch {
    Launch::for_app(app)
        .env("WS_CALLBACK_SIGNING_FILE", keys.to_str().unwrap())
        .env("WS_SECRET_POLL", "20ms")
}

/// As the specification says, and not as the gateway does it.
fn signature(key: &[u8], id: &str, timestamp: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(&[format!("{id}.{timestamp}.").as_bytes(), body].concat());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

fn bytes(key: &str) -> Vec<u8> {
    match key.strip_prefix("whsec_") {
        Some(encoded) => STANDARD.decode(encoded).unwrap(),
        None => key.as_bytes().to_vec(),
    }
}

fn is_signed_with(call: &Call, key: &str) -> bool {
    let header = |name| call.header(name).unwrap_or_default();
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    header("webhook-signature") == signature(&bytes(key), id, timestamp, &call.body)
}

#[track_caller]
fn assert_signed(call: &Call, key: &str) {
    assert!(is_signed_with(call, key), "{call:?}");
    assert_eq!(call.header("webhook-id"), Some(call.event_id()));
    let sent: u64 = call.header("webhook-timestamp").unwrap().parse().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    assert!(now.as_secs().abs_diff(sent) < 60, "{sent}");
}

#[tokio::test]
async fn every_callback_is_signed() {
    let mut app = App::start().await;
    let keys = Keys::with(&format!("{OLD}\n{NEW}\n"));
    let gateway = signed_by(&app, &keys.path())
        .set("types", "[{type: order, url: /order}]")
        .start()
        .await;
    let cookie = [("Cookie", "a=b")];
    let mut client = Client::with(&gateway, "/ws", &cookie).await;
    assert_signed(&app.next_of("open").await, OLD);
    client.send(r#"{"type": "order", "n": 1.0}"#).await;
    for path in ["/ws/message", "/order"] {
        let call = app.next_of("message").await;
        assert_eq!(call.path, path);
        assert_signed(&call, OLD);
    }
    client.send_binary(&[0, 255]).await;
    assert_signed(&app.next_of("message").await, OLD);
    client.close(1000, "").await;
    assert_signed(&app.next_of("close").await, OLD);
    assert_eq!(
        gateway
            .metric(r#"ws_gateway_secret_usable{secret="callback-signing"}"#)
            .await,
        1
    );
}

#[tokio::test]
async fn without_the_setting_there_is_no_signature() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let _client = Client::connect(&gateway).await;
    let open = app.next_of("open").await;
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        assert_eq!(open.header(name), None);
    }
}

/// The hook is a question without a body: its answer decides, asking it proves nothing.
#[tokio::test]
async fn the_auth_hook_is_not_signed() {
    let mut app = App::start().await;
    let keys = Keys::with(OLD);
    let gateway = signed_by(&app, &keys.path())
        .set("auth", "/auth")
        .start()
        .await;
    let _client = Client::connect(&gateway).await;
    let hook = app.next().await;
    assert!(hook.path.starts_with("/auth"), "{hook:?}");
    assert_eq!(hook.header("webhook-signature"), None);
    assert_signed(&app.next_of("open").await, OLD);
}

#[tokio::test]
async fn an_event_that_is_sent_again_keeps_its_id_and_has_the_attempts_time() {
    let mut app = App::start().await;
    let keys = Keys::with(OLD);
    let gateway = signed_by(&app, &keys.path()).start().await;
    let mut client = Client::connect(&gateway).await;
    app.next_of("open").await;
    app.answer_messages(Answer::status(503).with_header("Retry-After", "1"));
    client.send("1").await;
    let first = app.next_of("message").await;
    let again = app.next_of("message").await;
    app.answer(|_| Answer::ok());
    assert_signed(&first, OLD);
    assert_signed(&again, OLD);
    assert_eq!(first.header("webhook-id"), again.header("webhook-id"));
    let time = |call: &Call| -> u64 { call.header("webhook-timestamp").unwrap().parse().unwrap() };
    assert!(
        time(&again) > time(&first),
        "the attempt's time, not the event's"
    );
}

#[tokio::test]
async fn the_close_of_a_killed_gateways_connection_is_signed() {
    let mut app = App::start().await;
    let keys = Keys::with(OLD);
    let journal = tempfile::tempdir().unwrap();
    let launch = signed_by(&app, &keys.path()).journal(journal.path());
    let mut gateway = launch.start().await;
    let _client = Client::connect(&gateway).await;
    app.next_of("open").await;
    gateway.kill().await;
    let _again = gateway.launch().start().await;
    assert_signed(&app.next_of("close").await, OLD);
}

/// First the new key stands behind the old one, for the app; then before it; then alone.
#[tokio::test]
async fn a_key_is_replaced_without_a_restart() {
    let mut app = App::start().await;
    let keys = Keys::with(OLD);
    let gateway = signed_by(&app, &keys.path()).start().await;
    let mut client = Client::connect(&gateway).await;
    assert_signed(&app.next_of("open").await, OLD);
    for (text, signs) in [
        (format!("{OLD}\n{NEW}\n"), OLD),
        (format!("{NEW}\n{OLD}\n"), NEW),
        (format!("{NEW}\n"), NEW),
    ] {
        let reads = || gateway.log().matches("secret read").count();
        let before = reads();
        keys.put(&text);
        eventually("the file to be read again", async || {
            (reads() > before).then_some(())
        })
        .await;
        client.send("1").await;
        assert_signed(&app.next_of("message").await, signs);
    }
}

/// The clients that are there stay, and their callbacks are signed as before.
#[tokio::test]
async fn a_file_that_goes_bad_changes_nothing_and_is_told() {
    let mut app = App::start().await;
    let keys = Keys::with(OLD);
    let gateway = signed_by(&app, &keys.path()).start().await;
    let mut client = Client::connect(&gateway).await;
    app.next_of("open").await;
    let usable = r#"ws_gateway_secret_usable{secret="callback-signing"}"#;
    for (text, why) in [
        ("", "it is empty"),
        ("hush", "line 1: 4 bytes"),
        ("whsec_hush!", "line 1: expected base64"),
    ] {
        keys.put(text);
        eventually(why, async || gateway.log().contains(why).then_some(())).await;
        eventually("the metric", async || {
            (gateway.metric(usable).await == 0).then_some(())
        })
        .await;
        client.send("1").await;
        assert_signed(&app.next_of("message").await, OLD);
    }
    std::fs::remove_file(keys.path()).unwrap();
    eventually("No such file", async || {
        gateway.log().contains("No such file").then_some(())
    })
    .await;
    let _another = Client::connect(&gateway).await;
    assert_signed(&app.next_of("open").await, OLD);
    keys.put(NEW);
    eventually("the metric", async || {
        (gateway.metric(usable).await == 1).then_some(())
    })
    .await;
    client.send("1").await;
    assert_signed(&app.next_of("message").await, NEW);
    assert!(!gateway.log().contains("hush"), "{}", gateway.log());
}

/// It is ready, as the pod's app is not to go because of its gateway; clients are turned away.
#[tokio::test]
async fn without_a_key_nothing_goes_out_and_clients_are_refused() {
    let mut app = App::start().await;
    let keys = Keys::none();
    let journal = tempfile::tempdir().unwrap();
    let launch = signed_by(&app, &keys.path()).journal(journal.path());
    keys.put(OLD);
    let mut gateway = launch.start().await;
    let _client = Client::connect(&gateway).await;
    app.next_of("open").await;
    gateway.kill().await;

    // An end that is to be told, and no key to sign it with.
    keys.put("");
    let gateway = gateway.launch().start().await;
    let refused = http::upgrade(gateway.clients, "/ws", &[]).await;
    assert_eq!(refused.status, 503);
    assert!(
        refused.text().contains("callback.signing"),
        "{}",
        refused.text()
    );
    assert!(refused.header("retry-after").is_some());
    assert_eq!(
        gateway
            .metric(r#"ws_gateway_upgrades_refused_total{reason="signing"}"#)
            .await,
        1
    );
    assert!(
        gateway.log().contains("clients are refused with 503"),
        "{}",
        gateway.log()
    );
    assert_eq!(app.calls().len(), 1, "nothing unsigned");

    keys.put(OLD);
    assert_signed(&app.next_of("close").await, OLD);
    let connected = async || {
        let answer = http::upgrade(gateway.clients, "/ws", &[]).await;
        (answer.status == 101).then_some(())
    };
    eventually("a client is let in", connected).await;
    assert_signed(&app.next_of("open").await, OLD);
}

/// The admin API of the app's own pod needs no key: it sends no callback.
#[tokio::test]
async fn a_directory_in_the_files_place_is_told() {
    let app = App::start().await;
    let folder = tempfile::tempdir().unwrap();
    let gateway = signed_by(&app, folder.path()).start().await;
    assert!(
        gateway.log().contains("it is no regular file"),
        "{}",
        gateway.log()
    );
    assert_eq!(http::upgrade(gateway.clients, "/ws", &[]).await.status, 503);
    let sent = gateway.send(&json!({"all": true, "payload": 1})).await;
    assert_eq!(sent["matched"], 0);
}

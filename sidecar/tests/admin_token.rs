//! The admin token from a file: asked of everyone, changed without a restart, and never open for
//! want of one.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::path::Path;

use support::{App, Launch, eventually, http};

const LIST: &str = "/tapr/ws/conn/list";

fn put(file: &Path, text: &str) {
    let next = file.with_extension("next");
    std::fs::write(&next, text).unwrap();
    std::fs::rename(next, file).unwrap();
}

async fn status(to: std::net::SocketAddr, token: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    http::call(to, "GET", LIST, &[("Authorization", &bearer)], b"")
        .await
        .status
}

#[tokio::test]
async fn a_token_file_is_read_again_when_it_changes() {
    let app = App::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    put(&file, "first\n");
    let gateway = Launch::for_app(&app)
        .env("WS_ADMIN_TOKEN_FILE", file.to_str().unwrap())
        .env("WS_SECRET_POLL", "20ms")
        .start()
        .await;
    let both = [gateway.clients, gateway.remote_admin];
    for port in both {
        assert_eq!(status(port, "first").await, 200);
        assert_eq!(status(port, "second").await, 401);
        assert_eq!(http::get(port, LIST).await.status, 401);
    }

    // Both, until every caller has the new one.
    put(&file, "second\n\n first \n");
    let let_in = async || (status(gateway.remote_admin, "second").await == 200).then_some(());
    eventually("the second token", let_in).await;
    for port in both {
        for (token, expected) in [("first", 200), ("second", 200), ("", 401), ("third", 401)] {
            assert_eq!(status(port, token).await, expected, "{token}");
        }
    }

    put(&file, "second");
    let refused = async || (status(gateway.remote_admin, "first").await == 401).then_some(());
    eventually("the first token's end", refused).await;
    assert_eq!(status(gateway.clients, "second").await, 200);
}

/// Who takes a token away means it.
#[tokio::test]
async fn a_token_file_that_cannot_be_used_opens_nothing() {
    let app = App::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let gateway = Launch::for_app(&app)
        .env("WS_ADMIN_TOKEN_FILE", file.to_str().unwrap())
        .env("WS_SECRET_POLL", "20ms")
        .start()
        .await;
    let usable = r#"ws_gateway_secret_usable{secret="admin-token"}"#;
    let closed = async |why: &str| {
        let told = async || gateway.log().contains(why).then_some(());
        eventually(why, told).await;
        for port in [gateway.clients, gateway.remote_admin] {
            for token in ["", "hush", "first"] {
                assert_eq!(status(port, token).await, 503, "{why}: {token:?}");
            }
            assert_eq!(http::get(port, LIST).await.status, 503, "{why}");
        }
        assert_eq!(gateway.metric(usable).await, 0);
    };
    closed("No such file").await;
    put(&file, "first");
    let let_in = async || (status(gateway.remote_admin, "first").await == 200).then_some(());
    eventually("the token", let_in).await;
    for (text, why) in [
        ("", "it is empty"),
        ("hush hush", "line 1: expected a token"),
        ("first\nhüsh", "line 2: expected a token"),
    ] {
        put(&file, text);
        closed(why).await;
    }
    assert!(!gateway.log().contains("hush"), "{}", gateway.log());
    // To a stranger it does not exist, token or not: see guards.
    let foreign = [("Host", "evil.example")];
    let refused = http::call(gateway.clients, "GET", LIST, &foreign, b"").await;
    assert_eq!(refused.status, 403);
}

#[tokio::test]
async fn a_token_and_a_file_of_tokens_are_one_too_many() {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_ws-gateway"))
        .arg("run")
        .env("WS_ADMIN_TOKEN", "hush")
        .env("WS_ADMIN_TOKEN_FILE", "/run/token")
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(said.contains("--admin-token"), "{said}");
    assert!(!said.contains("hush"), "{said}");
}

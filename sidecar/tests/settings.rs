//! Settings that cannot be what was meant, as whoever starts the gateway hears of them.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// What the program says as it ends.
async fn refused(args: &[&str], options: &str) -> String {
    let running = Command::new(env!("CARGO_BIN_EXE_ws-gateway"))
        .arg("run")
        .args(args)
        .env_clear()
        .env("WS_OPTIONS", options)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ended = tokio::time::timeout(Duration::from_secs(20), running).await;
    let output = ended.expect("the gateway runs with it").unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn a_heartbeat_that_contradicts_itself_is_refused() {
    let both = "is not more than heartbeat.interval";
    for (args, options, found) in [
        (
            &["--heartbeat-interval=60s", "--heartbeat-timeout=45s"][..],
            "{}",
            "--heartbeat-timeout (WS_HEARTBEAT_TIMEOUT): 45s is not more than heartbeat.interval (1m)",
        ),
        (
            &["--heartbeat-server-ping", "--heartbeat-timeout=30s"],
            "{}",
            "(30s, its default)",
        ),
        (
            &["--heartbeat-timeout=45s"],
            r#"{"heartbeat":{"interval":"45s","serverPing":true}}"#,
            both,
        ),
        (
            &[],
            r#"{"heartbeat":{"interval":"60s","timeout":"45s"}}"#,
            both,
        ),
    ] {
        let said = refused(args, options).await;
        assert!(
            said.contains(both) && said.contains(found),
            "{args:?} {options}: {said}"
        );
    }
}

/// As Midway's `serverHeartbeatInterval: 30000`.
#[tokio::test]
async fn milliseconds_without_a_unit_are_refused_everywhere() {
    let hint = "was 30s or 30000ms meant?";
    for args in [
        ["--heartbeat-interval=30000"],
        ["--callback-timeout=30000"],
        ["--identity-jwt-jwks-interval=30000"],
    ] {
        let said = refused(&args, "{}").await;
        assert!(said.contains(hint), "{args:?}: {said}");
    }
    let said = refused(&[], r#"{"limits":{"slow":30000}}"#).await;
    assert!(
        said.contains("limits.slow") && said.contains(hint),
        "{said}"
    );
}

/// Bodhi's `conf/socket.yaml` has `publish`.
#[tokio::test]
async fn the_entry_of_a_list_that_is_wrong_is_named() {
    for (flag, words) in [
        (
            "--types=[{type: a, url: /a}, {type: b, publish: c}]",
            "entry 2: publish is no key of it; did you mean url?",
        ),
        (
            "--identity-trusted-proxies=[10.0.0.0/8, nowhere]",
            "entry 2: \"nowhere\" is none",
        ),
    ] {
        let said = refused(&[flag], "{}").await;
        assert!(said.contains(words), "{flag}: {said}");
    }
}

/// `EnvFilter` takes any word for a module, and then nothing is logged.
#[tokio::test]
async fn a_log_filter_that_names_nothing_is_refused() {
    for (filter, named) in [
        ("debgu", "debgu"),
        ("info,ws-gateway=debug", "ws-gateway"),
        ("ws_gateway::sesion=debug", "ws_gateway::sesion"),
    ] {
        let said = refused(&[&format!("--log={filter}")], "{}").await;
        let expected = format!("--log, or WS_LOG: {named:?} is neither a level nor a module");
        assert!(
            said.contains(&expected) && said.contains("session, "),
            "{said}"
        );
    }
}

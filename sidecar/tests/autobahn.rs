//! The Autobahn fuzzing client against the gateway, with an app behind it that echoes through
//! the admin API. permessage-deflate (12.* and 13.*) is not offered here.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value as Json, json};
use support::{Launch, free_port, http};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::watch;

const CASES: usize = 301;
/// Setting up downloads and builds; the cases themselves take half a minute.
const PATIENCE: Duration = Duration::from_mins(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_cases_of_the_fuzzing_client_pass() {
    let wstest = set_up().await;
    let port = free_port();
    let admin = watch::Sender::new(None);
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    tokio::spawn(echo_app(listener, admin.subscribe()));
    let gateway = Launch::for_port(port)
        .set("limits.message", "32Mi")
        .set("limits.outbox", "64Mi")
        .set("limits.buffered", "512Mi")
        .set("limits.adminBody", "64Mi")
        .start()
        .await;
    admin.send_replace(Some(gateway.clients));

    let report = fuzz(&wstest, gateway.clients).await;
    let mut wrong = Vec::new();
    for (case, result) in &report {
        let (behavior, close) = (
            result["behavior"].as_str().unwrap(),
            result["behaviorClose"].as_str().unwrap(),
        );
        // The only cases that the RFC leaves open: how soon invalid UTF-8 is noticed.
        let lenient = matches!(case.as_str(), "6.4.3" | "6.4.4") && behavior == "NON-STRICT";
        let right = matches!(behavior, "OK" | "INFORMATIONAL") || lenient;
        if !right || !matches!(close, "OK" | "INFORMATIONAL") {
            wrong.push(format!("{case}: {behavior}, close {close}"));
        }
    }
    let counted = |name: &str| {
        report
            .values()
            .filter(|result| result["behavior"] == name)
            .count()
    };
    eprintln!(
        "Autobahn: {} cases, {} OK, {} INFORMATIONAL, {} NON-STRICT",
        report.len(),
        counted("OK"),
        counted("INFORMATIONAL"),
        counted("NON-STRICT")
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(report.len(), CASES);
}

/// The fuzzing client's path.
async fn set_up() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/autobahn/setup");
    let output = tokio::time::timeout(PATIENCE, Command::new(script).kill_on_drop(true).output());
    let output = output.await.expect("the setup's end").unwrap();
    let last = String::from_utf8_lossy(&output.stdout)
        .lines()
        .last()
        .unwrap_or_default()
        .to_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{last}{errors}");
    last.into()
}

/// Results by case.
async fn fuzz(wstest: &Path, gateway: SocketAddr) -> BTreeMap<String, Json> {
    let directory = tempfile::tempdir().unwrap();
    let spec = json!({
        "outdir": directory.path(),
        "servers": [{"agent": "ws-gateway", "url": format!("ws://127.0.0.1:{}/ws", gateway.port())}],
        "cases": ["*"],
        "exclude-cases": ["12.*", "13.*"],
        "exclude-agent-cases": {},
    });
    let file = directory.path().join("spec.json");
    std::fs::write(&file, spec.to_string()).unwrap();
    let mut command = Command::new(wstest);
    command
        .args(["-m", "fuzzingclient", "-s"])
        .arg(&file)
        .current_dir(directory.path())
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output())
        .await
        .expect("the fuzzing client's end")
        .unwrap();
    let index = std::fs::read(directory.path().join("index.json"));
    let index = index
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let mut report: BTreeMap<String, BTreeMap<String, Json>> =
        serde_json::from_slice(&index).unwrap();
    report.remove("ws-gateway").unwrap()
}

/// Sends back what it gets, through the admin API, before it answers.
async fn echo_app(listener: TcpListener, admin: watch::Receiver<Option<SocketAddr>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(echo(stream, admin.clone()));
    }
}

async fn echo(
    mut stream: TcpStream,
    mut admin: watch::Receiver<Option<SocketAddr>>,
) -> std::io::Result<()> {
    let admin = admin.wait_for(Option::is_some).await.unwrap().unwrap();
    let mut gateway = TcpStream::connect(admin).await?;
    gateway.set_nodelay(true)?;
    stream.set_nodelay(true)?;
    let (mut calls, mut answers) = (Vec::new(), Vec::new());
    while let Some((_, headers)) = http::read_head(&mut stream, &mut calls).await? {
        let len = http::header(&headers, "content-length")
            .unwrap()
            .parse()
            .unwrap();
        let body = http::read_body(&mut stream, &mut calls, len).await?;
        let body = std::str::from_utf8(&body).unwrap();
        if let Some(send) = send_back(body) {
            gateway
                .write_all(&http::request(
                    "POST",
                    "/tapr/ws/conn/send",
                    &[("Host", "localhost")],
                    send.as_bytes(),
                ))
                .await?;
            let answer = http::read_response(&mut gateway, &mut answers).await?;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .await?;
    }
    Ok(())
}

/// The send that echoes a message: its `data` as it stands, in its own encoding.
fn send_back(body: &str) -> Option<String> {
    let (before, envelope) = body.rsplit_once(r#","action":"message","#)?;
    let data = before.strip_prefix(r#"{"data":"#)?;
    let envelope: Json = serde_json::from_str(&format!("{{{envelope}")).ok()?;
    let encoding = envelope["encoding"].as_str().unwrap_or("json");
    Some(format!(
        r#"{{"conn_id":{},"encoding":"{encoding}","payload":{data}}}"#,
        envelope["conn_id"]
    ))
}

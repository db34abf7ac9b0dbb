//! A gateway tried by its own means: `echo` is the app, `connect` the client.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::process::Stdio;

use support::{Launch, PATIENCE};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ws-gateway"));
    command
        .args(args)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// The app, and its port.
async fn echo() -> (Child, u16) {
    let mut app = program(&["echo", "--listen", "127.0.0.1:0"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(app.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
    let line = line.unwrap().unwrap().unwrap();
    let port = line.rsplit(':').next().unwrap().parse().unwrap();
    (app, port)
}

/// Exit code, what it printed, what it complained of.
async fn connect(url: &str, args: &[&str]) -> (i32, String, String) {
    let output = program(&[&["connect", url], args].concat()).output();
    let output = tokio::time::timeout(PATIENCE, output)
        .await
        .unwrap()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[tokio::test]
async fn what_is_sent_comes_back() {
    let (_app, port) = echo().await;
    let gateway = Launch::for_port(port).start().await;
    let url = format!("ws://{}/ws", gateway.clients);
    let send = ["--send", r#"{"event":"a","data":12345678901234567890}"#];
    let (code, said, error) = connect(
        &url,
        &[&send[..], &["--expect", "12345678901234567890"]].concat(),
    )
    .await;
    assert_eq!(code, 0, "{said}{error}");
    assert!(
        said.contains(r#"< {"event":"a","data":12345678901234567890}"#),
        "{said}"
    );
    // Text that is no JSON as well.
    let (code, said, error) = connect(&url, &["--send", "hello", "--expect", "hello"]).await;
    assert_eq!(code, 0, "{said}{error}");
}

#[tokio::test]
async fn what_does_not_come_is_a_failure() {
    let (_app, port) = echo().await;
    let gateway = Launch::for_port(port).start().await;
    let url = format!("ws://{}/ws", gateway.clients);
    let within = ["--send", "hello", "--within", "1", "--expect"];
    let (code, _, error) = connect(&url, &[&within[..], &["bye"]].concat()).await;
    assert_eq!(code, 1);
    assert!(error.contains(r#"no "bye" within 1s"#), "{error}");
    // Nobody there: it asks again until then.
    let nobody = format!("ws://127.0.0.1:{}/ws", support::free_port());
    let (code, _, error) = connect(&nobody, &[&within[..], &["hello"]].concat()).await;
    assert_eq!(code, 1);
    assert!(error.contains("refused"), "{error}");
}

#[tokio::test]
async fn it_ends_when_told_to() {
    let (mut app, _) = echo().await;
    let pid = rustix::process::Pid::from_raw(app.id().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let ended = tokio::time::timeout(PATIENCE, app.wait()).await.unwrap();
    assert!(ended.unwrap().success());
}

//! What `ws-operator run` starts for each Helm release: whatever a tenant writes, it costs a
//! bounded amount of memory and time, in a process of its own.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

use std::io::Write;
use std::process::{Command, Output, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value as Json, json};

fn packed(release: &Json) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(release.to_string().as_bytes()).unwrap();
    STANDARD.encode(gzip.finish().unwrap()).into_bytes()
}

fn release(manifest: &str, values: &Json) -> Vec<u8> {
    let files = json!([{"name": "OlaresManifest.yaml", "data": STANDARD.encode(manifest)}]);
    packed(&json!({
        "name": "chat", "namespace": "chat", "version": 1,
        "chart": {"files": files, "values": values},
    }))
}

fn run(payload: &[u8]) -> Output {
    let mut reader = Command::new(env!("CARGO_BIN_EXE_ws-operator"))
        .arg("read-release")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // A reader that ends before it has read all breaks the pipe.
    let _ = reader.stdin.take().unwrap().write_all(payload);
    reader.wait_with_output().unwrap()
}

/// The reader's word, from one that stayed within its bounds.
#[track_caller]
fn answer(payload: &[u8]) -> Json {
    let Output { status, stdout, .. } = run(payload);
    assert!(status.success(), "{status}");
    serde_json::from_slice(&stdout).unwrap()
}

const STANZA: &str = "options: {websocket: {url: /ws, port: {{ .Values.port }}}}\n";

#[test]
fn an_honest_release_is_read() {
    let found = answer(&release(STANZA, &json!({"port": 8888})));
    assert_eq!(found["Ok"]["spec"]["options"]["websocket"]["port"], 8888);
    assert_eq!(
        answer(&release("no: stanza", &Json::Null))["Ok"],
        Json::Null
    );
}

#[test]
fn a_template_that_doubles_a_text_is_no_bomb() {
    let doubled = "{{ $a = printf \"%s%s\" $a $a }}".repeat(25);
    let manifest =
        format!("{{{{ $a := \"xxxxxxxxxxxxxxxx\" }}}}{doubled}{STANZA}x: {{{{ $a }}}}\n");
    let found = answer(&release(&manifest, &json!({"port": 8888})));
    assert_eq!(found["Ok"]["spec"]["options"]["websocket"]["port"], 8888);
}

#[test]
fn values_that_are_all_brackets_are_no_bomb() {
    for (count, values) in [
        // Just within what is read, and far beyond it.
        (170_000, "{\"Ok\""),
        (2_000_000, "{\"Err\":\"values.yaml: more than 512 KiB\"}"),
    ] {
        let lists = vec![json!([]); count];
        let found = answer(&release(STANZA, &json!({"port": 8888, "lists": lists})));
        assert!(found.to_string().starts_with(values), "{found}");
    }
}

#[test]
fn what_unpacks_without_end_is_no_bomb() {
    let found = answer(&packed(
        &json!({"chart": {"values": " ".repeat(200 << 20)}}),
    ));
    assert_eq!(found["Err"], "it unpacks to more than 8 MiB");
    for garbage in [&b"***"[..], b"", b"H4sI", b"e30="] {
        answer(garbage);
    }
}

#[test]
fn a_reader_that_needs_too_much_ends_alone() {
    // More than the API server would ever hold, so that the memory limit itself is met.
    let Output { status, .. } = run(&vec![b'A'; 100 << 20]);
    assert!(!status.success(), "{status}");
}

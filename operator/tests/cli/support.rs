//! The program as a person runs it, and the app that is behind an entrance in most tests.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value as Json;

/// An app that asks for a gateway.
pub(crate) const ASKING: &str = "\
apiVersion: ws.olares.com/v1alpha1
kind: AppManifest
metadata: {name: chat}   # ours
spec:
  entrances: [{name: chat, host: chat-svc, port: 80}]
  options: {websocket: {url: /ws/message, port: 8888}}
";
/// Its entrance, which selects the pods with `app: chat`.
pub(crate) const ENTRANCE: &str = "\
# The Service.
apiVersion: v1
kind: Service
metadata: {name: chat-svc}
spec: {selector: {app: chat}, ports: [{port: 80, targetPort: 8080}]}
";

/// As one file.
pub(crate) fn stream(documents: &[&str]) -> String {
    documents.join("---\n")
}

/// The app with a workload behind its entrance.
pub(crate) fn app_with(workload: &str) -> String {
    stream(&[ASKING, ENTRANCE, workload])
}

pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) said: String,
}

pub(crate) fn run(arguments: &[&str], input: &str) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ws-operator"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        said: String::from_utf8(output.stderr).unwrap(),
    }
}

pub(crate) fn objects(yaml: &str) -> Vec<Json> {
    serde_saphyr::from_multiple(yaml).unwrap()
}

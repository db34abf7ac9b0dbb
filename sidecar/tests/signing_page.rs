//! What docs/signing.md tells app authors to copy: each snippet verifies what a real gateway sends
//! and refuses what a stranger does.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use support::{Client, Launch, eventually, free_port, http};
use tokio::process::{Child, Command};

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "another key, as plain text of many bytes";

/// Servers around the page's function: 200 where it says yes, 401 where it says no.
const PYTHON: &str = r#"
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200 if verify(self.headers, body, sys.argv[2:]) else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), App).serve_forever()
"#;

const NODE: &str = r#"
require("node:http").createServer((request, response) => {
  const pieces = [];
  request.on("data", (piece) => pieces.push(piece));
  request.on("end", () => {
    const fine = verify(request.headers, Buffer.concat(pieces), process.argv.slice(3));
    response.writeHead(fine ? 200 : 401).end();
  });
}).listen(Number(process.argv[2]), "127.0.0.1");
"#;

const PHP: &str = r#"
$secrets = explode("\n", getenv('SECRETS'));
$headers = array_change_key_case(getallheaders());
http_response_code(verify($headers, file_get_contents('php://input'), $secrets) ? 200 : 401);
"#;

const GO_HEAD: &str = r#"package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)
"#;

const GO: &str = r#"
func main() {
	app := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || !verify(r.Header, body, os.Args[2:]) {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}
	panic(http.ListenAndServe("127.0.0.1:"+os.Args[1], http.HandlerFunc(app)))
}
"#;

/// The page's block of code in this language.
fn snippet(language: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/signing.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

fn start(program: &str, arguments: &[&str], folder: &Path, secrets: &[&str]) -> Child {
    Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("SECRETS", secrets.join("\n"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{program} cannot be started, install it: {error}"))
}

/// A request as a sender with this key makes it.
fn signed(key: &str, age: i64, body: &str) -> [(&'static str, String); 3] {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let sent = i64::try_from(now.as_secs()).unwrap() - age;
    let bytes = match key.strip_prefix("whsec_") {
        Some(encoded) => STANDARD.decode(encoded).unwrap(),
        None => key.as_bytes().to_vec(),
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(&bytes).unwrap();
    mac.update(format!("one/1.{sent}.{body}").as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    [
        ("webhook-id", "one/1".to_owned()),
        ("webhook-timestamp", sent.to_string()),
        ("webhook-signature", format!("v1,{signature}")),
    ]
}

async fn post(app: SocketAddr, headers: &[(&'static str, String)], body: &str) -> u16 {
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let answer = http::call(app, "POST", "/ws/message", &headers, body.as_bytes());
    answer.await.status
}

/// The app is told of two keys, as in the middle of a replacement.
const SECRETS: [&str; 2] = [OLD, NEW];

async fn verifies(app: SocketAddr) {
    let body = r#"{"data":{"text":"Grüße"},"action":"message"}"#;
    let up = async || {
        tokio::net::TcpStream::connect(app)
            .await
            .is_ok()
            .then_some(())
    };
    eventually("the app to listen", up).await;

    for key in SECRETS {
        assert_eq!(post(app, &signed(key, 0, body), body).await, 200, "{key}");
        assert_eq!(post(app, &signed(key, 200, body), body).await, 200, "{key}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        std::fs::write(&file, key).unwrap();
        let gateway = Launch::for_port(app.port())
            .env("WS_CALLBACK_SIGNING_FILE", file.to_str().unwrap())
            .start()
            .await;
        let mut client = Client::connect(&gateway).await;
        client.send(r#"{"text":  "Grüße", "n": 1.0}"#).await;
        client.send_binary(&[0, 159, 146, 150]).await;
        client.close(1000, "").await;
        for (action, count) in [("open", 1), ("message", 2), ("close", 1)] {
            let name = format!(r#"ws_gateway_callbacks_total{{action="{action}",result="ok"}}"#);
            let told = async || (gateway.metric(&name).await == count).then_some(());
            eventually(&name, told).await;
        }
    }

    let right = signed(OLD, 0, body);
    let with = |name: &str, value: &str| {
        right.clone().map(|(known, found)| {
            let found = if known == name {
                value.to_owned()
            } else {
                found
            };
            (known, found)
        })
    };
    let signature = right[2].1.clone();
    let several = with("webhook-signature", &format!("v1a,x v1,eA== {signature}"));
    assert_eq!(post(app, &several, body).await, 200, "one of several");

    let stranger = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert_eq!(
        post(app, &right, &body.replace("message", "close")).await,
        401,
        "a changed body"
    );
    assert_eq!(
        post(app, &signed(stranger, 0, body), body).await,
        401,
        "a wrong key"
    );
    assert_eq!(
        post(app, &signed(OLD, 400, body), body).await,
        401,
        "an old one"
    );
    assert_eq!(
        post(app, &signed(OLD, -400, body), body).await,
        401,
        "one of the future"
    );
    assert_eq!(post(app, &[], body).await, 401, "no signature");
    for (name, value) in [
        ("webhook-id", "one/2"),
        ("webhook-timestamp", ""),
        ("webhook-timestamp", "soon"),
        ("webhook-timestamp", "9999999999999999999"),
        ("webhook-signature", "v1,"),
        ("webhook-signature", "Gr\u{fc}\u{df}e"),
        ("webhook-signature", &signature[3..]),
    ] {
        assert_eq!(
            post(app, &with(name, value), body).await,
            401,
            "{name}: {value}"
        );
    }
}

/// A line that is empty, or no key, opens nothing: not even to who signs with no key at all.
async fn holds_with_broken_secrets(app: SocketAddr) {
    let body = "{}";
    let up = async || {
        tokio::net::TcpStream::connect(app)
            .await
            .is_ok()
            .then_some(())
    };
    eventually("the app to listen", up).await;
    assert_eq!(
        post(app, &signed("", 0, body), body).await,
        401,
        "the empty key"
    );
    assert_eq!(
        post(app, &signed(OLD, 0, body), body).await,
        200,
        "the right key"
    );
}

const BROKEN: [&str; 3] = ["", "whsec_!!!", OLD];

async fn check(program: &str, code: &str, name: &str, arguments: impl Fn(&str) -> Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), code).unwrap();
    for (secrets, broken) in [(&SECRETS[..], false), (&BROKEN[..], true)] {
        let app = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut words = arguments(&app.port().to_string());
        if program != "php" {
            words.extend(secrets.iter().map(|&secret| secret.to_owned()));
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let _running = start(program, &words, folder.path(), secrets);
        if broken {
            holds_with_broken_secrets(app).await;
        } else {
            verifies(app).await;
        }
    }
}

#[tokio::test]
async fn python() {
    let code = snippet("python") + PYTHON;
    check("python3", &code, "app.py", |port| {
        vec!["-B".into(), "app.py".into(), port.into()]
    })
    .await;
}

#[tokio::test]
async fn node() {
    let code = snippet("js") + NODE;
    check("node", &code, "app.js", |port| {
        vec!["app.js".into(), port.into()]
    })
    .await;
}

#[tokio::test]
async fn php() {
    let code = format!("<?php\n{}{PHP}", snippet("php"));
    check("php", &code, "app.php", |port| {
        vec!["-S".into(), format!("127.0.0.1:{port}"), "app.php".into()]
    })
    .await;
}

#[tokio::test]
async fn go() {
    let folder = tempfile::tempdir().unwrap();
    let code = format!("{GO_HEAD}\n{}{GO}", snippet("go"));
    std::fs::write(folder.path().join("app.go"), code).unwrap();
    let built = Command::new("go")
        .args(["build", "-o", "app", "app.go"])
        .current_dir(folder.path())
        .env("GO111MODULE", "off")
        .output()
        .await
        .unwrap_or_else(|error| panic!("go cannot be started, install it: {error}"));
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let program = folder.path().join("app");
    check(program.to_str().unwrap(), "", "unused", |port| {
        vec![port.into()]
    })
    .await;
}

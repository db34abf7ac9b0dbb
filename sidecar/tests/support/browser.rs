//! A real Chromium, told what to do by its DevTools protocol.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value as Json, json};
use tokio::process::{Child, Command};
use tokio_tungstenite::tungstenite::Message;

use super::{Client, eventually};

/// A hidden page's timers run once a minute, and five of them are much.
const PATIENCE: Duration = Duration::from_mins(5);

pub struct Browser {
    protocol: Client,
    calls: u64,
    _child: Child,
    _profile: tempfile::TempDir,
}

/// A page in a tab of its own, by its session.
pub struct Tab(String);

impl Browser {
    pub async fn start(args: &[&str]) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let child = Command::new("chromium")
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--remote-debugging-port=0",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(args)
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("chromium cannot be started, install it: {error}"));
        let said = profile.path().join("DevToolsActivePort");
        let (port, path) = eventually("Chromium's port", async || {
            let text = std::fs::read_to_string(&said).ok()?;
            let (port, path) = text.split_once('\n')?;
            Some((port.parse().ok()?, path.trim().to_owned()))
        })
        .await;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            protocol: Client::to(address, &path, &[]).await,
            calls: 0,
            _child: child,
            _profile: profile,
        }
    }

    /// A page in a new tab, in front of the others.
    pub async fn open(&mut self, url: &str) -> Tab {
        let made = self
            .call("Target.createTarget", json!({"url": url}), None)
            .await;
        let target = json!({"targetId": made["targetId"], "flatten": true});
        let attached = self.call("Target.attachToTarget", target, None).await;
        Tab(attached["sessionId"].as_str().unwrap().to_owned())
    }

    /// What an expression has become in the page; a promise is waited for.
    pub async fn evaluate(&mut self, tab: &Tab, expression: &str) -> Json {
        let params = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let mut found = self.call("Runtime.evaluate", params, Some(tab)).await;
        let thrown = &found["exceptionDetails"];
        assert!(thrown.is_null(), "{expression}: {thrown}");
        found["result"]["value"].take()
    }

    async fn call(&mut self, method: &str, params: Json, tab: Option<&Tab>) -> Json {
        self.calls += 1;
        let id = self.calls;
        let mut call = json!({"id": id, "method": method, "params": params});
        if let Some(Tab(session)) = tab {
            call["sessionId"] = json!(session);
        }
        self.protocol.send(&call.to_string()).await;
        let answered = tokio::time::timeout(PATIENCE, self.answer(id)).await;
        let mut answer = answered.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {call}"));
        assert!(answer["error"].is_null(), "{call}: {answer}");
        answer["result"].take()
    }

    /// Past the events that nobody asked for.
    async fn answer(&mut self, id: u64) -> Json {
        loop {
            let message = self.protocol.socket.next().await;
            if let Message::Text(text) = message.expect("Chromium has ended").unwrap() {
                let answer: Json = serde_json::from_str(&text).unwrap();
                if answer["id"] == id {
                    return answer;
                }
            }
        }
    }
}

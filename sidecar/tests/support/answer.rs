//! What the app answers, and when.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use tokio::sync::watch;

/// What the app does about a request.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// The whole answer, byte by byte.
    raw: Option<Vec<u8>>,
    pub(super) hold: Hold,
    pub(super) then: Then,
}

#[derive(Clone, Debug)]
pub(super) enum Hold {
    No,
    For(Duration),
    Until(Gate),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    KeepAlive,
    /// Answer, and close the connection without having said so.
    Close,
    /// No answer, and the connection is reset.
    Reset,
}

/// Holds back answers until it is opened.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Answer {
    pub fn ok() -> Self {
        Self::status(200)
    }

    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            raw: None,
            hold: Hold::No,
            then: Then::KeepAlive,
        }
    }

    /// An answer that acts.
    pub fn action(document: &Json) -> Self {
        Self::ok()
            .with_header("Content-Type", "application/vnd.olares.ws+json")
            .with_body(&document.to_string())
    }

    /// Bytes as they are; then the connection is closed.
    pub fn raw(bytes: &str) -> Self {
        Self {
            raw: Some(bytes.as_bytes().to_vec()),
            then: Then::Close,
            ..Self::ok()
        }
    }

    /// No answer: the connection is reset.
    pub fn reset() -> Self {
        Self {
            then: Then::Reset,
            ..Self::ok()
        }
    }

    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn with_body(self, body: &str) -> Self {
        Self {
            body: body.as_bytes().to_vec(),
            ..self
        }
    }

    pub fn after(self, delay: Duration) -> Self {
        Self {
            hold: Hold::For(delay),
            ..self
        }
    }

    pub fn once_open(self, gate: &Gate) -> Self {
        Self {
            hold: Hold::Until(gate.clone()),
            ..self
        }
    }

    pub fn then_close(self) -> Self {
        Self {
            then: Then::Close,
            ..self
        }
    }

    pub(super) fn is_reset(&self) -> bool {
        self.then == Then::Reset
    }

    /// Until it may be given.
    pub(super) async fn held_back(&self) {
        self.hold.over().await;
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        if let Some(raw) = &self.raw {
            return raw.clone();
        }
        let mut head = format!(
            "HTTP/1.1 {} Status\r\nContent-Length: {}\r\n",
            self.status,
            self.body.len()
        );
        for (name, value) in &self.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        [format!("{head}\r\n").as_bytes(), &self.body].concat()
    }
}

impl Hold {
    pub(super) async fn over(&self) {
        match self {
            Self::No => {}
            Self::For(delay) => tokio::time::sleep(*delay).await,
            Self::Until(gate) => {
                let mut open = gate.0.subscribe();
                open.wait_for(|open| *open).await.unwrap();
            }
        }
    }
}

impl Gate {
    pub fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    pub fn open(&self) {
        self.0.send_replace(true);
    }
}

//! An app that answers, is slow, fails, restarts and breaks off, as its dice say.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use http::StatusCode;
use serde::Deserialize;
use tokio::time::Instant;
use ws_gateway::callback::{Answer, Outgoing, SendError, Transport};

/// What the app has seen and done in one history.
#[derive(Debug)]
pub(crate) struct App {
    state: Mutex<State>,
    temper: Temper,
}

#[derive(Debug)]
struct State {
    rng: Rng,
    log: Vec<Taken>,
    in_flight: BTreeMap<String, u32>,
    overlap: Option<String>,
    /// How often the close of a connection broke off.
    close_doubts: BTreeMap<String, u32>,
    opens_in_doubt: Vec<String>,
}

/// How likely the app misbehaves in this history, in percent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Temper {
    pub(crate) slow: u8,
    pub(crate) error: u8,
    pub(crate) busy: u8,
    pub(crate) doubt: u8,
    pub(crate) timeout: u8,
    pub(crate) closes: u8,
    /// Down between these moments, after the start.
    pub(crate) down: Option<(Duration, Duration)>,
    pub(crate) born: Instant,
}

/// A callback that reached the app.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Taken {
    pub(crate) action: String,
    pub(crate) conn_id: String,
    pub(crate) seq: u64,
    #[serde(default)]
    pub(crate) code: Option<u16>,
    pub(crate) data: serde_json::Value,
}

/// The app's end of the gateway's transport.
#[derive(Clone, Debug)]
pub(crate) struct Calls(pub(crate) Arc<App>);

impl App {
    pub(crate) fn new(rng: Rng, temper: Temper) -> Self {
        let state = State {
            rng,
            log: Vec::new(),
            in_flight: BTreeMap::new(),
            overlap: None,
            close_doubts: BTreeMap::new(),
            opens_in_doubt: Vec::new(),
        };
        Self {
            state: Mutex::new(state),
            temper,
        }
    }

    pub(crate) fn log(&self) -> Vec<Taken> {
        self.state.lock().unwrap().log.clone()
    }

    /// A connection that had two callbacks at once.
    pub(crate) fn overlap(&self) -> Option<String> {
        self.state.lock().unwrap().overlap.clone()
    }

    /// Whether the close of a connection broke off each time, and so often that it may be given up.
    pub(crate) fn may_be_given_up(&self, id: &str) -> bool {
        const TRIES: u32 = 7;
        let doubts = &self.state.lock().unwrap().close_doubts;
        doubts.get(id).is_some_and(|doubts| *doubts >= TRIES)
    }

    /// Connections whose open broke off before the app had it, which the gateway cannot know.
    pub(crate) fn opens_in_doubt(&self) -> Vec<String> {
        self.state.lock().unwrap().opens_in_doubt.clone()
    }

    /// Whether events can be lost on their way at all.
    pub(crate) fn is_lossy(&self) -> bool {
        let Temper {
            busy,
            doubt,
            closes,
            down,
            ..
        } = self.temper;
        busy > 0 || doubt > 0 || closes > 0 || down.is_some()
    }

    fn chance(&self, percent: u8) -> bool {
        self.state.lock().unwrap().rng.u8(0..100) < percent
    }

    fn is_down(&self) -> bool {
        let age = self.temper.born.elapsed();
        self.temper
            .down
            .is_some_and(|(from, until)| age >= from && age < until)
    }

    fn take(&self, event: Taken) {
        self.state.lock().unwrap().log.push(event);
    }

    fn doubt(&self, event: &Taken) {
        if event.action == "close" {
            let mut state = self.state.lock().unwrap();
            *state.close_doubts.entry(event.conn_id.clone()).or_default() += 1;
        }
    }

    async fn answer(&self, event: Taken) -> Result<Answer, SendError> {
        if self.is_down() {
            return Err(SendError::NotTaken("connection refused".to_owned()));
        }
        if self.chance(self.temper.busy) {
            let retry_after = Some(Duration::from_millis(200));
            return Ok(Answer {
                status: StatusCode::SERVICE_UNAVAILABLE,
                retry_after,
                action: None,
                beginning: None,
            });
        }
        if self.chance(self.temper.doubt) {
            self.doubt(&event);
            self.pause().await;
            if self.chance(50) {
                self.take(event);
            } else if event.action == "open" {
                let id = event.conn_id.clone();
                self.state.lock().unwrap().opens_in_doubt.push(id);
            }
            return Err(SendError::InDoubt("connection reset".to_owned()));
        }
        let (closes, action) = (self.chance(self.temper.closes), event.action.clone());
        self.take(event);
        if self.chance(self.temper.slow) {
            self.pause().await;
        }
        if self.chance(self.temper.timeout) {
            tokio::time::sleep(Duration::from_secs(30)).await;
            return Err(SendError::Timeout(Duration::from_secs(30)));
        }
        if self.chance(self.temper.error) {
            return Ok(Answer {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                ..Answer::default()
            });
        }
        let action = match action.as_str() {
            "message" if closes => Some(Bytes::from_static(
                br#"{"reply":"bye","close":{"code":4001}}"#,
            )),
            "open" if closes => Some(Bytes::from_static(br#"{"error":"go away"}"#)),
            "open" => Some(Bytes::from_static(
                br#"{"reply":"hello","user_name":"ann"}"#,
            )),
            _ => None,
        };
        Ok(Answer {
            action,
            ..Answer::default()
        })
    }

    async fn pause(&self) {
        let millis = self.state.lock().unwrap().rng.u64(1..3000);
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    fn enter(&self, id: &str) {
        let mut state = self.state.lock().unwrap();
        let count = state.in_flight.entry(id.to_owned()).or_default();
        *count += 1;
        if *count > 1 {
            state.overlap = Some(id.to_owned());
        }
    }

    fn leave(&self, id: &str) {
        if let Some(count) = self.state.lock().unwrap().in_flight.get_mut(id) {
            *count -= 1;
        }
    }
}

impl Transport for Calls {
    async fn send(&self, outgoing: &Outgoing) -> Result<Answer, SendError> {
        let [_, _, headers, body] = outgoing.parts(b"");
        let event: Taken = serde_json::from_slice(body).expect("a callback's body is JSON");
        let id = event.conn_id.clone();
        let event_id = match event.action.as_str() {
            "close" => format!("X-Ws-Event-Id: {id}/close\r\n"),
            _ => format!("X-Ws-Event-Id: {id}/{}\r\n", event.seq),
        };
        assert!(str::from_utf8(headers).unwrap().contains(&event_id));
        // A connection's callback that is cancelled leaves too.
        let mut guard = Guard {
            app: &self.0,
            id: id.clone(),
            open_under_way: event.action == "open",
        };
        self.0.enter(&id);
        let answer = self.0.answer(event).await;
        guard.open_under_way = false;
        answer
    }
}

struct Guard<'a> {
    app: &'a App,
    id: String,
    /// An open that is cancelled now is one that the app may have had.
    open_under_way: bool,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.app.leave(&self.id);
        if self.open_under_way {
            let mut state = self.app.state.lock().unwrap();
            state.opens_in_doubt.push(self.id.clone());
        }
    }
}

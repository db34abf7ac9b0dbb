//! An event reaches the app once, or it is known that it may not have.
//!
//! An event is sent again only when it provably did not arrive. Where that is in doubt, nothing
//! is sent twice: the connection is closed with 1013 instead, so that the client knows.

use std::time::Duration;

use stanza::choice::Namespaces;
use stanza::settings;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::answer::{self, Actions};
use super::event::{Action, Outgoing};
use super::{Answer, SendError, Transport};
use crate::metrics::{CallbackResult, Metrics};

/// What became of an event.
#[derive(Debug)]
pub enum Outcome {
    /// The app has it. Where it answered with an error or too late, that was logged and counted,
    /// and the connection goes on.
    Delivered(Option<Box<Actions>>),
    /// The app never got it, for all of `callback.retryFor`.
    NotDelivered,
    /// The app may or may not have it.
    InDoubt,
}

#[derive(Debug)]
pub struct Delivery<T> {
    transport: T,
    retry_for: Duration,
    namespaces: Namespaces,
}

impl<T: Transport> Delivery<T> {
    pub fn new(transport: T, settings: &settings::Gateway) -> Self {
        Self {
            transport,
            retry_for: settings.callback.retry_for,
            namespaces: settings.identity.namespaces,
        }
    }

    pub fn transport(&self) -> &T {
        &self.transport
    }

    pub async fn deliver(&self, event: &Outgoing, action: Action, metrics: &Metrics) -> Outcome {
        let mut backoff = Backoff::new(self.retry_for);
        loop {
            let started = Instant::now();
            let result = self.transport.send(event).await;
            metrics.callback_seconds(action, started.elapsed());
            let (pause, why) = match result {
                Ok(Answer {
                    status,
                    retry_after: Some(pause),
                    ..
                }) => (Some(pause), format!("{status} with Retry-After")),
                Ok(answer) => return Outcome::Delivered(self.accept(answer, action, metrics)),
                Err(SendError::NotTaken(why)) => (None, why),
                Err(SendError::InDoubt(why)) => {
                    metrics.callback(action, CallbackResult::InDoubt);
                    warn!(
                        action = action.as_str(),
                        why, "callback may not have arrived"
                    );
                    return Outcome::InDoubt;
                }
                Err(error @ SendError::Timeout(_)) => {
                    metrics.callback(action, CallbackResult::Timeout);
                    warn!(action = action.as_str(), %error, "callback failed");
                    return Outcome::Delivered(None);
                }
            };
            let Some(pause) = backoff.next(pause) else {
                metrics.callback(action, CallbackResult::NotDelivered);
                warn!(action = action.as_str(), why, retried_for = ?self.retry_for, "callback not delivered");
                return Outcome::NotDelivered;
            };
            metrics.callback_retry();
            debug!(
                action = action.as_str(),
                why,
                ?pause,
                "callback will be sent again"
            );
            tokio::time::sleep(pause).await;
        }
    }

    /// Sends until the app has certainly had it, at least once, however long that takes.
    pub async fn insist(&self, event: &Outgoing, action: Action, metrics: &Metrics) {
        loop {
            match self.deliver(event, action, metrics).await {
                Outcome::Delivered(_) => return,
                Outcome::NotDelivered => {}
                Outcome::InDoubt => tokio::time::sleep(LONGEST_PAUSE).await,
            }
        }
    }

    fn accept(&self, answer: Answer, action: Action, metrics: &Metrics) -> Option<Box<Actions>> {
        if !answer.status.is_success() {
            metrics.callback(action, CallbackResult::ErrorStatus);
            let status = answer.status.as_u16();
            warn!(
                action = action.as_str(),
                status, "the app answered a callback with an error"
            );
            return None;
        }
        metrics.callback(action, CallbackResult::Ok);
        match answer::parse(&answer.action?, self.namespaces) {
            Ok(actions) => Some(Box::new(actions)),
            Err(error) => {
                warn!(action = action.as_str(), %error, "the app's action answer is ignored");
                None
            }
        }
    }
}

/// Growing pauses with jitter, for so long in all.
struct Backoff {
    until: Instant,
    step: Duration,
}

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Backoff {
    fn new(all: Duration) -> Self {
        Self {
            until: Instant::now() + all,
            step: FIRST_PAUSE,
        }
    }

    /// The next pause, or `None` when time is up. What the app asked for counts, up to what is left.
    fn next(&mut self, asked: Option<Duration>) -> Option<Duration> {
        let left = self
            .until
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())?;
        // Half fixed, half random: a thousand connections must not come back in step. On top of
        // what the app asked for, as that may be no time at all.
        let pause = asked.unwrap_or_default() + self.step.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.step = (self.step * 2).min(LONGEST_PAUSE);
        Some(pause.min(left))
    }
}

//! An event reaches the app once, or it is known that it may not have.
//!
//! An event is sent again only when it provably did not arrive. Where that is in doubt, nothing
//! is sent twice: the connection is closed with 1013 instead, so that the client knows. The end
//! of a connection is the exception, as nobody is left who could be told: it is told again,
//! under the same id, until the app has taken it.

use std::time::Duration;

use stanza::choice::Namespaces;
use stanza::settings;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::answer::{self, Actions};
use super::event::{Action, Outgoing};
use super::{Answer, SendError, Transport};
use crate::identity::ConnectionId;
use crate::metrics::{CallbackResult, Metrics};
use crate::throttle::Throttle;

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
    /// For an end that is told again: one on which the app dies takes no other with it.
    alone: Semaphore,
    lines: Lines,
}

/// One for each kind of line that clients can cause by the thousand.
#[derive(Debug, Default)]
struct Lines {
    in_doubt: Throttle,
    timeout: Throttle,
    not_delivered: Throttle,
    given_up: Throttle,
    error_status: Throttle,
    bad_action: Throttle,
}

impl<T: Transport> Delivery<T> {
    pub fn new(transport: T, settings: &settings::Gateway) -> Self {
        Self {
            transport,
            retry_for: settings.callback.retry_for,
            namespaces: settings.identity.namespaces,
            alone: Semaphore::new(1),
            lines: Lines::default(),
        }
    }

    pub fn transport(&self) -> &T {
        &self.transport
    }

    pub async fn deliver(&self, event: &Outgoing, action: Action, metrics: &Metrics) -> Outcome {
        self.deliver_within(self.retry_for, event, action, metrics)
            .await
    }

    async fn deliver_within(
        &self,
        retry_for: Duration,
        event: &Outgoing,
        action: Action,
        metrics: &Metrics,
    ) -> Outcome {
        let until = Instant::now() + retry_for;
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE, 2);
        loop {
            let started = Instant::now();
            let result = self.transport.send(event).await;
            metrics.callback_seconds(action, started.elapsed());
            let (asked, why) = match result {
                Ok(Answer {
                    status,
                    retry_after: Some(pause),
                    ..
                }) => (pause, format!("{status} with Retry-After")),
                Ok(answer) => return Outcome::Delivered(self.accept(answer, action, metrics)),
                Err(SendError::NotTaken(why)) => (Duration::ZERO, why),
                Err(SendError::InDoubt(why)) => {
                    metrics.callback(action, CallbackResult::InDoubt);
                    if let Some(left_out) = self.lines.in_doubt.pass() {
                        let action = action.as_str();
                        warn!(action, why, left_out, "callback may not have arrived");
                    }
                    return Outcome::InDoubt;
                }
                Err(error @ SendError::Timeout(_)) => {
                    metrics.callback(action, CallbackResult::Timeout);
                    if let Some(left_out) = self.lines.timeout.pass() {
                        let action = action.as_str();
                        warn!(action, %error, left_out, "callback failed");
                    }
                    return Outcome::Delivered(None);
                }
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                metrics.callback(action, CallbackResult::NotDelivered);
                if let Some(left_out) = self.lines.not_delivered.pass() {
                    let action = action.as_str();
                    warn!(action, why, ?retry_for, left_out, "callback not delivered");
                }
                return Outcome::NotDelivered;
            }
            // On top of what the app asked for, as that may be no time at all.
            let pause = left.min(asked + backoff.next());
            metrics.callback_retry();
            let action = action.as_str();
            debug!(action, why, ?pause, "callback will be sent again");
            tokio::time::sleep(pause).await;
        }
    }

    /// Tells of a connection's end until the app has taken it. `InDoubt`: given up, as it was in
    /// doubt each time; perhaps the app dies on it. `NotDelivered`: the app is away, and we end
    /// ourselves.
    pub async fn end(
        &self,
        id: ConnectionId,
        event: &Outgoing,
        metrics: &Metrics,
        draining: &CancellationToken,
    ) -> Outcome {
        let mut backoff = Backoff::new(FIRST_PAUSE_OF_END, LONGEST_PAUSE_OF_END, 3);
        let mut doubts = 0;
        let mut outcome = self.deliver(event, Action::Close, metrics).await;
        loop {
            let last_try = draining.is_cancelled();
            match outcome {
                Outcome::NotDelivered if !last_try => {}
                Outcome::InDoubt if doubts < MOST_DOUBTS => doubts += 1,
                Outcome::InDoubt => {
                    metrics.end_given_up();
                    if let Some(left_out) = self.lines.given_up.pass() {
                        warn!(
                            connection = %id,
                            tries = doubts + 1,
                            left_out,
                            "the end of a connection is given up: each time it was told the app broke off; does it die on this callback?"
                        );
                    }
                    return outcome;
                }
                _ => return outcome,
            }
            metrics.callback_retry();
            let pause = tokio::time::sleep(backoff.next());
            if last_try {
                pause.await;
            } else {
                tokio::select! {
                    () = pause => {}
                    () = draining.cancelled() => {}
                }
            }
            outcome = self.once_more(event, metrics).await;
        }
    }

    async fn once_more(&self, event: &Outgoing, metrics: &Metrics) -> Outcome {
        let alone = self.alone.acquire().await;
        let telling = self.deliver_within(Duration::ZERO, event, Action::Close, metrics);
        let mut telling = std::pin::pin!(telling);
        if let Ok(outcome) = tokio::time::timeout(ALONE_FOR, telling.as_mut()).await {
            return outcome;
        }
        drop(alone);
        telling.await
    }

    fn accept(&self, answer: Answer, action: Action, metrics: &Metrics) -> Option<Box<Actions>> {
        let name = action.as_str();
        if !answer.status.is_success() {
            metrics.callback(action, CallbackResult::ErrorStatus);
            if let Some(left_out) = self.lines.error_status.pass() {
                let status = answer.status.as_u16();
                warn!(
                    action = name,
                    status, left_out, "the app answered a callback with an error"
                );
            }
            return None;
        }
        metrics.callback(action, CallbackResult::Ok);
        match answer::parse(&answer.action?, self.namespaces) {
            Ok(actions) => Some(Box::new(actions)),
            Err(error) => {
                if let Some(left_out) = self.lines.bad_action.pass() {
                    warn!(action = name, %error, left_out, "the app's action answer is ignored");
                }
                None
            }
        }
    }
}

/// Growing pauses with jitter.
struct Backoff {
    step: Duration,
    longest: Duration,
    factor: u32,
}

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

const FIRST_PAUSE_OF_END: Duration = Duration::from_millis(100);
const LONGEST_PAUSE_OF_END: Duration = Duration::from_secs(30);
/// With the pauses between them, about half a minute.
const MOST_DOUBTS: u32 = 6;
/// An app that takes its time does not hold up all other ends that are told again.
const ALONE_FOR: Duration = Duration::from_secs(1);

impl Backoff {
    fn new(first: Duration, longest: Duration, factor: u32) -> Self {
        Self {
            step: first,
            longest,
            factor,
        }
    }

    /// Half fixed, half random: a thousand connections must not come back in step.
    fn next(&mut self) -> Duration {
        let pause = self.step.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.step = (self.step * self.factor).min(self.longest);
        pause
    }
}

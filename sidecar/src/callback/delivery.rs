//! An event reaches the app once, or it is known that it may not have.
//!
//! An event is sent again only when it provably did not arrive. Where that is in doubt, nothing
//! is sent twice: the connection is closed with 1013 instead, so that the client knows. The end
//! of a connection is the exception, as nobody is left who could be told: it is told again,
//! under the same id, until the app has taken it.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use stanza::choice::{Namespaces, OnError};
use stanza::settings;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::answer::{self, Actions};
use super::event::{Action, Outgoing};
use super::{Answer, SendError, Transport, refusal, target};
use crate::identity::ConnectionId;
use crate::metrics::{CallbackResult, Metrics};
use crate::protocol::CloseReason;
use crate::throttle::Throttle;
use ws_codec::Message;

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
    on_error: OnError,
    /// Only a path that nobody outside may post to is followed to.
    stays_on_path: bool,
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
    unreadable: Throttle,
    bad_action: Throttle,
    /// What was said of which path: the first time it is said whatever else is.
    once: Mutex<HashSet<(String, &'static str)>>,
}

impl Lines {
    /// Whether it is the first time that this is said of an event's path.
    fn first(&self, sent: &Outgoing, what: &'static str) -> bool {
        /// An app may send its callbacks to a path of their own each.
        const MOST: usize = 256;
        let mut said = self.once.lock().unwrap_or_else(PoisonError::into_inner);
        said.len() < MOST && said.insert((refusal::shown(target::path(sent.start())), what))
    }
}

/// How often an event may be sent elsewhere before that counts as an answer.
const MOST_HOPS: usize = 5;

impl<T: Transport> Delivery<T> {
    pub fn new(transport: T, settings: &settings::Gateway) -> Self {
        Self {
            transport,
            retry_for: settings.callback.retry_for,
            namespaces: settings.identity.namespaces,
            on_error: settings.callback.on_error,
            stays_on_path: false,
            alone: Semaphore::new(1),
            lines: Lines::default(),
        }
    }

    /// From now on a redirect is followed only where it adds or takes a slash: no other path is
    /// kept from those outside.
    pub fn stay_on_path(&mut self) {
        self.stays_on_path = true;
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
        let mut moved: Option<Outgoing> = None;
        let mut hops = 0;
        loop {
            let started = Instant::now();
            let sent = moved.as_ref().unwrap_or(event);
            let result = self.transport.send(sent).await;
            metrics.callback_seconds(action, started.elapsed());
            let (asked, why) = match result {
                Ok(Answer {
                    status,
                    retry_after: Some(pause),
                    ..
                }) => (pause, format!("{status} with Retry-After")),
                Ok(answer) => {
                    if hops < MOST_HOPS
                        && let Some(next) = self.follow(&answer, event, sent)
                    {
                        hops += 1;
                        moved = Some(next);
                        continue;
                    }
                    let accepted = self.accept(answer, sent, action, metrics);
                    return Outcome::Delivered(accepted);
                }
                Err(SendError::NotTaken(why)) => (Duration::ZERO, why),
                Err(SendError::InDoubt(why)) => {
                    metrics.callback(action, CallbackResult::InDoubt);
                    if let Some(left_out) = self.lines.in_doubt.pass() {
                        let (action, url) = (action.as_str(), url(sent));
                        warn!(action, url, why, left_out, "callback may not have arrived");
                    }
                    return Outcome::InDoubt;
                }
                Err(error @ SendError::Unreadable(_)) => {
                    metrics.callback(action, CallbackResult::Unreadable);
                    if let Some(left_out) = self.lines.unreadable.pass() {
                        let (name, url) = (action.as_str(), url(sent));
                        warn!(
                            action = name,
                            url,
                            %error,
                            left_out,
                            "the app answered a callback with something else than HTTP/1.1: is it the right port, and without TLS?"
                        );
                    }
                    let refused = self.refused(StatusCode::BAD_GATEWAY, action);
                    return Outcome::Delivered(refused.map(Box::new));
                }
                Err(error @ SendError::Timeout(_)) => {
                    metrics.callback(action, CallbackResult::Timeout);
                    if let Some(left_out) = self.lines.timeout.pass() {
                        let (action, url) = (action.as_str(), url(sent));
                        warn!(action, url, %error, left_out, "callback failed");
                    }
                    return Outcome::Delivered(None);
                }
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                metrics.callback(action, CallbackResult::NotDelivered);
                if let Some(left_out) = self.lines.not_delivered.pass() {
                    let (action, url) = (action.as_str(), url(event));
                    warn!(
                        action,
                        url,
                        why,
                        ?retry_for,
                        left_out,
                        "callback not delivered"
                    );
                }
                return Outcome::NotDelivered;
            }
            (moved, hops) = (None, 0);
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

    /// The same event for where the app wants it.
    fn follow(&self, answer: &Answer, event: &Outgoing, sent: &Outgoing) -> Option<Outgoing> {
        let location = answer.beginning.as_ref()?.location.as_deref()?;
        let to = refusal::redirected(answer.status, sent.start(), location)?;
        let path = target::path(event.start());
        if self.stays_on_path && !refusal::is_same_but_a_slash(path, &to) {
            return None;
        }
        if self.lines.first(event, "moved") {
            let (status, to) = (answer.status.as_u16(), refusal::shown(&to));
            warn!(
                url = url(sent),
                status,
                location = to,
                "the app sends callbacks elsewhere, which takes a request more each time: set url to where it wants them"
            );
        }
        Some(sent.to_path(&target::moved(sent.start(), &to)))
    }

    fn accept(
        &self,
        answer: Answer,
        sent: &Outgoing,
        action: Action,
        metrics: &Metrics,
    ) -> Option<Box<Actions>> {
        if !answer.status.is_success() {
            metrics.callback(action, CallbackResult::ErrorStatus);
            self.tell_of_refusal(&answer, sent, action);
            return self.refused(answer.status, action).map(Box::new);
        }
        metrics.callback(action, CallbackResult::Ok);
        let Some(body) = answer.action else {
            let beginning = answer.beginning.unwrap_or_default();
            if let Some(hint) = refusal::looks_like_more(&beginning.body)
                && self.lines.first(sent, hint)
            {
                let (action, url) = (action.as_str(), url(sent));
                warn!(action, url, "{hint}");
            }
            return None;
        };
        match answer::parse(&body, self.namespaces) {
            Ok(actions) => Some(Box::new(actions)),
            Err(error) => {
                let first = self.lines.first(sent, "answer");
                if let Some(left_out) = self.lines.bad_action.pass().or(first.then_some(0)) {
                    let (action, url) = (action.as_str(), url(sent));
                    warn!(action, url, %error, left_out, "the app's action answer is ignored");
                }
                None
            }
        }
    }

    fn tell_of_refusal(&self, answer: &Answer, sent: &Outgoing, action: Action) {
        let beginning = answer.beginning.as_deref();
        let location = beginning.and_then(|beginning| beginning.location.as_deref());
        let hint = refusal::hint(answer.status, location);
        let first = self.lines.first(sent, hint);
        if let Some(left_out) = self.lines.error_status.pass().or(first.then_some(0)) {
            let (status, action) = (answer.status.as_u16(), action.as_str());
            let location = location.map(refusal::shown);
            let answer = beginning.map_or_else(String::new, |it| refusal::first_line(&it.body));
            warn!(
                action,
                url = url(sent),
                status,
                location,
                answer,
                hint,
                left_out,
                "the app answered a callback with an error"
            );
        }
    }

    /// What a client hears of it.
    fn refused(&self, status: StatusCode, action: Action) -> Option<Actions> {
        let code = match (action, status.as_u16()) {
            (Action::Open, 401) => 4401,
            (Action::Open, 403) => 4403,
            (Action::Close, _) => return None,
            (_, status) => match self.on_error {
                OnError::Ignore => return None,
                OnError::Close if status == 413 => 1009,
                OnError::Close => 1011,
                OnError::Tell => {
                    let frame =
                        format!("{{\"type\":\"error\",\"payload\":{{\"status\":{status}}}}}");
                    return Some(Actions {
                        replies: vec![Message::text(&frame)],
                        ..Actions::default()
                    });
                }
            },
        };
        Some(Actions {
            close: Some(CloseReason::Refused { code }),
            ..Actions::default()
        })
    }
}

/// Where an event went, as it may be shown.
fn url(sent: &Outgoing) -> String {
    let path = refusal::shown(target::path(sent.start()));
    format!("http://{}{path}", target::host(sent.start()))
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

//! Prometheus metrics, all of them, in one place. Labels come from enums, never from requests.

mod labels;

pub use labels::{AdminCall, CallbackResult, MessageType, RefusalReason, TokenResult};

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use stanza::secret::SecretUse;
use telemetry::exposition::Format;

use crate::callback::Action;
use crate::journal::JournalMetrics;
use crate::protocol::CloseReason;

#[derive(Clone, Debug)]
pub struct Metrics {
    pub open: Gauge,
    opened: Counter,
    closed: Family<ReasonLabel, Counter>,
    refused: Family<ReasonLabel, Counter>,
    /// By [`MessageType`]; looked up once, as are the callbacks: each is counted on every message.
    received: [Counter; 4],
    received_bytes: Counter,
    sent: Counter,
    dropped: Counter,
    /// By [`Action`] and [`CallbackResult`].
    callbacks: [[Counter; CallbackResult::ALL.len()]; 3],
    callback_seconds: [Histogram; 3],
    retries: Counter,
    ends_given_up: Counter,
    admin: Family<AdminLabels, Counter>,
    buffered: Gauge,
    secrets: Family<SecretLabel, Gauge>,
    tokens: Family<ResultLabel, Counter>,
    key_reads: Family<ResultLabel, Counter>,
    registry: Arc<Registry>,
}

/// A label's value that is one of a few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Word(&'static str);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ActionLabel {
    action: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TypeLabel {
    r#type: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallbackLabels {
    action: Word,
    result: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SecretLabel {
    secret: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AdminLabels {
    call: Word,
    code: u16,
}

impl Metrics {
    pub fn new(journal: Option<&JournalMetrics>) -> Self {
        let mut registry = Registry::with_prefix("ws_gateway");
        let histogram = || {
            Histogram::new([
                0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
            ])
        };
        let seconds = Family::<ActionLabel, Histogram, _>::new_with_constructor(histogram);
        let received = Family::<TypeLabel, Counter>::default();
        let callbacks = Family::<CallbackLabels, Counter>::default();
        let mut metrics = Self {
            open: Gauge::default(),
            opened: Counter::default(),
            closed: Family::default(),
            refused: Family::default(),
            received: MessageType::ALL.map(|kind| {
                let label = Word(kind.as_str());
                received.get_or_create_owned(&TypeLabel { r#type: label })
            }),
            received_bytes: Counter::default(),
            sent: Counter::default(),
            dropped: Counter::default(),
            callbacks: ACTIONS.map(|action| {
                CallbackResult::ALL.map(|result| {
                    let (action, result) = (Word(action.as_str()), Word(result.as_str()));
                    callbacks.get_or_create_owned(&CallbackLabels { action, result })
                })
            }),
            callback_seconds: ACTIONS.map(|action| {
                let action = Word(action.as_str());
                seconds.get_or_create_owned(&ActionLabel { action })
            }),
            retries: Counter::default(),
            ends_given_up: Counter::default(),
            admin: Family::default(),
            buffered: Gauge::default(),
            secrets: Family::default(),
            tokens: Family::default(),
            key_reads: Family::default(),
            registry: Arc::default(),
        };
        let r = &mut registry;
        r.register("connections", "Open connections", metrics.open.clone());
        r.register(
            "connections_opened",
            "Connections that were opened",
            metrics.opened.clone(),
        );
        r.register(
            "connections_closed",
            "Connections that ended, by reason",
            metrics.closed.clone(),
        );
        r.register(
            "upgrades_refused",
            "Upgrade requests that were refused, by reason",
            metrics.refused.clone(),
        );
        r.register(
            "messages_received",
            "Messages from clients, by type",
            received.clone(),
        );
        r.register(
            "received_bytes",
            "Bytes of messages from clients",
            metrics.received_bytes.clone(),
        );
        r.register(
            "messages_sent",
            "Messages queued for clients",
            metrics.sent.clone(),
        );
        r.register(
            "messages_dropped",
            "Messages that found a client gone or too slow",
            metrics.dropped.clone(),
        );
        r.register(
            "callbacks",
            "Callbacks to the app, by action and result",
            callbacks.clone(),
        );
        r.register(
            "callback_duration_seconds",
            "How long the app took to answer a callback",
            seconds,
        );
        r.register(
            "admin_requests",
            "Admin API requests, by call and status",
            metrics.admin.clone(),
        );
        metrics.register_ends(r, journal);
        metrics.register_states(r);
        metrics.registry = Arc::new(registry);
        metrics
    }

    fn register_ends(&self, r: &mut Registry, journal: Option<&JournalMetrics>) {
        r.register(
            "callback_retries",
            "Callbacks that were sent again",
            self.retries.clone(),
        );
        r.register(
            "ends_given_up",
            "Ends of connections of which the app may not know",
            self.ends_given_up.clone(),
        );
        if let Some(journal) = journal {
            journal.register(r);
        }
    }

    /// How things are, beside what has happened.
    fn register_states(&self, r: &mut Registry) {
        r.register(
            "secret_usable",
            "1 while the file of a secret holds what it should",
            self.secrets.clone(),
        );
        r.register(
            "buffered_bytes",
            "Bytes that wait, to and from clients",
            self.buffered.clone(),
        );
        r.register(
            "jwt_tokens",
            "Upgrade requests where identity.jwt is set, by what their token was",
            self.tokens.clone(),
        );
        r.register(
            "jwt_key_reads",
            "Reads of the key set from its URL or file, by result",
            self.key_reads.clone(),
        );
    }

    /// What a scraper gets.
    pub fn write(&self, format: Format, buffered: usize) -> String {
        self.buffered
            .set(i64::try_from(buffered).unwrap_or(i64::MAX));
        format.write(&self.registry)
    }

    pub fn opened(&self) {
        self.open.inc();
        self.opened.inc();
    }

    pub fn closed(&self, reason: &CloseReason) {
        self.open.dec();
        self.closed
            .get_or_create(&ReasonLabel {
                reason: Word(reason.label()),
            })
            .inc();
    }

    pub fn refused(&self, reason: RefusalReason) {
        let reason = Word(reason.as_str());
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub fn token(&self, result: TokenResult) {
        let result = Word(result.as_str());
        self.tokens.get_or_create(&ResultLabel { result }).inc();
    }

    pub fn keys_read(&self, good: bool) {
        let result = Word(if good { "ok" } else { "failed" });
        self.key_reads.get_or_create(&ResultLabel { result }).inc();
    }

    pub fn received(&self, kind: MessageType, bytes: usize) {
        self.received[kind as usize].inc();
        self.received_bytes.inc_by(bytes as u64);
    }

    pub fn sent(&self, queued: usize, dropped: usize) {
        self.sent.inc_by(queued as u64);
        self.dropped.inc_by(dropped as u64);
    }

    pub fn callback(&self, action: Action, result: CallbackResult) {
        self.callbacks[action as usize][result as usize].inc();
    }

    pub fn callback_seconds(&self, action: Action, took: Duration) {
        self.callback_seconds[action as usize].observe(took.as_secs_f64());
    }

    pub fn callback_retry(&self) {
        self.retries.inc();
    }

    pub fn end_given_up(&self) {
        self.ends_given_up.inc();
    }

    pub fn secret_usable(&self, secret: SecretUse, usable: bool) {
        let secret = Word(secret.as_str());
        let gauge = self.secrets.get_or_create(&SecretLabel { secret });
        gauge.set(usable.into());
    }

    pub fn admin(&self, call: AdminCall, status: StatusCode) {
        let call = call.as_str();
        self.admin
            .get_or_create(&AdminLabels {
                call: Word(call),
                code: status.as_u16(),
            })
            .inc();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(None)
    }
}

// In the order of its declaration, as they are found by number.
const ACTIONS: [Action; 3] = [Action::Open, Action::Message, Action::Close];
impl EncodeLabelValue for Word {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.0, encoder)
    }
}

//! What is counted, and its text for Prometheus. docs/operator/observability.md lists all of it; a test
//! compares.

mod watched;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use telemetry::exposition::Format;

use crate::reason::Reason;

pub use watched::Watched;

#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    admissions: Family<Admission, Counter>,
    pub admission_latency: Histogram,
    rolls: Family<Why, Counter>,
    reconciles: Family<Outcome, Counter>,
    reconcile_latency: Family<Outcome, Histogram, Buckets>,
    certificates: Family<Expiry, Gauge>,
    turned_away: Family<Why, Counter>,
    probe_success: Gauge,
    probe_last_success: Gauge,
}

/// Why the webhook did not hear somebody out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnedAway {
    /// Another came, and there were too many.
    Crowded,
    Late,
    UnknownPath,
    TooLarge,
}

/// Whose end of life is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// The one that signs; of a bundle by others, the first to expire.
    Authority,
    /// The one that the webhook serves.
    Leaf,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Admission {
    decision: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Expiry {
    certificate: &'static str,
}

/// From a look at memory to a few slow writes.
#[derive(Clone)]
struct Buckets;

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new([
            0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0,
        ])
    }
}

impl Metrics {
    pub fn new(watched: Watched) -> Self {
        let mut registry = Registry::with_prefix("ws_operator");
        let admissions = Family::default();
        registry.register(
            "admissions",
            "Pods admitted, by decision and reason",
            admissions.clone(),
        );
        // Close together around what is promised: 99 of 100 answers within 10 ms.
        let admission_latency = Histogram::new([
            0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.007_5, 0.01, 0.025, 0.05, 0.1,
            0.5, 1.0,
        ]);
        registry.register(
            "admission_duration_seconds",
            "Time from the request's head to the answer",
            admission_latency.clone(),
        );
        let rolls = Family::default();
        registry.register("rolls", "Workloads restarted, by reason", rolls.clone());
        let reconciles = Family::default();
        registry.register(
            "reconciles",
            "Looks at an app by the controller, by result",
            reconciles.clone(),
        );
        let reconcile_latency = Family::new_with_constructor(Buckets);
        registry.register(
            "reconcile_duration_seconds",
            "How long one look at an app took",
            reconcile_latency.clone(),
        );
        let certificates = Family::default();
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "When the webhook's certificates expire",
            certificates.clone(),
        );
        let turned_away = Family::default();
        registry.register(
            "webhook_turned_away",
            "Connections and requests that the webhook did not hear out, by reason",
            turned_away.clone(),
        );
        let probe_success = Gauge::default();
        registry.register(
            "webhook_probe_success",
            "Whether the API server reached the webhook when it was last asked to",
            probe_success.clone(),
        );
        let probe_last_success = Gauge::default();
        registry.register(
            "webhook_probe_last_success_timestamp_seconds",
            "When the API server last reached the webhook",
            probe_last_success.clone(),
        );
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "The operator's version", Info::new(version));
        registry.register_collector(Box::new(watched));
        Self {
            registry: Arc::new(registry),
            admissions,
            admission_latency,
            rolls,
            reconciles,
            reconcile_latency,
            certificates,
            turned_away,
            probe_success,
            probe_last_success,
        }
    }

    pub fn admitted(&self, decision: &'static str, reason: Reason) {
        let labels = Admission {
            decision,
            reason: reason.label(),
        };
        self.admissions.get_or_create(&labels).inc();
    }

    pub fn rolled(&self, reason: Reason) {
        let labels = Why {
            reason: reason.label(),
        };
        self.rolls.get_or_create(&labels).inc();
    }

    pub fn reconciled(&self, succeeded: bool, took: Duration) {
        let result = if succeeded { "ok" } else { "error" };
        let labels = Outcome { result };
        self.reconciles.get_or_create(&labels).inc();
        self.reconcile_latency
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    /// `at`: seconds since 1970.
    pub fn expires(&self, certificate: Certificate, at: i64) {
        let certificate = match certificate {
            Certificate::Authority => "authority",
            Certificate::Leaf => "leaf",
        };
        let labels = Expiry { certificate };
        self.certificates.get_or_create(&labels).set(at);
    }

    pub fn turned_away(&self, why: TurnedAway) {
        let reason = why.code();
        self.turned_away.get_or_create(&Why { reason }).inc();
    }

    pub fn probed(&self, up: bool) {
        self.probe_success.set(up.into());
        if up {
            self.probe_last_success.set(Timestamp::now().as_second());
        }
    }

    pub fn write(&self, format: Format) -> String {
        format.write(&self.registry)
    }
}

// === impl TurnedAway ===

impl TurnedAway {
    pub const fn code(self) -> &'static str {
        match self {
            Self::Crowded => "crowded",
            Self::Late => "late",
            Self::UnknownPath => "unknown-path",
            Self::TooLarge => "too-large",
        }
    }
}

/// Of an operator that knows nothing.
#[cfg(test)]
impl Default for Metrics {
    fn default() -> Self {
        Self::new(Watched {
            cluster: Arc::default(),
            queue: Arc::default(),
            notices: crate::events::Notices::nowhere(),
            leading: tokio::sync::watch::Sender::new(false).subscribe(),
        })
    }
}

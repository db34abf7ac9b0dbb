//! What is counted, and its text for Prometheus.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::reason::Reason;

#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    admissions: Family<Admission, Counter>,
    pub admission_latency: Histogram,
    rolls: Family<Why, Counter>,
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

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("ws_operator");
        let admissions = Family::default();
        registry.register(
            "admissions",
            "Pods admitted, by decision and reason",
            admissions.clone(),
        );
        let admission_latency = Histogram::new([
            0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0,
        ]);
        registry.register(
            "admission_duration_seconds",
            "Time from the request's head to the answer",
            admission_latency.clone(),
        );
        let rolls = Family::default();
        registry.register("rolls", "Workloads restarted, by reason", rolls.clone());
        Self {
            registry: Arc::new(registry),
            admissions,
            admission_latency,
            rolls,
        }
    }
}

impl Metrics {
    pub fn admitted(&self, decision: &'static str, reason: Reason) {
        let labels = Admission {
            decision,
            reason: reason.code(),
        };
        self.admissions.get_or_create(&labels).inc();
    }

    pub fn rolled(&self, reason: Reason) {
        let labels = Why {
            reason: reason.code(),
        };
        self.rolls.get_or_create(&labels).inc();
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

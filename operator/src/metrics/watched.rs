//! Gauges of what others keep, read when somebody asks.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use tokio::sync::watch;

use crate::api::PodCounts;
use crate::app::AppId;
use crate::cluster::Cluster;
use crate::events::Notices;
use crate::queue::Queue;
use crate::reason::Reason;

pub struct Watched {
    pub cluster: Arc<Cluster>,
    pub queue: Arc<Queue<AppId>>,
    pub notices: Notices,
    /// Whether this replica controls.
    pub leading: watch::Receiver<bool>,
}

/// An app's condition Ready.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EncodeLabelSet)]
struct Readiness {
    ready: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

impl Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched(…)")
    }
}

impl Collector for Watched {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauge = |name, help: &str, value: &dyn EncodeMetric| {
            let place = encoder.encode_descriptor(name, help, None, value.metric_type())?;
            value.encode(place)
        };
        let leading = *self.leading.borrow();
        // Of a replica that stands by nobody works on the queue, so its length says nothing.
        let due = if leading { self.queue.due() } else { 0 };
        let (apps, pods) = self.apps();
        gauge(
            "leader",
            "Whether this replica controls.",
            &ConstGauge::new(i64::from(leading)),
        )?;
        gauge("queue_depth", "Apps that are due and wait.", &number(due))?;
        gauge(
            "events_queue_depth",
            "Events that wait to be written.",
            &number(self.notices.waiting()),
        )?;
        gauge(
            "apps",
            "AppManifests, by their condition Ready and its reason.",
            &apps,
        )?;
        gauge("pods", "Pods behind the apps' entrances, by state.", &pods)?;
        let dropped = ConstCounter::new(self.notices.dropped());
        let place = encoder.encode_descriptor(
            "events_dropped",
            "Events that were not written because too many waited.",
            None,
            MetricType::Counter,
        )?;
        dropped.encode(place)
    }
}

impl Watched {
    fn apps(&self) -> (Family<Readiness, Gauge>, Family<State, Gauge>) {
        let mut by_readiness: BTreeMap<Readiness, i64> = BTreeMap::new();
        let mut sum = PodCounts::default();
        for app in self.cluster.apps.all() {
            let ready = app
                .status
                .conditions
                .iter()
                .find(|one| one.type_ == "Ready");
            let readiness = match ready {
                Some(condition) => Readiness {
                    ready: condition.status.clone(),
                    // A reason of another version of the operator is none of ours.
                    reason: Reason::named(&condition.reason).map_or("", Reason::label),
                },
                None => Readiness {
                    ready: "Unknown".to_owned(),
                    reason: "",
                },
            };
            *by_readiness.entry(readiness).or_default() += 1;
            let pods = &app.status.pods;
            sum.wanted += pods.wanted;
            sum.current += pods.current;
            sum.stale += pods.stale;
            sum.bare += pods.bare;
            sum.ready += pods.ready;
            sum.outdated += pods.outdated;
        }
        let apps = Family::<_, Gauge>::default();
        for (labels, count) in by_readiness {
            apps.get_or_create(&labels).set(count);
        }
        let pods = Family::<_, Gauge>::default();
        for (state, count) in [
            ("wanted", sum.wanted),
            ("current", sum.current),
            ("stale", sum.stale),
            ("bare", sum.bare),
            ("ready", sum.ready),
            ("outdated", sum.outdated),
        ] {
            pods.get_or_create(&State { state }).set(count.into());
        }
        (apps, pods)
    }
}

fn number(count: usize) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX))
}

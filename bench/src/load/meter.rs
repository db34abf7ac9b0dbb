//! What a stretch of load took: processor time of both sides, and latencies.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::Metrics;
use crate::process::Server;

/// Reads the clocks of both sides, twice.
#[derive(Debug)]
pub(super) struct Meter {
    server: Duration,
    load: Duration,
    start: Instant,
}

impl Meter {
    pub(super) fn start(server: &Server) -> anyhow::Result<Self> {
        Ok(Self {
            server: server.usage().cpu,
            load: own_cpu()?,
            start: Instant::now(),
        })
    }

    pub(super) fn stop(&self, server: &Server) -> anyhow::Result<Spent> {
        Ok(Spent {
            cpu: server.usage().cpu.saturating_sub(self.server),
            load: own_cpu()?.saturating_sub(self.load),
            time: self.start.elapsed(),
        })
    }
}

/// What a stretch of load took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    pub cpu: Duration,
    pub load: Duration,
    pub time: Duration,
}

impl Spent {
    /// The usual figures of `count` operations.
    pub(super) fn metrics(&self, count: u64) -> Metrics {
        let each = |time: Duration| time.as_secs_f64() * 1e6 / count.max(1) as f64;
        Metrics::from([
            ("cpu", each(self.cpu)),
            ("load_cpu", each(self.load)),
            ("per_second", count as f64 / self.time.as_secs_f64()),
            ("busy", self.cpu.as_secs_f64() / self.time.as_secs_f64()),
        ])
    }
}

fn own_cpu() -> anyhow::Result<Duration> {
    Ok(nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID.now()?.into())
}

/// Latencies, in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u32>);

impl Default for Latencies {
    fn default() -> Self {
        const LONGEST: u64 = 100_000_000_000;
        Self(
            Histogram::new_with_bounds(1_000, LONGEST, 3)
                .unwrap_or_else(|_| unreachable!("the bounds are constant")),
        )
    }
}

impl Latencies {
    pub(crate) fn record(&mut self, since: Instant, now: Instant) {
        self.record_span(now.saturating_duration_since(since));
    }

    pub(crate) fn record_span(&mut self, span: Duration) {
        self.0
            .saturating_record(span.as_nanos().try_into().unwrap_or(u64::MAX));
    }

    /// In microseconds.
    pub(crate) fn at(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e3
    }

    pub(crate) fn put(&self, metrics: &mut Metrics) {
        for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999)] {
            metrics.insert(name, self.at(quantile));
        }
    }
}

//! Which figures of a load are shown; the first is the one ratios are of.

use super::Load;

#[derive(Debug)]
pub(crate) struct Column {
    pub head: &'static str,
    pub metric: &'static str,
    /// From the unit measured to the unit shown.
    pub scale: f64,
}

const fn column(head: &'static str, metric: &'static str) -> Column {
    Column {
        head,
        metric,
        scale: 1.0,
    }
}

const fn millis(head: &'static str, metric: &'static str) -> Column {
    Column {
        head,
        metric,
        scale: 1e-3,
    }
}

const IDLE: &[Column] = &[
    column("B/connection", "bytes"),
    column("of it private", "private"),
    column("B after 60 KB each", "bytes_after_large"),
    column("CPU µs to open", "cpu"),
];
const MESSAGES: &[Column] = &[
    column("CPU µs", "cpu"),
    column("per second", "per_second"),
    millis("p50", "p50"),
    millis("p99", "p99"),
    millis("p99.9", "p999"),
    column("the load's CPU µs", "load_cpu"),
];

impl Load {
    pub(crate) fn columns(self) -> &'static [Column] {
        match self {
            Self::Idle(_) => IDLE,
            Self::RoundTrip(_) | Self::FanOut(_) | Self::Churn => MESSAGES,
        }
    }

    pub(crate) fn about(self) -> String {
        match self {
            Self::Idle(count) => format!("Growth of resident memory per connection at {count} open ones."),
            Self::RoundTrip(count) => format!(
                "A client's message, the callback, the app's admin call with `conn_id`, the reply: {count} connection{} at it at once.",
                if count == 1 { "" } else { "s" }
            ),
            Self::FanOut(count) => format!("One admin call, 256 B to {count} clients; CPU per recipient, latency from the call to each."),
            Self::Churn => "Open and close with both callbacks, 64 at a time; latency until the upgrade is through.".to_owned(),
        }
    }
}

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
const STALLED: &[Column] = &[
    millis("p99", "p99"),
    millis("p99 when all read", "p99_alone"),
    column("times", "p99_times"),
    column("B of memory per stalled client", "memory"),
    column("of them closed", "closed"),
    column("readers closed", "readers_closed"),
    column("messages lost", "lost"),
];
const SLOW: &[Column] = &[
    millis("p99", "p99"),
    millis("p99 without", "p99_alone"),
    column("times", "p99_times"),
    millis("p50", "p50"),
    millis("p50 without", "p50_alone"),
    column("CPU µs", "cpu"),
    column("failed", "failed"),
];
const STORM: &[Column] = &[
    column("CPU µs", "cpu"),
    column("seconds until all are in", "seconds"),
    millis("p50", "p50"),
    millis("p99", "p99"),
    column("refused", "failed"),
];
const HEARTBEAT: &[Column] = &[
    column("% of a core", "percent"),
    column("CPU µs per ping", "cpu"),
    column("B/connection", "bytes"),
    column("CPU µs to open", "cpu_open"),
];
const SESSIONS: &[Column] = &[
    column("B/session", "bytes"),
    column("CPU µs to open", "cpu_open"),
    column("% of a core for the sweep", "percent"),
    column("sweep, ns per session", "sweep"),
    column("fan-out, CPU µs each", "cpu"),
    column("send to a user, µs", "one"),
    column("CPU µs to close", "cpu_close"),
];
const CODEC: &[Column] = &[
    column("B/connection", "bytes"),
    column("B after 60 KB each", "bytes_after_large"),
    column("a message of 128 B in, ns", "receive"),
    column("256 B to one of all, ns", "send"),
];
const PROXY: &[Column] = &[
    column("CPU µs", "cpu"),
    column("added p50, µs", "added_p50"),
    column("added p99, µs", "added_p99"),
    column("p99, µs", "p99"),
    column("CPU µs at saturation", "full_cpu"),
    column("per second at saturation", "full_per_second"),
    column("failed", "failed"),
];

impl Load {
    pub(crate) fn columns(self) -> &'static [Column] {
        match self {
            Self::Idle(_) => IDLE,
            Self::RoundTrip(_) | Self::FanOut(_) | Self::Churn => MESSAGES,
            Self::Stalled(_) => STALLED,
            Self::SlowHandler => SLOW,
            Self::Storm(_) => STORM,
            Self::Heartbeat(_) => HEARTBEAT,
            Self::Sessions(_) => SESSIONS,
            Self::Proxy => PROXY,
            Self::Codec => CODEC,
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
            Self::Stalled(count) => format!("8 kB to everyone, 20 times a second; latency at 100 clients that read, while {count} others read and while they do not."),
            Self::SlowHandler => "Round trips of 100 clients, 500 a second; latency without and with a client whose messages the app takes 2 s for.".to_owned(),
            Self::Storm(count) => format!("{count} clients at the same moment; CPU per client, latency from that moment until a client's upgrade is through, time until the app has heard of all."),
            Self::Heartbeat(count) => format!("{count} open connections, a ping of each every 30 s, watched for longer than the heartbeat's timeout."),
            Self::Sessions(count) => format!("{count} sessions of the gateway in one process, over streams in memory: what grows when the kernel has no part in it."),
            Self::Codec => "What frames alone cost: the gateway's codec and tungstenite's for 10,000 connections in memory, without sockets, tasks or an app.".to_owned(),
            Self::Proxy => "GET of 1 kB on kept connections, 2,000 a second, through the server to the app. Shown is what it adds to the latency of going to the app directly; then 32 at once.".to_owned(),
        }
    }
}

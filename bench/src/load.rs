//! The loads: what is done to a server, and what is measured of it.

mod churn;
mod columns;
mod fanout;
mod idle;
mod rtt;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::bail;
use hdrhistogram::Histogram;

use crate::engine::{Action, Callback, ClientId, Engine, Exchange, Io, Manner, Script};
use crate::peer::Peer;
use crate::process::Server;

/// What was measured, by name; times in microseconds, memory in bytes.
pub(crate) type Metrics = BTreeMap<&'static str, f64>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// Memory per open connection, at so many; then again after a large message each.
    Idle(usize),
    /// Client -> callback -> admin send -> client, by so many at once.
    RoundTrip(usize),
    /// One admin call to so many.
    FanOut(usize),
    /// Open and close, both told to the app.
    Churn,
}

/// How long and how large.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub quick: bool,
    /// Between a large message of each connection and the second look at memory.
    pub rest: Duration,
}

/// A running server and the load's side of it.
#[derive(Debug)]
pub(crate) struct World {
    pub engine: Engine,
    pub server: Server,
    pub peer: Peer,
    pub pace: Pace,
}

impl Load {
    pub(crate) fn all(quick: bool) -> Vec<Self> {
        let mut loads = vec![Self::Idle(10_000)];
        if quick {
            loads.extend([Self::RoundTrip(100), Self::FanOut(1_000)]);
        } else {
            loads.extend([1, 100, 1_000].map(Self::RoundTrip));
            loads.extend([1_000, 5_000, 19_000].map(Self::FanOut));
        }
        loads.push(Self::Churn);
        loads
    }

    /// The family, as `--only` takes it.
    pub(crate) fn family(self) -> &'static str {
        match self {
            Self::Idle(_) => "idle",
            Self::RoundTrip(_) => "rtt",
            Self::FanOut(_) => "fanout",
            Self::Churn => "churn",
        }
    }

    pub(crate) fn name(self) -> String {
        match self {
            Self::Idle(count) | Self::RoundTrip(count) | Self::FanOut(count) => {
                format!("{} {count}", self.family())
            }
            Self::Churn => self.family().to_owned(),
        }
    }

    /// What a peer cannot do at all is not asked of it.
    pub(crate) fn suits(self, peer: Peer) -> bool {
        match self {
            Self::RoundTrip(_) | Self::Churn => peer.takes_callbacks(),
            Self::Idle(_) | Self::FanOut(_) => true,
        }
    }

    pub(crate) fn measure(self, world: &mut World) -> anyhow::Result<Metrics> {
        match self {
            Self::Idle(count) => idle::measure(world, count),
            Self::RoundTrip(count) => rtt::measure(world, count),
            Self::FanOut(count) => fanout::measure(world, count),
            Self::Churn => churn::measure(world),
        }
    }
}

impl World {
    /// Lets so many clients in and waits until the app has heard of them.
    pub(crate) fn open(&mut self, count: usize, manner: Manner) -> anyhow::Result<Vec<ClientId>> {
        let told = self.peer.takes_callbacks();
        let mut opening = Opening {
            left: count,
            under_way: 0,
            opened: Vec::with_capacity(count),
            told: 0,
            refused: 0,
            manner,
        };
        let deadline = Instant::now() + Duration::from_mins(2);
        let done = |opening: &Opening| {
            opening.opened.len() + opening.refused >= count
                && (!told || opening.told + opening.refused >= count)
        };
        let all = self.engine.run(&mut opening, deadline, done)?;
        if !all || opening.refused > 0 {
            let Opening {
                opened,
                told,
                refused,
                ..
            } = opening;
            bail!(
                "of {count} clients {} got in, {refused} were refused, the app was told of {told}",
                opened.len()
            );
        }
        Ok(opening.opened)
    }

    /// Runs a script for a while and says what the server used meanwhile.
    pub(crate) fn spend<S: Script>(
        &mut self,
        script: &mut S,
        time: Duration,
    ) -> anyhow::Result<Spent> {
        let meter = Meter::start(&self.server)?;
        self.engine.run_for(script, time)?;
        meter.stop(&self.server)
    }
}

/// Reads the clocks of both sides, twice.
#[derive(Debug)]
struct Meter {
    server: Duration,
    load: Duration,
    start: Instant,
}

impl Meter {
    fn start(server: &Server) -> anyhow::Result<Self> {
        Ok(Self {
            server: server.usage().cpu,
            load: own_cpu()?,
            start: Instant::now(),
        })
    }

    fn stop(&self, server: &Server) -> anyhow::Result<Spent> {
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
    fn metrics(&self, count: u64) -> Metrics {
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
#[derive(Debug)]
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
        let nanos = now.saturating_duration_since(since).as_nanos();
        self.0
            .saturating_record(nanos.try_into().unwrap_or(u64::MAX));
    }

    pub(crate) fn into_metrics(self, metrics: &mut Metrics) {
        for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999)] {
            metrics.insert(name, self.0.value_at_quantile(quantile) as f64 / 1e3);
        }
    }
}

/// Lets clients in, some at a time.
#[derive(Debug)]
struct Opening {
    left: usize,
    under_way: usize,
    opened: Vec<ClientId>,
    told: usize,
    refused: usize,
    manner: Manner,
}

impl Script for Opening {
    fn tick(&mut self, io: &mut Io, _: Instant) -> Option<Instant> {
        const AT_ONCE: usize = 64;
        while self.left > 0 && self.under_way < AT_ONCE {
            self.left -= 1;
            self.under_way += 1;
            if io.connect(self.manner).is_err() {
                self.refused += 1;
                self.under_way -= 1;
            }
        }
        None
    }

    fn opened(&mut self, _: &mut Io, client: ClientId) {
        self.under_way -= 1;
        self.opened.push(client);
    }

    fn gone(&mut self, _: &mut Io, _: ClientId, _: Option<u16>) {
        self.under_way = self.under_way.saturating_sub(1);
        self.refused += 1;
    }

    fn callback(&mut self, io: &mut Io, exchange: Exchange, callback: &Callback<'_>) {
        self.told += usize::from(callback.action == Action::Open);
        io.answer(exchange, callback.plain_answer());
    }
}

/// An object of so many bytes, which the loads' app can find the end of.
fn payload(event: &str, size: usize) -> String {
    let frame = format!(r#"{{"event":"{event}","text":""}}"#);
    let text = "x".repeat(size.saturating_sub(frame.len()));
    format!(r#"{{"event":"{event}","text":"{text}"}}"#)
}

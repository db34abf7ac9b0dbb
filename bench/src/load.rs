//! The loads: what is done to a server, and what is measured of it.

mod churn;
mod columns;
mod fanout;
mod heartbeat;
mod idle;
mod meter;
mod proxy;
mod rtt;
mod slow;
mod stalled;
mod storm;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::engine::{Action, Callback, ClientId, Engine, Exchange, Io, Manner, Script};
use crate::peer::{Peer, Role};
use crate::process::Server;

use meter::{Latencies, Meter, Spent};

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
    /// Messages to some while so many others do not read.
    Stalled(usize),
    /// Round trips while the app takes 2 s for each message of one client.
    SlowHandler,
    /// So many clients at the same moment.
    Storm(usize),
    /// So many open connections, each with its ping every 30 s.
    Heartbeat(usize),
    /// So many sessions without sockets, in one process.
    Sessions(usize),
    /// Frames in memory: no sockets, no tasks, no app.
    Codec,
    /// GET on kept connections, to an app behind the server.
    Proxy,
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
        loads.extend([Self::Churn, Self::Stalled(1_000), Self::SlowHandler]);
        if !quick {
            loads.push(Self::Storm(5_000));
            loads.extend([100, 1_000, 10_000, 19_000].map(Self::Heartbeat));
            loads.extend([10_000, 100_000, 1_000_000].map(Self::Sessions));
        }
        loads.extend([Self::Proxy, Self::Codec]);
        loads
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::all(false)
            .into_iter()
            .find(|load| load.name() == name)
    }

    /// The family, as `--only` takes it.
    pub(crate) fn family(self) -> &'static str {
        match self {
            Self::Idle(_) => "idle",
            Self::RoundTrip(_) => "rtt",
            Self::FanOut(_) => "fanout",
            Self::Churn => "churn",
            Self::Stalled(_) => "stalled",
            Self::SlowHandler => "slow-handler",
            Self::Storm(_) => "storm",
            Self::Heartbeat(_) => "heartbeat",
            Self::Sessions(_) => "sessions",
            Self::Proxy => "proxy",
            Self::Codec => "codec",
        }
    }

    pub(crate) fn name(self) -> String {
        match self {
            Self::Idle(count)
            | Self::RoundTrip(count)
            | Self::FanOut(count)
            | Self::Stalled(count)
            | Self::Storm(count)
            | Self::Heartbeat(count)
            | Self::Sessions(count) => format!("{} {count}", self.family()),
            Self::Churn | Self::SlowHandler | Self::Proxy | Self::Codec => self.family().to_owned(),
        }
    }

    /// What a peer cannot do at all is not asked of it.
    pub(crate) fn suits(self, peer: Peer) -> bool {
        match self {
            Self::Proxy => peer.proxies(),
            // In the benchmark's own process, so of this build alone.
            Self::Sessions(_) => peer == Peer::Gateway,
            Self::Codec => matches!(peer, Peer::Gateway | Peer::Tungstenite),
            Self::RoundTrip(_) | Self::SlowHandler => peer.takes_callbacks(),
            Self::Churn | Self::Storm(_) | Self::Stalled(_) => {
                peer.is_gateway() || matches!(peer, Peer::NodeWs | Peer::Midway)
            }
            // What it grows by is of interest for the gateway; the peers are there at one size.
            Self::Heartbeat(count) => peer.is_gateway() || peer == Peer::NodeWs && count == 19_000,
            Self::Idle(_) | Self::FanOut(_) => peer.holds_sockets() && peer != Peer::Pushpin,
        }
    }

    pub(crate) fn role(self) -> Role {
        if self == Self::Proxy {
            Role::Proxy
        } else {
            Role::Sockets
        }
    }

    pub(crate) fn measure(self, world: &mut World) -> anyhow::Result<Metrics> {
        match self {
            Self::Idle(count) => idle::measure(world, count),
            Self::RoundTrip(count) => rtt::measure(world, count),
            Self::FanOut(count) => fanout::measure(world, count),
            Self::Churn => churn::measure(world),
            Self::Stalled(count) => stalled::measure(world, count),
            Self::SlowHandler => slow::measure(world),
            Self::Storm(count) => storm::measure(world, count),
            Self::Heartbeat(count) => heartbeat::measure(world, count),
            Self::Proxy => proxy::measure(world),
            Self::Sessions(_) | Self::Codec => bail!("there are no sockets to measure"),
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

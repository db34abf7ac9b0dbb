//! GET on kept connections: straight to the app, then through the server in front of it.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use super::{Latencies, Meter, Metrics, Spent, World};
use crate::engine::{Io, Script};
use crate::target::Target;

const CONNECTIONS: usize = 32;
/// What any of them can take with a core to share; at saturation there is only queueing to see.
const PER_SECOND: u32 = 2_000;

pub(super) fn measure(world: &mut World) -> anyhow::Result<Metrics> {
    let (warm, time) = if world.pace.quick { (1, 3) } else { (1, 8) };
    let (warm, time) = (Duration::from_secs(warm), Duration::from_secs(time));
    let proxy = world.engine.io.target.admin;
    let app = SocketAddrV4::new(Ipv4Addr::LOCALHOST, world.engine.io.app_port()?);
    let (_, direct) = paced(world, app, warm, time)?;
    let (spent, through) = paced(world, proxy, warm, time)?;
    let mut metrics = spent.metrics(through.answers);
    through.latencies.put(&mut metrics);
    metrics.insert("failed", through.failed as f64);
    for (name, quantile) in [("added_p50", 0.5), ("added_p99", 0.99)] {
        metrics.insert(
            name,
            through.latencies.at(quantile) - direct.latencies.at(quantile),
        );
    }
    let mut flood = Requests::flood(Target::get());
    world.engine.run_for(&mut flood, warm)?;
    flood.answers = 0;
    let meter = Meter::start(&world.server)?;
    world.engine.run_for(&mut flood, time / 2)?;
    let full = meter.stop(&world.server)?.metrics(flood.answers);
    metrics.insert("full_cpu", full["cpu"]);
    metrics.insert("full_per_second", full["per_second"]);
    Ok(metrics)
}

fn paced(
    world: &mut World,
    to: SocketAddrV4,
    warm: Duration,
    time: Duration,
) -> anyhow::Result<(Spent, Requests)> {
    world.engine.io.forget_calls();
    world.engine.io.target.admin = to;
    let mut requests = Requests::paced(Target::get());
    world.engine.run_for(&mut requests, warm)?;
    requests.latencies = Latencies::default();
    requests.answers = 0;
    let spent = world.spend(&mut requests, time)?;
    Ok((spent, requests))
}

#[derive(Debug)]
struct Requests {
    request: Vec<u8>,
    /// When the next is due. `None`: when the last is answered.
    due: Option<Instant>,
    under_way: usize,
    answers: u64,
    failed: u64,
    latencies: Latencies,
}

impl Requests {
    fn paced(request: Vec<u8>) -> Self {
        Self {
            request,
            due: Some(Instant::now()),
            under_way: 0,
            answers: 0,
            failed: 0,
            latencies: Latencies::default(),
        }
    }

    fn flood(request: Vec<u8>) -> Self {
        Self {
            due: None,
            ..Self::paced(request)
        }
    }

    fn send(&mut self, io: &mut Io) {
        match io.call(self.request.clone()) {
            Ok(()) => self.under_way += 1,
            Err(_) => self.failed += 1,
        }
    }
}

impl Script for Requests {
    fn tick(&mut self, io: &mut Io, now: Instant) -> Option<Instant> {
        let Some(mut due) = self.due else {
            while self.under_way < CONNECTIONS {
                self.send(io);
            }
            return None;
        };
        while due <= now {
            self.send(io);
            due += Duration::from_secs(1) / PER_SECOND;
        }
        self.due = Some(due);
        self.due
    }

    fn called(&mut self, _: &mut Io, status: u16, took: Duration) {
        self.under_way = self.under_way.saturating_sub(1);
        self.answers += u64::from(status == 200);
        self.failed += u64::from(status != 200);
        self.latencies.record_span(took);
    }
}

//! A connection storm: everyone at the same moment, as after a restart.

use std::time::{Duration, Instant};

use super::{Latencies, Meter, Metrics, World};
use crate::engine::{Action, Callback, ClientId, Exchange, Io, Manner, Script};

pub(super) fn measure(world: &mut World, count: usize) -> anyhow::Result<Metrics> {
    let mut storm = Storm {
        left: count,
        started: Instant::now(),
        opened: 0,
        told: 0,
        failed: 0,
        latencies: Latencies::default(),
    };
    let meter = Meter::start(&world.server)?;
    let deadline = Instant::now() + Duration::from_mins(1);
    world.engine.run(&mut storm, deadline, |storm| {
        storm.opened + storm.failed >= count && storm.told + storm.failed >= count
    })?;
    let spent = meter.stop(&world.server)?;
    let mut metrics = spent.metrics(storm.opened as u64);
    metrics.insert("seconds", spent.time.as_secs_f64());
    metrics.insert("failed", (count - storm.opened) as f64);
    storm.latencies.put(&mut metrics);
    Ok(metrics)
}

#[derive(Debug)]
struct Storm {
    left: usize,
    started: Instant,
    opened: usize,
    told: usize,
    failed: usize,
    latencies: Latencies,
}

impl Script for Storm {
    fn tick(&mut self, io: &mut Io, _: Instant) -> Option<Instant> {
        for _ in 0..std::mem::take(&mut self.left) {
            self.failed += usize::from(io.connect(Manner::default()).is_err());
        }
        None
    }

    fn opened(&mut self, _: &mut Io, _: ClientId) {
        self.opened += 1;
        self.latencies.record(self.started, Instant::now());
    }

    fn gone(&mut self, _: &mut Io, _: ClientId, _: Option<u16>) {
        self.failed += 1;
    }

    fn callback(&mut self, io: &mut Io, exchange: Exchange, callback: &Callback<'_>) {
        self.told += usize::from(callback.action == Action::Open);
        io.answer(exchange, callback.plain_answer());
    }
}

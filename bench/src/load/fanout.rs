//! One admin call, 256 bytes to every client; the next call once all have it.

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::{Latencies, Meter, Metrics, World, payload};
use crate::engine::{ClientId, Io, Manner, Script};

const SIZE: usize = 256;

pub(super) fn measure(world: &mut World, count: usize) -> anyhow::Result<Metrics> {
    world.open(count, Manner::default())?;
    let payload = payload("news", SIZE);
    let mut rounds = Rounds {
        received: 0,
        called: Instant::now(),
        latencies: Latencies::default(),
    };
    let deliveries = if world.pace.quick { 100_000 } else { 300_000 };
    round(world, &mut rounds, &payload, count)?;
    round(world, &mut rounds, &payload, count)?;
    rounds.latencies = Latencies::default();
    let meter = Meter::start(&world.server)?;
    let number = (deliveries / count).max(5);
    for _ in 0..number {
        round(world, &mut rounds, &payload, count)?;
    }
    let spent = meter.stop(&world.server)?;
    let mut metrics = spent.metrics((number * count) as u64);
    rounds.latencies.put(&mut metrics);
    Ok(metrics)
}

fn round(
    world: &mut World,
    rounds: &mut Rounds,
    payload: &str,
    count: usize,
) -> anyhow::Result<()> {
    rounds.received = 0;
    rounds.called = Instant::now();
    let request = world
        .engine
        .io
        .target
        .dialect
        .send_to_all(payload.as_bytes());
    world.engine.io.call(request)?;
    let deadline = rounds.called + Duration::from_secs(30);
    let all = world
        .engine
        .run(rounds, deadline, |rounds| rounds.received >= count)?;
    ensure!(
        all,
        "{} of {count} clients got the message within 30 s",
        rounds.received
    );
    Ok(())
}

#[derive(Debug)]
struct Rounds {
    received: usize,
    called: Instant,
    latencies: Latencies,
}

impl Script for Rounds {
    fn message(&mut self, _: &mut Io, _: ClientId, payload: &[u8]) {
        if payload.len() == SIZE {
            self.received += 1;
            self.latencies.record(self.called, Instant::now());
        }
    }
}

//! Open connections that only keep themselves alive: what each takes as their number grows.

use std::time::Duration;

use anyhow::ensure;

use super::idle::{self, Pings};
use super::{Metrics, World};
use crate::engine::Manner;

pub(super) fn measure(world: &mut World, count: usize) -> anyhow::Result<Metrics> {
    idle::warm_up(world)?;
    let before = world.server.usage();
    let clients = world.open(count, Manner::default())?;
    let opened = world.server.usage();
    let mut pings = Pings::new(&clients);
    world.engine.run_for(&mut pings, Duration::from_secs(2))?;
    pings.pongs = 0;
    // Longer than the heartbeat's timeout, so that who is not pinged would be closed.
    let time = Duration::from_secs(if world.pace.quick { 10 } else { 50 });
    let spent = world.spend(&mut pings, time)?;
    ensure!(pings.gone == 0, "{} clients were closed", pings.gone);
    let each = |total: f64| total / count as f64;
    Ok(Metrics::from([
        (
            "percent",
            100.0 * spent.cpu.as_secs_f64() / spent.time.as_secs_f64(),
        ),
        (
            "cpu",
            spent.cpu.as_secs_f64() * 1e6 / pings.pongs.max(1) as f64,
        ),
        (
            "bytes",
            each(
                world
                    .server
                    .usage()
                    .resident
                    .saturating_sub(before.resident) as f64,
            ),
        ),
        (
            "cpu_open",
            each(opened.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6),
        ),
        ("pongs", pings.pongs as f64),
    ]))
}

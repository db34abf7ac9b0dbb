//! Clients come and go: upgrade, open callback, closing handshake, close callback.

use std::time::{Duration, Instant};

use super::{Latencies, Metrics, World};
use crate::engine::{Action, Callback, ClientId, Exchange, Io, Manner, Script};

const AT_ONCE: usize = 64;

pub(super) fn measure(world: &mut World) -> anyhow::Result<Metrics> {
    let (warm, time) = if world.pace.quick { (1, 3) } else { (2, 6) };
    let mut coming = Coming::default();
    world
        .engine
        .run_for(&mut coming, Duration::from_secs(warm))?;
    coming.told = 0;
    coming.latencies = Latencies::default();
    let spent = world.spend(&mut coming, Duration::from_secs(time))?;
    let mut metrics = spent.metrics(coming.told);
    metrics.insert("failed", coming.failed as f64);
    coming.latencies.put(&mut metrics);
    Ok(metrics)
}

/// Keeps so many connections on their way; one counts, and makes room for the next, when the app
/// has heard of its close. A server that is faster with clients than with callbacks would
/// otherwise pile up what it has to tell.
#[derive(Debug, Default)]
struct Coming {
    under_way: usize,
    started: Vec<Option<Instant>>,
    told: u64,
    failed: u64,
    latencies: Latencies,
}

impl Script for Coming {
    fn tick(&mut self, io: &mut Io, now: Instant) -> Option<Instant> {
        while self.under_way < AT_ONCE {
            let Ok(client) = io.connect(Manner::default()) else {
                self.failed += 1;
                break;
            };
            self.under_way += 1;
            if self.started.len() <= client {
                self.started.resize(client + 1, None);
            }
            self.started[client] = Some(now);
        }
        None
    }

    fn opened(&mut self, io: &mut Io, client: ClientId) {
        if let Some(started) = self.started[client].take() {
            self.latencies.record(started, Instant::now());
        }
        io.close(client);
    }

    fn gone(&mut self, _: &mut Io, client: ClientId, _: Option<u16>) {
        if self.started[client].take().is_some() {
            // It was not let in, so the app does not hear of it.
            self.under_way -= 1;
            self.failed += 1;
        }
    }

    fn callback(&mut self, io: &mut Io, exchange: Exchange, callback: &Callback<'_>) {
        if callback.action == Action::Close {
            self.told += 1;
            self.under_way -= 1;
        }
        io.answer(exchange, callback.plain_answer());
    }
}

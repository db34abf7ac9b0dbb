//! What an open connection keeps in memory, when it is new and after a large message.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::{Metrics, World, payload};
use crate::engine::{Action, Callback, ClientId, Exchange, Io, Manner, Script};
use crate::target::{Answer, Dialect, text};

const LARGE: usize = 60_000;

pub(super) fn measure(world: &mut World, count: usize) -> anyhow::Result<Metrics> {
    warm_up(world)?;
    let (before, private) = (world.server.usage(), world.server.private());
    let clients = world.open(count, Manner::default())?;
    let opened = world.server.usage();
    let mut pings = Pings::new(&clients);
    world.engine.run_for(
        &mut pings,
        Duration::from_secs(if world.pace.quick { 2 } else { 5 }),
    )?;
    let after = world.server.usage();
    let each = |bytes: u64, before: u64| bytes.saturating_sub(before) as f64 / count as f64;
    let mut metrics = Metrics::from([
        ("bytes", each(after.resident, before.resident)),
        ("private", each(world.server.private(), private)),
        (
            "cpu",
            opened.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6 / count as f64,
        ),
    ]);
    if !world.peer.takes_callbacks() || world.pace.rest.is_zero() {
        return Ok(metrics);
    }
    let mut large = Large {
        waiting: clients.iter().copied().collect(),
        frame: text(&payload("blob", LARGE)),
        ..Large::default()
    };
    let deadline = Instant::now() + Duration::from_mins(2);
    let all = world
        .engine
        .run(&mut large, deadline, |large| large.done >= count)?;
    ensure!(all, "{} of {count} large messages came back", large.done);
    metrics.insert(
        "peak_large",
        each(world.server.usage().resident, before.resident),
    );
    world.engine.run_for(&mut pings, world.pace.rest)?;
    ensure!(
        pings.gone == 0,
        "{} clients were closed while idle",
        pings.gone
    );
    metrics.insert(
        "bytes_after_large",
        each(world.server.usage().resident, before.resident),
    );
    Ok(metrics)
}

/// What a server allocates once is not to be counted per connection.
pub(super) fn warm_up(world: &mut World) -> anyhow::Result<()> {
    for client in world.open(200, Manner::default())? {
        world.engine.io.close(client);
    }
    let mut pings = Pings::new(&[]);
    world.engine.run_for(&mut pings, Duration::from_secs(1))?;
    world.engine.io.hang_up();
    world.engine.run_for(&mut pings, Duration::from_millis(500))
}

/// The ping that is due of every client every 30 s, spread evenly.
#[derive(Debug)]
pub(super) struct Pings {
    due: VecDeque<(Instant, ClientId)>,
    frame: Vec<u8>,
    pub gone: usize,
    pub pongs: u64,
}

const EVERY: Duration = Duration::from_secs(30);

impl Pings {
    pub(super) fn new(clients: &[ClientId]) -> Self {
        let start = Instant::now();
        let share = EVERY / u32::try_from(clients.len().max(1)).unwrap_or(u32::MAX);
        let due = clients
            .iter()
            .zip(0..)
            .map(|(&client, nth)| (start + share * nth, client))
            .collect();
        Self {
            due,
            frame: text(r#"{"event":"ping","data":{}}"#),
            gone: 0,
            pongs: 0,
        }
    }
}

impl Script for Pings {
    fn tick(&mut self, io: &mut Io, now: Instant) -> Option<Instant> {
        while let Some(&(due, client)) = self.due.front().filter(|(due, _)| *due <= now) {
            self.due.pop_front();
            // One that is long overdue, because the load was busy, is not sent twice.
            self.due.push_back(((due + EVERY).max(now), client));
            io.send(client, &self.frame);
        }
        None
    }

    fn message(&mut self, _: &mut Io, _: ClientId, _: &[u8]) {
        self.pongs += 1;
    }

    fn gone(&mut self, _: &mut Io, _: ClientId, _: Option<u16>) {
        self.gone += 1;
    }
}

/// A large message of each client to the app, and back.
#[derive(Debug, Default)]
struct Large {
    waiting: VecDeque<ClientId>,
    frame: Vec<u8>,
    under_way: usize,
    done: usize,
}

impl Script for Large {
    fn tick(&mut self, io: &mut Io, _: Instant) -> Option<Instant> {
        const AT_ONCE: usize = 32;
        while self.under_way < AT_ONCE {
            let client = self.waiting.pop_front()?;
            self.under_way += 1;
            io.send(client, &self.frame);
        }
        None
    }

    fn callback(&mut self, io: &mut Io, exchange: Exchange, callback: &Callback<'_>) {
        if callback.action != Action::Message {
            io.answer(exchange, callback.plain_answer());
        } else if io.target.dialect.replies_inline() {
            io.answer(exchange, Answer::Reply(callback.data));
        } else {
            io.answer(exchange, Answer::Plain);
            // A call that cannot be made shows as a message that does not come back.
            let _ = io.call(Dialect::send_to(callback.connection, callback.data));
        }
    }

    fn message(&mut self, _: &mut Io, _: ClientId, payload: &[u8]) {
        if payload.len() == LARGE {
            self.done += 1;
            self.under_way -= 1;
        }
    }
}

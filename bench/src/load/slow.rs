//! Round trips at a fixed rate, without and with a client whose messages the app takes 2 s for.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Latencies, Metrics, World, payload};
use crate::engine::{Action, Callback, ClientId, Exchange, Io, Manner, Script};
use crate::target::{Answer, Dialect, text};

const CLIENTS: usize = 100;
const EVERY: Duration = Duration::from_millis(200);
const TAKES: Duration = Duration::from_secs(2);
const SIZE: usize = 128;

pub(super) fn measure(world: &mut World) -> anyhow::Result<Metrics> {
    let clients = world.open(CLIENTS, Manner::default())?;
    let slow = world.open(1, Manner::default())?[0];
    let mut paced = Paced::new(&clients, slow);
    let time = Duration::from_secs(if world.pace.quick { 4 } else { 10 });
    world.engine.run_for(&mut paced, Duration::from_secs(1))?;
    paced.latencies = Latencies::default();
    world.engine.run_for(&mut paced, time)?;
    let alone = std::mem::take(&mut paced.latencies);
    paced.make_slow(&mut world.engine.io);
    world
        .engine
        .run_for(&mut paced, Duration::from_millis(200))?;
    paced.latencies = Latencies::default();
    paced.replies = 0;
    let spent = world.spend(&mut paced, time)?;
    let mut metrics = spent.metrics(paced.replies);
    metrics.insert("failed", paced.failed as f64);
    metrics.insert("p50_alone", alone.at(0.5));
    metrics.insert("p99_alone", alone.at(0.99));
    paced.latencies.put(&mut metrics);
    metrics.insert("p99_times", metrics["p99"] / metrics["p99_alone"]);
    Ok(metrics)
}

/// Each client sends when it is its turn, whatever became of its last message.
#[derive(Debug)]
struct Paced {
    due: VecDeque<(Instant, ClientId)>,
    /// By client: the messages that are under way.
    sent: Vec<VecDeque<Instant>>,
    frame: Vec<u8>,
    slow: ClientId,
    slow_frame: Vec<u8>,
    /// What the app has not answered yet, and when it will.
    held: Option<(Instant, Exchange)>,
    replies: u64,
    failed: u64,
    latencies: Latencies,
}

impl Paced {
    fn new(clients: &[ClientId], slow: ClientId) -> Self {
        let start = Instant::now();
        let share = EVERY / u32::try_from(clients.len()).unwrap_or(u32::MAX);
        let due = clients.iter().zip(0..);
        Self {
            due: due.map(|(&id, nth)| (start + share * nth, id)).collect(),
            sent: vec![VecDeque::new(); clients.len() + 1],
            frame: text(&payload("chat", SIZE)),
            slow,
            slow_frame: text(&payload("slow", SIZE)),
            held: None,
            replies: 0,
            failed: 0,
            latencies: Latencies::default(),
        }
    }

    fn make_slow(&self, io: &mut Io) {
        io.send(self.slow, &self.slow_frame);
    }
}

impl Script for Paced {
    fn tick(&mut self, io: &mut Io, now: Instant) -> Option<Instant> {
        if let Some((_, exchange)) = self.held.take_if(|(until, _)| *until <= now) {
            io.answer(exchange, Answer::Plain);
            self.make_slow(io);
        }
        while let Some((due, client)) = self.due.front().copied().filter(|(due, _)| *due <= now) {
            self.due.pop_front();
            self.due.push_back((due + EVERY, client));
            self.sent[client].push_back(due);
            io.send(client, &self.frame);
        }
        self.due.front().map(|(due, _)| *due)
    }

    fn callback(&mut self, io: &mut Io, exchange: Exchange, callback: &Callback<'_>) {
        if callback.action != Action::Message {
            io.answer(exchange, callback.plain_answer());
        } else if callback.data.starts_with(br#"{"event":"slow""#) {
            self.held = Some((Instant::now() + TAKES, exchange));
        } else if io.target.dialect.replies_inline() {
            io.answer(exchange, Answer::Reply(callback.data));
        } else {
            io.answer(exchange, Answer::Plain);
            let call = io.call(Dialect::send_to(callback.connection, callback.data));
            self.failed += u64::from(call.is_err());
        }
    }

    fn message(&mut self, _: &mut Io, client: ClientId, _: &[u8]) {
        match self.sent[client].pop_front() {
            Some(sent) => {
                self.replies += 1;
                self.latencies.record(sent, Instant::now());
            }
            None => self.failed += 1,
        }
    }

    fn called(&mut self, _: &mut Io, status: u16, _: Duration) {
        self.failed += u64::from(status != 200);
    }

    fn gone(&mut self, _: &mut Io, _: ClientId, _: Option<u16>) {
        self.failed += 1;
    }
}

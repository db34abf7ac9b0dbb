//! A client's message goes to the app, whose reply comes back through the admin API.

use std::time::{Duration, Instant};

use super::{Latencies, Metrics, World, payload};
use crate::engine::{Action, Callback, ClientId, Exchange, Io, Manner, Script};
use crate::target::{Answer, Dialect, text};

const SIZE: usize = 128;

pub(super) fn measure(world: &mut World, count: usize) -> anyhow::Result<Metrics> {
    let clients = world.open(count, Manner::default())?;
    let mut echo = Echo::new(&payload("chat", SIZE), count);
    for &client in &clients {
        echo.send(&mut world.engine.io, client);
    }
    let (warm, time) = if world.pace.quick { (1, 3) } else { (2, 6) };
    world.engine.run_for(&mut echo, Duration::from_secs(warm))?;
    echo.start_over();
    let spent = world.spend(&mut echo, Duration::from_secs(time))?;
    let mut metrics = spent.metrics(echo.replies);
    metrics.insert("app_connections", world.engine.io.app_connections() as f64);
    metrics.insert("failed", echo.failed as f64);
    echo.latencies.put(&mut metrics);
    Ok(metrics)
}

/// Every client sends its next message once it has the reply to the last.
#[derive(Debug)]
struct Echo {
    payload: Vec<u8>,
    frame: Vec<u8>,
    sent: Vec<Instant>,
    replies: u64,
    failed: u64,
    latencies: Latencies,
}

impl Echo {
    fn new(payload: &str, count: usize) -> Self {
        Self {
            payload: payload.as_bytes().to_vec(),
            frame: text(payload),
            sent: vec![Instant::now(); count],
            replies: 0,
            failed: 0,
            latencies: Latencies::default(),
        }
    }

    fn start_over(&mut self) {
        self.replies = 0;
        self.latencies = Latencies::default();
    }

    fn send(&mut self, io: &mut Io, client: ClientId) {
        self.sent[client] = Instant::now();
        io.send(client, &self.frame);
    }
}

impl Script for Echo {
    fn callback(&mut self, io: &mut Io, exchange: Exchange, callback: &Callback<'_>) {
        if callback.action != Action::Message {
            io.answer(exchange, callback.plain_answer());
        } else if io.target.dialect.replies_inline() {
            io.answer(exchange, Answer::Reply(callback.data));
        } else {
            io.answer(exchange, Answer::Plain);
            if io
                .call(Dialect::send_to(callback.connection, callback.data))
                .is_err()
            {
                self.failed += 1;
            }
        }
    }

    fn message(&mut self, io: &mut Io, client: ClientId, payload: &[u8]) {
        if payload != self.payload {
            self.failed += 1;
            return;
        }
        self.replies += 1;
        self.latencies.record(self.sent[client], Instant::now());
        self.send(io, client);
    }

    fn called(&mut self, _: &mut Io, status: u16, _: Duration) {
        self.failed += u64::from(status != 200);
    }

    fn gone(&mut self, _: &mut Io, _: ClientId, _: Option<u16>) {
        self.failed += 1;
    }
}

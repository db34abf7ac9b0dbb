//! Messages to everyone at a fixed rate, while the many read and while they do not.

use std::time::{Duration, Instant};

use super::{Latencies, Metrics, World};
use crate::engine::{ClientId, Io, Manner, Script};

const READERS: usize = 100;
const EVERY: Duration = Duration::from_millis(50);
const SIZE: usize = 8_000;

pub(super) fn measure(world: &mut World, count: usize) -> anyhow::Result<Metrics> {
    // First, so that a client's number says that it reads.
    world.open(READERS, Manner::default())?;
    // A small buffer of their own, so that it is the server that has to deal with them.
    let manner = Manner {
        receive_buffer: Some(16 << 10),
    };
    let others = world.open(count, manner)?;
    let time = Duration::from_secs(if world.pace.quick { 4 } else { 10 });
    let mut news = News::new();
    world.engine.run_for(&mut news, Duration::from_secs(1))?;
    news.start_over();
    world.engine.run_for(&mut news, time)?;
    let alone = news.latencies.clone();
    let before = world.server.usage().resident;

    for &client in &others {
        world.engine.io.stop_reading(client)?;
    }
    news.start_over();
    let mut most = before;
    let start = Instant::now();
    while start.elapsed() < time {
        world
            .engine
            .run_for(&mut news, Duration::from_millis(100))?;
        most = most.max(world.server.usage().resident);
    }
    let latencies = news.latencies.clone();
    let (calls, received) = (news.calls.len() - news.first, news.received);
    for client in others {
        world.engine.io.read_again(client)?;
    }
    news.paused = true;
    world.engine.run_for(&mut news, Duration::from_secs(2))?;
    let mut metrics = Metrics::from([
        ("p50_alone", alone.at(0.5)),
        ("p99_alone", alone.at(0.99)),
        ("memory", most.saturating_sub(before) as f64 / count as f64),
        ("closed", news.gone as f64),
        ("readers_closed", news.readers_gone as f64),
        // The last call may still be on its way.
        (
            "lost",
            (calls.saturating_sub(1) * READERS).saturating_sub(received) as f64,
        ),
    ]);
    latencies.put(&mut metrics);
    metrics.insert("p99_times", metrics["p99"] / metrics["p99_alone"]);
    Ok(metrics)
}

/// One call after the other, each with its number in it.
#[derive(Debug)]
struct News {
    calls: Vec<Instant>,
    /// The first call that counts.
    first: usize,
    due: Instant,
    paused: bool,
    filler: String,
    received: usize,
    readers_gone: usize,
    gone: usize,
    latencies: Latencies,
}

impl News {
    fn new() -> Self {
        Self {
            calls: Vec::new(),
            first: 0,
            due: Instant::now(),
            paused: false,
            filler: "x".repeat(SIZE),
            received: 0,
            readers_gone: 0,
            gone: 0,
            latencies: Latencies::default(),
        }
    }

    fn start_over(&mut self) {
        self.first = self.calls.len();
        self.received = 0;
        self.latencies = Latencies::default();
    }
}

impl Script for News {
    fn tick(&mut self, io: &mut Io, now: Instant) -> Option<Instant> {
        if self.paused {
            return None;
        }
        while self.due <= now {
            let payload = format!(r#"[{},"{}"]"#, self.calls.len(), self.filler);
            self.calls.push(self.due);
            self.due += EVERY;
            let request = io.target.dialect.send_to_all(payload.as_bytes());
            // A call that cannot be made shows as messages that are lost.
            let _ = io.call(request);
        }
        Some(self.due)
    }

    fn message(&mut self, _: &mut Io, client: ClientId, payload: &[u8]) {
        if client >= READERS {
            return;
        }
        let call = number(payload).filter(|call| *call >= self.first);
        if let Some(&called) = call.and_then(|call| self.calls.get(call)) {
            self.received += 1;
            self.latencies.record(called, Instant::now());
        }
    }

    fn gone(&mut self, _: &mut Io, client: ClientId, _: Option<u16>) {
        if client < READERS {
            self.readers_gone += 1;
        } else {
            self.gone += 1;
        }
    }
}

/// The number of `[17,"…"]`.
fn number(payload: &[u8]) -> Option<usize> {
    let digits = payload.strip_prefix(b"[")?;
    let end = memchr::memchr(b',', digits)?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_messages_number_is_its_first_element() {
        assert_eq!(number(br#"[17,"xxx"]"#), Some(17));
        assert_eq!(number(br#"{"code":0}"#), None);
    }
}

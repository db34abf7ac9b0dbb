//! Ends connections whose client has gone silent, and sends the server's own pings.
//!
//! One task walks the registry in pieces: cheaper than a timer per connection, and exact to a
//! fraction of the shortest deadline.

use std::sync::Arc;
use std::time::Duration;

use crate::callback::Transport;
use crate::connection::Connection;
use crate::gateway::Gateway;
use crate::ws::{self, CloseReason};

const PIECE: usize = 1024;

pub async fn run<T: Transport>(gateway: Arc<Gateway<T>>) {
    let settings = &gateway.settings.heartbeat;
    let timeout = (!settings.timeout.is_zero()).then_some(settings.timeout);
    let pings = (settings.server_ping && !settings.interval.is_zero()).then_some(settings.interval);
    let Some(shortest) = timeout.into_iter().chain(pings).min() else {
        return;
    };
    let tick = (shortest / 8).clamp(Duration::from_millis(10), Duration::from_secs(1));
    let mut ticks = tokio::time::interval(tick);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut next_ping = pings.map(|interval| gateway.now_ms() + millis(interval));
    loop {
        ticks.tick().await;
        let now = gateway.now_ms();
        let ping = pings
            .zip(next_ping)
            .filter(|(_, due)| now >= *due)
            .map(|(interval, _)| interval);
        if let Some(interval) = ping {
            next_ping = Some(now + millis(interval));
        }
        sweep(&gateway, now, timeout, ping.is_some()).await;
    }
}

async fn sweep<T: Transport>(
    gateway: &Gateway<T>,
    now: u64,
    timeout: Option<Duration>,
    ping: bool,
) {
    let frame = ws::ping(b"");
    let mut after = None;
    loop {
        let mut silent: Vec<Arc<Connection>> = Vec::new();
        let mut pinged: Vec<Arc<Connection>> = Vec::new();
        after = gateway.registry.walk(after, PIECE, |connection| {
            if timeout.is_some_and(|timeout| connection.silent_ms(now) > millis(timeout)) {
                silent.push(Arc::clone(connection));
            } else if ping {
                pinged.push(Arc::clone(connection));
            }
        });
        for connection in silent {
            connection.close(CloseReason::PingTimeout);
        }
        for connection in pinged {
            // One whose app is slow is not read from, so its pong cannot have been seen.
            if connection.ping_sent() && !connection.is_held() {
                connection.close(CloseReason::PingTimeout);
            } else {
                connection.push(
                    frame.clone(),
                    1,
                    gateway.settings.limits.outbox.0,
                    &gateway.budget,
                );
            }
        }
        if after.is_none() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

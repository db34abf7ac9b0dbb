//! Ends connections whose client has gone silent or takes nothing, and sends the server's own
//! pings.
//!
//! One task walks the registry in pieces: cheaper than a timer per connection, and exact to a
//! fraction of the shortest deadline.

use std::sync::Arc;
use std::time::Duration;

use crate::callback::Transport;
use crate::connection::{Connection, Patience};
use crate::gateway::Gateway;
use crate::protocol::CloseReason;

const PIECE: usize = 1024;

/// For how long a client may take nothing that waits for it, where it may be silent for ever.
const STALL: Duration = Duration::from_secs(75);

pub async fn run<T: Transport>(gateway: Arc<Gateway<T>>) {
    let settings = &gateway.settings.heartbeat;
    let (silence, pings) = (settings.silence(), settings.pings());
    let patience = Patience {
        silence,
        stall: silence.unwrap_or(STALL),
        answer: pings,
        slow: gateway.settings.limits.slow,
    };
    let shortest = pings.into_iter().fold(patience.stall, Duration::min);
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
        sweep(&gateway, now, &patience, ping.is_some()).await;
    }
}

async fn sweep<T: Transport>(gateway: &Gateway<T>, now: u64, patience: &Patience, ping: bool) {
    let mut after = None;
    loop {
        let mut overdue: Vec<(Arc<Connection>, CloseReason)> = Vec::new();
        after = gateway.registry.walk(after, PIECE, |connection| {
            match connection.overdue(now, patience) {
                Some(reason) => overdue.push((Arc::clone(connection), reason)),
                None if ping => connection.ping(),
                None => {}
            }
        });
        for (connection, reason) in overdue {
            connection.close(reason);
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

//! Ends connections whose token has expired.
//!
//! The registry has them in the order of their ends, so that one task with one timer is enough. It
//! goes by the wall clock, as tokens do, and therefore looks again and again: clocks are set.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::gateway::Gateway;
use crate::protocol::CloseReason;

const TICK: Duration = Duration::from_secs(1);
const AT_ONCE: usize = 256;

pub(crate) async fn run<T>(gateway: Arc<Gateway<T>>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = since.map_or(0, |since| {
            u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
        });
        loop {
            let expired = gateway.registry.take_expired(now, AT_ONCE);
            for connection in &expired {
                connection.close(CloseReason::TokenExpired);
            }
            if expired.len() < AT_ONCE {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}

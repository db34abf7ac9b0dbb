//! How often workloads may be rolled: so many at once, and one that does not get better by it
//! ever more rarely.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::shape::Workload;

/// Rolls that may start at once, and how long one takes to grow back.
const BURST: u32 = 10;
const REFILL: Duration = Duration::from_secs(2);

/// The wait before the second roll for the same settings; doubled for each further one.
const FIRST_WAIT: Duration = Duration::from_secs(30);
const LAST_WAIT: Duration = Duration::from_hours(1);

#[derive(Default)]
pub struct Repairs(Mutex<State>);

struct State {
    attempts: HashMap<(String, Workload), Attempts>,
    tokens: u32,
    refilled: Instant,
}

struct Attempts {
    /// What was to be reached.
    goal: String,
    count: u32,
    next: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permit {
    Go,
    /// The last one did not help; again after so long.
    Backoff(Duration),
    /// Too many at once; again after so long.
    Busy(Duration),
}

impl Default for State {
    fn default() -> Self {
        Self {
            attempts: HashMap::new(),
            tokens: BURST,
            refilled: Instant::now(),
        }
    }
}

impl Repairs {
    /// Counts the roll if it may start now.
    pub(super) fn permit(&self, namespace: &str, workload: &Workload, goal: &str) -> Permit {
        let now = Instant::now();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.to_owned(), workload.clone());
        let count = match state.attempts.get(&key) {
            Some(last) if last.goal == goal => {
                if now < last.next {
                    return Permit::Backoff(last.next - now);
                }
                last.count + 1
            }
            _ => 0,
        };
        if !state.take_token(now) {
            return Permit::Busy(REFILL);
        }
        let wait = LAST_WAIT.min(FIRST_WAIT * 2u32.saturating_pow(count));
        let attempts = Attempts {
            goal: goal.to_owned(),
            count,
            next: now + wait,
        };
        state.attempts.insert(key, attempts);
        Permit::Go
    }

    /// The workload is as it should be: the next trouble is a new one.
    pub(super) fn healed(&self, namespace: &str, workload: &Workload) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state
            .attempts
            .remove(&(namespace.to_owned(), workload.clone()));
    }
}

impl State {
    fn take_token(&mut self, now: Instant) -> bool {
        while self.tokens < BURST && now.duration_since(self.refilled) >= REFILL {
            self.tokens += 1;
            self.refilled += REFILL;
        }
        if self.tokens == BURST {
            self.refilled = now;
        }
        let free = self.tokens > 0;
        self.tokens -= u32::from(free);
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::WorkloadKind;

    fn workload(name: &str) -> Workload {
        Workload {
            kind: WorkloadKind::Deployment,
            name: name.to_owned(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_roll_that_does_not_help_is_repeated_ever_more_rarely() {
        let repairs = Repairs::default();
        let chat = workload("chat");
        assert_eq!(repairs.permit("a", &chat, "1"), Permit::Go);
        assert_eq!(repairs.permit("a", &chat, "1"), Permit::Backoff(FIRST_WAIT));
        tokio::time::advance(FIRST_WAIT).await;
        assert_eq!(repairs.permit("a", &chat, "1"), Permit::Go);
        assert_eq!(
            repairs.permit("a", &chat, "1"),
            Permit::Backoff(FIRST_WAIT * 2)
        );
        assert_eq!(repairs.permit("a", &chat, "2"), Permit::Go, "another goal");
        repairs.healed("a", &chat);
        assert_eq!(repairs.permit("a", &chat, "2"), Permit::Go);
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_start_at_once() {
        let repairs = Repairs::default();
        let go = |index: u32| repairs.permit("a", &workload(&index.to_string()), "1");
        assert!((0..BURST).all(|index| go(index) == Permit::Go));
        assert_eq!(go(BURST), Permit::Busy(REFILL));
        tokio::time::advance(REFILL).await;
        assert_eq!(go(BURST), Permit::Go);
        assert_eq!(go(BURST + 1), Permit::Busy(REFILL));
    }
}

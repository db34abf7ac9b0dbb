//! How often workloads may be rolled: so many at once, and one that does not get better by it
//! ever more rarely.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
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

/// A namespace and a workload in it.
type Key = (String, Workload);

struct State {
    attempts: HashMap<Key, Attempts>,
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
    /// Whether the roll may start now. Nothing is counted.
    pub(super) fn look(&self, namespace: &str, workload: &Workload, goal: &str) -> Permit {
        self.lock().permit(&key(namespace, workload), goal)
    }

    /// Counts the roll if it may start now; to be called right before it does.
    pub(super) fn take(&self, namespace: &str, workload: &Workload, goal: &str) -> Permit {
        let key = key(namespace, workload);
        let mut state = self.lock();
        let permit = state.permit(&key, goal);
        if permit == Permit::Go {
            state.count(key, goal);
        }
        permit
    }

    /// The roll that was counted did not start.
    pub(super) fn give_back(&self, namespace: &str, workload: &Workload) {
        let key = key(namespace, workload);
        let mut state = self.lock();
        state.tokens = BURST.min(state.tokens + 1);
        match state.attempts.get_mut(&key) {
            Some(last) if last.count > 0 => {
                last.count -= 1;
                last.next = Instant::now();
            }
            _ => drop(state.attempts.remove(&key)),
        }
    }

    /// The workload is as it should be: the next trouble is a new one.
    pub(super) fn healed(&self, namespace: &str, workload: &Workload) {
        self.lock().attempts.remove(&key(namespace, workload));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(namespace: &str, workload: &Workload) -> Key {
    (namespace.to_owned(), workload.clone())
}

impl State {
    fn permit(&mut self, key: &Key, goal: &str) -> Permit {
        let now = Instant::now();
        self.refill(now);
        match self.attempts.get(key) {
            Some(last) if last.goal == goal && now < last.next => Permit::Backoff(last.next - now),
            _ if self.tokens == 0 => Permit::Busy(REFILL),
            _ => Permit::Go,
        }
    }

    fn count(&mut self, key: Key, goal: &str) {
        self.tokens -= 1;
        let count = match self.attempts.get(&key) {
            Some(last) if last.goal == goal => last.count + 1,
            _ => 0,
        };
        let wait = LAST_WAIT.min(FIRST_WAIT * 2u32.saturating_pow(count));
        let attempts = Attempts {
            goal: goal.to_owned(),
            count,
            next: Instant::now() + wait,
        };
        self.attempts.insert(key, attempts);
    }

    fn refill(&mut self, now: Instant) {
        while self.tokens < BURST && now.duration_since(self.refilled) >= REFILL {
            self.tokens += 1;
            self.refilled += REFILL;
        }
        if self.tokens == BURST {
            self.refilled = now;
        }
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
        assert_eq!(repairs.take("a", &chat, "1"), Permit::Go);
        assert_eq!(repairs.take("a", &chat, "1"), Permit::Backoff(FIRST_WAIT));
        tokio::time::advance(FIRST_WAIT).await;
        assert_eq!(repairs.take("a", &chat, "1"), Permit::Go);
        assert_eq!(
            repairs.take("a", &chat, "1"),
            Permit::Backoff(FIRST_WAIT * 2)
        );
        assert_eq!(repairs.take("a", &chat, "2"), Permit::Go, "another goal");
        repairs.healed("a", &chat);
        assert_eq!(repairs.take("a", &chat, "2"), Permit::Go);
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_start_at_once() {
        let repairs = Repairs::default();
        let go = |index: u32| repairs.take("a", &workload(&index.to_string()), "1");
        assert!((0..BURST).all(|index| go(index) == Permit::Go));
        assert_eq!(go(BURST), Permit::Busy(REFILL));
        tokio::time::advance(REFILL).await;
        assert_eq!(go(BURST), Permit::Go);
        assert_eq!(go(BURST + 1), Permit::Busy(REFILL));
    }

    #[tokio::test(start_paused = true)]
    async fn a_roll_that_did_not_start_counts_for_nothing() {
        let repairs = Repairs::default();
        let chat = workload("chat");
        for _ in 0..2 * BURST {
            assert_eq!(repairs.look("a", &chat, "1"), Permit::Go);
            assert_eq!(repairs.take("a", &chat, "1"), Permit::Go);
            repairs.give_back("a", &chat);
        }
        assert_eq!(repairs.take("a", &chat, "1"), Permit::Go);
        assert_eq!(repairs.look("a", &chat, "1"), Permit::Backoff(FIRST_WAIT));
    }
}

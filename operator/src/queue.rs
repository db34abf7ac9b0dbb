//! Keys that are due: each at most once in the queue, and never worked on twice at a time.
//!
//! Bounded by the number of keys there are; adding one that waits already only moves it forward.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::warn;

/// Events come in bursts; one look at the result of a burst is enough.
pub const SETTLE: Duration = Duration::from_millis(100);

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_mins(1);

pub struct Queue<K> {
    state: Mutex<State<K>>,
    wake: Notify,
}

struct State<K> {
    waiting: HashMap<K, Instant>,
    running: HashSet<K>,
    failures: HashMap<K, u32>,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                waiting: HashMap::new(),
                running: HashSet::new(),
                failures: HashMap::new(),
            }),
            wake: Notify::new(),
        }
    }
}

impl<K: Clone + Eq + Hash + Display> Queue<K> {
    pub fn add(&self, key: K, delay: Duration) {
        let due = Instant::now() + delay;
        let mut state = self.lock();
        let waiting = state.waiting.entry(key).or_insert(due);
        *waiting = due.min(*waiting);
        drop(state);
        self.wake.notify_one();
    }

    /// How many keys wait though their time has come.
    pub fn due(&self) -> usize {
        let now = Instant::now();
        let due = |at: &&Instant| **at <= now;
        self.lock().waiting.values().filter(due).count()
    }

    /// Works for ever, `workers` keys at a time. `work` says when it wants the key again.
    pub async fn work<F, E>(&self, workers: usize, work: impl Fn(K) -> F)
    where
        F: Future<Output = Result<Option<Duration>, E>>,
        E: std::error::Error + 'static,
    {
        self.resume();
        let work = &work;
        let worker = |_| async move {
            loop {
                let key = self.next().await;
                let outcome = work(key.clone()).await;
                self.done(key, outcome);
            }
        };
        futures_util::future::join_all((0..workers).map(worker)).await;
    }

    /// Takes up again what was cut short when an earlier `work` was dropped.
    fn resume(&self) {
        let cut: Vec<K> = self.lock().running.drain().collect();
        for key in cut {
            self.add(key, Duration::ZERO);
        }
    }

    async fn next(&self) -> K {
        loop {
            let woken = self.wake.notified();
            let until = match self.take() {
                Ok(key) => return key,
                Err(until) => until,
            };
            match until {
                Some(until) => {
                    tokio::select! {
                        () = woken => {}
                        () = tokio::time::sleep_until(until) => {}
                    }
                }
                None => woken.await,
            }
        }
    }

    /// A key that is due, or the time of the next one.
    fn take(&self) -> Result<K, Option<Instant>> {
        let mut state = self.lock();
        let next = state
            .waiting
            .iter()
            .filter(|(key, _)| !state.running.contains(key))
            .min_by_key(|(_, due)| **due)
            .map(|(key, due)| (key.clone(), *due));
        match next {
            Some((key, due)) if due <= Instant::now() => {
                state.waiting.remove(&key);
                state.running.insert(key.clone());
                // Another worker may have slept towards this key: let it look again.
                drop(state);
                self.wake.notify_one();
                Ok(key)
            }
            next => Err(next.map(|(_, due)| due)),
        }
    }

    fn done<E: std::error::Error + 'static>(&self, key: K, outcome: Result<Option<Duration>, E>) {
        let mut state = self.lock();
        state.running.remove(&key);
        let again = match outcome {
            Ok(again) => {
                state.failures.remove(&key);
                again
            }
            Err(error) => {
                let failures = state.failures.entry(key.clone()).or_default();
                let delay = LAST_RETRY.min(FIRST_RETRY * 2u32.saturating_pow(*failures));
                *failures += 1;
                warn!(%key, error = %crate::cluster::chain(&error), retry_in = ?delay, "the reconciliation failed and will be retried");
                Some(delay)
            }
        };
        drop(state);
        match again {
            Some(delay) => self.add(key, delay),
            None => self.wake.notify_one(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    type Outcome = Result<Option<Duration>, Infallible>;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_worked_on_once() {
        let queue = Queue::default();
        for _ in 0..10 {
            queue.add("a", SETTLE);
        }
        let runs = AtomicUsize::new(0);
        let work = queue.work(4, |_| async {
            runs.fetch_add(1, Ordering::Relaxed);
            Outcome::Ok(None)
        });
        let _ = tokio::time::timeout(Duration::from_secs(5), work).await;
        assert_eq!(runs.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_never_worked_on_twice_at_a_time() {
        let queue = Arc::new(Queue::default());
        let (running, most, runs) = (
            AtomicUsize::new(0),
            AtomicUsize::new(0),
            AtomicUsize::new(0),
        );
        queue.add("a", Duration::ZERO);
        let work = queue.work(4, |_| async {
            most.fetch_max(
                running.fetch_add(1, Ordering::Relaxed) + 1,
                Ordering::Relaxed,
            );
            queue.add("a", Duration::ZERO);
            tokio::time::sleep(Duration::from_secs(1)).await;
            running.fetch_sub(1, Ordering::Relaxed);
            runs.fetch_add(1, Ordering::Relaxed);
            Outcome::Ok(None)
        });
        let _ = tokio::time::timeout(Duration::from_millis(5500), work).await;
        assert_eq!(
            (most.load(Ordering::Relaxed), runs.load(Ordering::Relaxed)),
            (1, 5)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_cut_short_is_worked_on_again() {
        let queue = Queue::default();
        queue.add("a", Duration::ZERO);
        let endless = queue.work(1, |_| std::future::pending::<Outcome>());
        assert!(tokio::time::timeout(SETTLE, endless).await.is_err());
        let runs = AtomicUsize::new(0);
        let work = queue.work(1, |_| async {
            runs.fetch_add(1, Ordering::Relaxed);
            Outcome::Ok(None)
        });
        let _ = tokio::time::timeout(SETTLE, work).await;
        assert_eq!(runs.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_back_off() {
        let queue = Queue::default();
        queue.add("a", Duration::ZERO);
        let start = Instant::now();
        let times = Mutex::new(Vec::new());
        let work = queue.work(1, |_| async {
            times.lock().unwrap().push(start.elapsed().as_secs());
            Err::<Option<Duration>, _>(std::io::Error::other("no"))
        });
        let _ = tokio::time::timeout(Duration::from_secs(20), work).await;
        assert_eq!(*times.lock().unwrap(), [0, 1, 3, 7, 15]);
    }
}

//! Connections to the app that rest between two requests.
//!
//! A server closes what idles for too long, and a request that meets it at that moment is lost
//! in doubt. So none rests for longer than the app allows: by its `Keep-Alive: timeout`, by what
//! it was seen to do, and by `callback.keepAlive` at most. A timer closes them, whether or not
//! anything is asked for: an app of one thread serves nobody else as long as one is open, and an
//! app that waits for its connections cannot end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A connection that can rest.
pub(crate) trait Rests {
    fn connected_at(&self) -> Instant;
    /// Whether the app still has it open, and has said nothing; it has rested for so long.
    fn is_open(&mut self, rested: Duration) -> bool;
}

#[derive(Debug)]
pub(crate) struct AppPool<C> {
    keep_alive: Duration,
    /// Milliseconds of rest after which the app was seen to hang up, or [`NEVER`].
    hangs_up_after: AtomicU64,
    most: usize,
    resting: Mutex<Vec<Resting<C>>>,
    filled: Notify,
}

#[derive(Debug)]
struct Resting<C> {
    connection: C,
    since: Instant,
    /// When the app was last seen to have it open.
    seen: Instant,
    until: Instant,
}

const NEVER: u64 = u64::MAX;
/// How often the timer looks: the app may hang up so much earlier than is noticed.
const TICK: Duration = Duration::from_millis(100);
/// No server gives up so soon: it has restarted, or closes after each answer without a word.
const SHORTEST: Duration = Duration::from_millis(100);
/// Even one that is always in use makes way for others, at an app of one thread.
const OLDEST: Duration = Duration::from_secs(5);

impl<C: Rests> AppPool<C> {
    /// With room for so many.
    pub(crate) fn new(keep_alive: Duration, most: usize) -> Self {
        Self {
            keep_alive,
            hangs_up_after: AtomicU64::new(NEVER),
            most,
            resting: Mutex::default(),
            filled: Notify::new(),
        }
    }

    /// The one that rested the least, and for how long.
    pub(crate) fn take(&self) -> Option<(C, Duration)> {
        let now = Instant::now();
        let mut resting = self.lock();
        loop {
            let mut last = resting.pop()?;
            let rested = now - last.since;
            if now >= last.until {
                continue;
            }
            if last.connection.is_open(rested) {
                return Some((last.connection, rested));
            }
            self.hung_up(last.seen - last.since);
        }
    }

    /// Takes one in whose answer was read to its end, with what that said of its rest.
    pub(crate) fn keep(&self, connection: C, allowed: Option<Duration>) {
        let now = Instant::now();
        let rest = self.rest(allowed);
        let too_old = now - connection.connected_at() >= OLDEST;
        let mut resting = self.lock();
        if rest.is_zero() || too_old || resting.len() >= self.most {
            return;
        }
        resting.push(Resting {
            connection,
            since: now,
            seen: now,
            until: now + rest,
        });
        if resting.len() == 1 {
            self.filled.notify_one();
        }
    }

    /// The app closed one that had rested for so long.
    pub(crate) fn hung_up(&self, rested: Duration) {
        if rested < SHORTEST {
            return;
        }
        let rested = u64::try_from(rested.as_millis()).unwrap_or(NEVER);
        self.hangs_up_after.fetch_min(rested, Ordering::Relaxed);
    }

    /// The app is away; what comes back may be another.
    pub(crate) fn app_is_away(&self) {
        self.hangs_up_after.store(NEVER, Ordering::Relaxed);
        self.lock().clear();
    }

    fn rest(&self, allowed: Option<Duration>) -> Duration {
        let seen = match self.hangs_up_after.load(Ordering::Relaxed) {
            NEVER => None,
            seen => Some(Duration::from_millis(seen)),
        };
        let shortest = allowed.into_iter().chain(seen).min();
        shortest.map_or(self.keep_alive, |shortest| {
            // Well before: the app's clock starts when it has answered, ours when we have read.
            self.keep_alive.min(shortest * 4 / 5)
        })
    }

    /// Closes what has rested for long enough, and what the app has closed. It sleeps while none
    /// rests.
    pub(crate) async fn run(&self, stop: &CancellationToken) {
        let closing = async {
            loop {
                self.filled.notified().await;
                while self.sweep() {
                    tokio::time::sleep(TICK).await;
                }
            }
        };
        tokio::select! {
            () = closing => {}
            () = stop.cancelled() => {}
        }
        self.lock().clear();
    }

    /// Whether any is left.
    fn sweep(&self) -> bool {
        let now = Instant::now();
        let mut resting = self.lock();
        resting.retain_mut(|one| {
            let rested = now - one.since;
            if now >= one.until {
                return false;
            }
            if rested < TICK {
                return true;
            }
            let open = one.connection.is_open(rested);
            if open {
                one.seen = now;
            } else {
                self.hung_up(one.seen - one.since);
            }
            open
        });
        !resting.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Resting<C>>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `Keep-Alive: timeout=5, max=100`, in seconds.
pub(crate) fn allowed(value: &str) -> Option<Duration> {
    value.split(',').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let seconds = value.trim().trim_matches('"').parse().ok()?;
        name.trim()
            .eq_ignore_ascii_case("timeout")
            .then(|| Duration::from_secs(seconds))
    })
}

pub(crate) fn allowed_by(headers: &HeaderMap) -> Option<Duration> {
    allowed(headers.get("keep-alive")?.to_str().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fake {
        connected_at: Instant,
        open: bool,
    }

    impl Rests for Fake {
        fn connected_at(&self) -> Instant {
            self.connected_at
        }

        fn is_open(&mut self, _: Duration) -> bool {
            self.open
        }
    }

    fn connection(open: bool) -> Fake {
        let connected_at = Instant::now();
        Fake { connected_at, open }
    }

    const KEEP_ALIVE: Duration = Duration::from_millis(1500);

    #[test]
    fn what_the_app_says() {
        let seconds = |value| allowed(value).map(|allowed| allowed.as_secs());
        assert_eq!(seconds("timeout=5"), Some(5));
        assert_eq!(seconds("max=100, Timeout = \"2\""), Some(2));
        for nothing in ["", "max=100", "timeout", "timeout=x", "timeout=-1"] {
            assert_eq!(seconds(nothing), None, "{nothing}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn none_is_used_for_longer_than_it_may_rest() {
        let pool = AppPool::new(KEEP_ALIVE, 10);
        let rests = [(None, 1500), (Some(1), 800), (Some(5), 1500), (Some(0), 0)];
        for (allowed, rest) in rests {
            let keep = || pool.keep(connection(true), allowed.map(Duration::from_secs));
            if rest > 0 {
                keep();
                tokio::time::advance(Duration::from_millis(rest - 1)).await;
                assert!(pool.take().is_some(), "{allowed:?}");
            }
            keep();
            tokio::time::advance(Duration::from_millis(rest)).await;
            assert!(pool.take().is_none(), "{allowed:?}");
        }
        let old = connection(true);
        tokio::time::advance(OLDEST).await;
        pool.keep(old, None);
        assert!(pool.take().is_none(), "always in use");
    }

    #[tokio::test(start_paused = true)]
    async fn an_app_that_hangs_up_is_learned_from_until_it_restarts() {
        let pool = AppPool::new(KEEP_ALIVE, 10);
        pool.hung_up(Duration::from_secs(1));
        assert_eq!(pool.rest(None), Duration::from_millis(800));
        pool.hung_up(Duration::from_millis(1200));
        assert_eq!(
            pool.rest(Some(Duration::from_secs(5))),
            Duration::from_millis(800)
        );
        // A kill closes all, however short they have rested.
        pool.keep(connection(false), None);
        assert!(pool.take().is_none());
        assert_eq!(pool.rest(None), Duration::from_millis(800));
        pool.app_is_away();
        assert_eq!(pool.rest(None), KEEP_ALIVE);
    }

    #[tokio::test(start_paused = true)]
    async fn the_timer_closes_them_and_sees_when_the_app_does() {
        let (pool, stop) = (AppPool::new(KEEP_ALIVE, 10), CancellationToken::new());
        let running = async {
            let started = Instant::now();
            pool.keep(connection(true), None);
            pool.keep(connection(true), None);
            tokio::time::sleep(KEEP_ALIVE / 2).await;
            assert_eq!(pool.lock().len(), 2);
            pool.lock()[0].connection.open = false;
            tokio::time::sleep(TICK * 2).await;
            assert_eq!(pool.lock().len(), 1);
            let learned = Duration::from_millis(pool.hangs_up_after.load(Ordering::Relaxed));
            assert!(learned <= KEEP_ALIVE / 2 && learned + 2 * TICK >= KEEP_ALIVE / 2);
            tokio::time::sleep_until(started + KEEP_ALIVE + TICK).await;
            assert_eq!(pool.lock().len(), 0);
            pool.keep(connection(true), None);
            stop.cancel();
        };
        tokio::join!(pool.run(&stop), running);
        assert_eq!(pool.lock().len(), 0);
    }
}

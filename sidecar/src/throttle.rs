//! Log lines that a stranger can multiply: one a second of each kind, which says how many were
//! left out since the one before.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

#[derive(Debug, Default)]
pub(crate) struct Throttle {
    /// Milliseconds on the process's clock before which nothing more is said.
    next: AtomicU64,
    left_out: AtomicU64,
}

const PAUSE_MS: u64 = 1000;

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Throttle {
    pub(crate) const fn new() -> Self {
        Self {
            next: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        }
    }

    /// `Some`: the line is to be written, and so many like it were left out.
    pub(crate) fn pass(&self) -> Option<u64> {
        let now = STARTED.elapsed().as_millis();
        self.pass_at(u64::try_from(now).unwrap_or(u64::MAX))
    }

    fn pass_at(&self, now: u64) -> Option<u64> {
        let next = self.next.load(Ordering::Relaxed);
        let first = now >= next
            && self
                .next
                .compare_exchange(next, now + PAUSE_MS, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if first {
            return Some(self.left_out.swap(0, Ordering::Relaxed));
        }
        self.left_out.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_says_how_many_were_left_out() {
        let lines = Throttle::new();
        assert_eq!(lines.pass_at(0), Some(0));
        for _ in 0..10_000 {
            assert_eq!(lines.pass_at(PAUSE_MS - 1), None);
        }
        assert_eq!(lines.pass_at(PAUSE_MS), Some(10_000));
        assert_eq!(lines.pass_at(PAUSE_MS), None);
        assert_eq!(lines.pass_at(5 * PAUSE_MS), Some(1));
    }
}

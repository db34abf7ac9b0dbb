//! `limits.messageRate`: a bucket that holds ten seconds' worth of messages.

const SECONDS: f32 = 10.0;

#[derive(Debug)]
pub(super) struct Rate {
    left: f32,
    /// Wraps after 49 days, which a full bucket does not mind.
    at_ms: u32,
}

impl Rate {
    pub(super) fn new(per_second: u32, now_ms: u64) -> Self {
        Self {
            left: capacity(per_second),
            at_ms: truncated(now_ms),
        }
    }

    /// Whether one more message is within the limit; 0 is no limit.
    pub(super) fn allows(&mut self, per_second: u32, now_ms: u64) -> bool {
        if per_second == 0 {
            return true;
        }
        let now_ms = truncated(now_ms);
        let passed = now_ms.wrapping_sub(self.at_ms);
        self.at_ms = now_ms;
        let refill = capacity(per_second) / SECONDS * f64_to_f32(f64::from(passed) / 1000.0);
        self.left = (self.left + refill).min(capacity(per_second)) - 1.0;
        self.left >= 0.0
    }
}

#[allow(clippy::cast_possible_truncation, reason = "only differences count")]
fn truncated(ms: u64) -> u32 {
    ms as u32
}

fn capacity(per_second: u32) -> f32 {
    f64_to_f32(f64::from(per_second)) * SECONDS
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "a rate needs no more than f32's 7 digits"
)]
fn f64_to_f32(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_seconds_may_come_at_once_and_then_it_is_the_rate() {
        let mut rate = Rate::new(2, 0);
        assert!((0..20).all(|_| rate.allows(2, 0)));
        assert!(!rate.allows(2, 0));
        let mut steady = Rate::new(2, 0);
        assert!((0..1000).all(|n| steady.allows(2, n * 500)));
    }
}

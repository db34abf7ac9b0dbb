//! How many connections may be opened a second (`limits.connectRate`), by all and by whom.
//!
//! A bucket that holds ten seconds' worth. Its last tenth is for addresses that opened less than
//! half of what addresses do on average: so one that opens without pause is refused before it has
//! emptied the bucket, and others still get in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::client_address::neighbourhood;

#[derive(Debug)]
pub struct Pace {
    /// Connections a second; 0: no limit.
    rate: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What is left, in thousandths of a connection.
    left: u64,
    at_ms: u64,
    /// How often each address has asked lately.
    asked: HashMap<IpAddr, u64>,
    asked_in_all: u64,
    halved_ms: u64,
}

const SECONDS: u64 = 10;
/// Who is beyond counts as one that has not asked before.
const MOST_ADDRESSES: usize = 10_000;

impl Pace {
    pub fn new(rate: u32) -> Self {
        let rate = u64::from(rate);
        let state = State {
            left: rate * SECONDS * 1000,
            ..State::default()
        };
        Self {
            rate,
            state: Mutex::new(state),
        }
    }

    /// Whether one more connection may be opened now, from there.
    pub fn allows(&self, address: IpAddr, now_ms: u64) -> bool {
        if self.rate == 0 {
            return true;
        }
        let full = self.rate * SECONDS * 1000;
        let mut state = self.lock();
        let passed = now_ms.saturating_sub(state.at_ms);
        state.left = full.min(state.left.saturating_add(passed.saturating_mul(self.rate)));
        state.at_ms = state.at_ms.max(now_ms);
        let modest = state.ask(neighbourhood(address), now_ms);
        let allowed = state.left >= 1000 && (state.left > full / 10 || modest);
        if allowed {
            state.left -= 1000;
        }
        allowed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Notes that an address asks; whether it has asked less than half of what others do.
    fn ask(&mut self, address: IpAddr, now_ms: u64) -> bool {
        if now_ms.saturating_sub(self.halved_ms) >= SECONDS * 1000 {
            self.halved_ms = now_ms;
            self.asked.values_mut().for_each(|count| *count /= 2);
            self.asked.retain(|_, count| *count > 0);
            self.asked_in_all = self.asked.values().sum();
        }
        let addresses = self.asked.len() as u64;
        let so_far = self.asked.get(&address).copied().unwrap_or_default();
        let modest = 2 * so_far * addresses < self.asked_in_all;
        if so_far > 0 || self.asked.len() < MOST_ADDRESSES {
            *self.asked.entry(address).or_default() += 1;
            self.asked_in_all += 1;
        }
        modest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(a: u8, b: u8) -> IpAddr {
        IpAddr::from([10, 0, a, b])
    }

    fn in_of(pace: &Pace, address: IpAddr, times: usize, now_ms: u64) -> usize {
        (0..times).filter(|_| pace.allows(address, now_ms)).count()
    }

    #[test]
    fn ten_seconds_worth_at_once_then_the_rate() {
        let pace = Pace::new(10);
        let crowd = (0..200).filter(|n| pace.allows(v4(0, *n), 0)).count();
        assert_eq!(crowd, 100);
        assert_eq!((0..50).filter(|n| pace.allows(v4(1, *n), 1000)).count(), 10);
    }

    #[test]
    fn who_opens_without_pause_keeps_nobody_out() {
        let pace = Pace::new(100);
        let attacker = v4(0, 0);
        assert_eq!(in_of(&pace, attacker, 100_000, 0), 900);
        for second in 1..=30 {
            let now = second * 1000;
            assert!(in_of(&pace, attacker, 5_000, now) <= 100);
            let newcomer = v4(1, u8::try_from(second).unwrap());
            assert_eq!(in_of(&pace, newcomer, 2, now), 2, "second {second}");
        }
    }

    #[test]
    fn zero_is_no_limit() {
        let pace = Pace::new(0);
        assert_eq!(in_of(&pace, v4(0, 0), 1_000_000, 0), 1_000_000);
    }

    #[test]
    fn addresses_are_forgotten() {
        let pace = Pace::new(10);
        for n in 0..=255 {
            pace.allows(v4(n, 0), 0);
        }
        pace.allows(v4(0, 1), 20_000);
        assert_eq!(pace.lock().asked.len(), 1);
    }
}

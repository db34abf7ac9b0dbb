//! A line that a stranger can cause is said at most every ten seconds, with how often it was
//! not said since.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    said: Option<Instant>,
    unsaid: u64,
}

impl Seldom {
    /// `Some`: it may be said now; so often it was not since the last time.
    pub(crate) fn says(&self) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.said.is_some_and(|said| said.elapsed() < PAUSE) {
            state.unsaid += 1;
            return None;
        }
        state.said = Some(Instant::now());
        Some(std::mem::take(&mut state.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_often_is_said_once() {
        let seldom = Seldom::default();
        assert_eq!(seldom.says(), Some(0));
        assert_eq!((seldom.says(), seldom.says()), (None, None));
        let before = Instant::now().checked_sub(PAUSE);
        seldom.0.lock().unwrap().said = before;
        assert_eq!(seldom.says(), Some(2));
    }
}

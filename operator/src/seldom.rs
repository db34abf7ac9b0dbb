//! For words that strangers can cause: said once in a while, with how often they were due.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const PAUSE: Duration = Duration::from_mins(1);

#[derive(Default)]
pub struct Seldom(Mutex<Said>);

#[derive(Default)]
struct Said {
    at: Option<Instant>,
    since: u64,
}

impl Seldom {
    pub const fn new() -> Self {
        Self(Mutex::new(Said { at: None, since: 0 }))
    }

    /// `Some`: it is to be said now, and how often it was due since it was said last.
    pub fn due(&self) -> Option<u64> {
        let now = Instant::now();
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.since += 1;
        if said.at.is_some_and(|at| now.duration_since(at) < PAUSE) {
            return None;
        }
        said.at = Some(now);
        Some(std::mem::take(&mut said.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_thousand_times_is_twice() {
        let seldom = Seldom::default();
        let said: Vec<_> = (0..1000).filter_map(|_| seldom.due()).collect();
        assert_eq!(said, [1]);
        tokio::time::advance(PAUSE).await;
        assert_eq!(seldom.due(), Some(1000));
        assert_eq!(seldom.due(), None);
    }
}

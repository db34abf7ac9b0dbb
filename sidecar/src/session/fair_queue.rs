//! A fair queue of the clients who send without pause. Whoever has used up its quantum queues for
//! the next one, and only a few have a quantum at the same time. So a client who speaks now and then
//! waits for these few, however many floods there are.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Bounded by `limits.connections`: each waits for one turn at most.
#[derive(Debug, Default)]
pub struct FairQueue(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    under_way: usize,
    /// How many have asked so far.
    asked: u64,
    /// `None`: it does not wait any more.
    waiting: VecDeque<Option<Waker>>,
}

/// A place in the queue, to be given back by [`FairQueue::leave`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn(NonZeroU64);

/// So many at the same time: enough that no thread is without work.
const AT_ONCE: usize = 4;

impl FairQueue {
    /// Queues up; the task is woken when its turn has come.
    pub(super) fn ask(&self, waker: &Waker) -> Turn {
        let mut state = self.lock();
        let turn = Turn(NonZeroU64::MIN.saturating_add(state.asked));
        state.asked += 1;
        state.waiting.push_back(Some(waker.clone()));
        let next = state.admit();
        drop(state);
        next.inspect(Waker::wake_by_ref);
        turn
    }

    pub(super) fn has_come(&self, turn: Turn) -> bool {
        turn.0.get() < self.lock().first_waiting()
    }

    /// The turn is over, or it is not wanted any more.
    pub(super) fn leave(&self, turn: Turn) {
        let mut state = self.lock();
        if let Some(place) = turn.0.get().checked_sub(state.first_waiting()) {
            let place = usize::try_from(place).unwrap_or(usize::MAX);
            if let Some(waiting) = state.waiting.get_mut(place) {
                *waiting = None;
            }
            return;
        }
        state.under_way -= 1;
        let next = state.admit();
        drop(state);
        next.inspect(Waker::wake_by_ref);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn first_waiting(&self) -> u64 {
        1 + self.asked - self.waiting.len() as u64
    }

    /// Who is to be woken as its turn has come: one at most, as one place at most is free.
    fn admit(&mut self) -> Option<Waker> {
        while self.under_way < AT_ONCE {
            if let Some(waker) = self.waiting.pop_front()? {
                self.under_way += 1;
                return Some(waker);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_at_once_and_in_order() {
        let queue = FairQueue::default();
        let all: Vec<_> = (0..10).map(|_| queue.ask(Waker::noop())).collect();
        let come = || all.iter().filter(|turn| queue.has_come(**turn)).count();
        assert_eq!(come(), AT_ONCE);
        queue.leave(all[1]);
        assert_eq!(come(), AT_ONCE + 1);
        assert!(queue.has_come(all[AT_ONCE]));
    }

    #[test]
    fn who_leaves_the_queue_keeps_nobody_waiting() {
        let queue = FairQueue::default();
        let all: Vec<_> = (0..10).map(|_| queue.ask(Waker::noop())).collect();
        queue.leave(all[AT_ONCE]);
        queue.leave(all[0]);
        assert!(queue.has_come(all[AT_ONCE + 1]));
        assert!(!queue.has_come(all[AT_ONCE + 2]));
        for turn in all[1..AT_ONCE].iter().chain(&all[AT_ONCE + 1..]) {
            queue.leave(*turn);
        }
        assert_eq!(queue.lock().under_way, 0);
        let next = queue.ask(Waker::noop());
        assert!(queue.has_come(next));
    }
}

//! `limits.unfinished`: a message that was begun has to end.
//!
//! There only while a message is under way, so an idle connection has no timer. What has come
//! buys time, but at a fixed price: a byte now and then does not keep a message open.

use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// So many bytes are a second more.
const A_SECOND: u64 = 8 << 10;

#[derive(Debug)]
pub(super) struct Unfinished {
    begun: Instant,
    received: u64,
    /// Since when nothing is read from the client, which is not its fault.
    paused: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl Unfinished {
    pub(super) fn begin(patience: Duration) -> Self {
        Self {
            begun: Instant::now(),
            received: 0,
            paused: None,
            timer: Box::pin(tokio::time::sleep(patience)),
        }
    }

    pub(super) fn received(&mut self, bytes: usize) {
        self.received += bytes as u64;
    }

    pub(super) fn pause(&mut self) {
        self.paused.get_or_insert_with(Instant::now);
    }

    pub(super) fn resume(&mut self) {
        if let Some(paused) = self.paused.take() {
            self.begun += paused.elapsed();
        }
    }

    /// Whether its time is up.
    pub(super) fn is_over(&mut self, context: &mut Context<'_>, patience: Duration) -> bool {
        while self.paused.is_none() && self.timer.as_mut().poll(context).is_ready() {
            let due = self.begun + patience + Duration::from_secs(self.received / A_SECOND);
            if due <= Instant::now() {
                return true;
            }
            self.timer.as_mut().reset(due);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn over(unfinished: &mut Unfinished) -> bool {
        unfinished.is_over(&mut Context::from_waker(Waker::noop()), PATIENCE)
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_a_second_buys_no_time() {
        let mut unfinished = Unfinished::begin(PATIENCE);
        for _ in 0..29 {
            tokio::time::advance(Duration::from_secs(1)).await;
            unfinished.received(1);
            assert!(!over(&mut unfinished));
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(over(&mut unfinished));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_line_that_goes_on_has_its_time() {
        let mut unfinished = Unfinished::begin(PATIENCE);
        for _ in 0..128 {
            tokio::time::advance(Duration::from_secs(1)).await;
            unfinished.received(8 << 10);
            assert!(!over(&mut unfinished));
        }
        tokio::time::advance(PATIENCE + Duration::from_secs(1)).await;
        assert!(over(&mut unfinished));
    }

    #[tokio::test(start_paused = true)]
    async fn while_nothing_is_read_its_time_stands_still() {
        let mut unfinished = Unfinished::begin(PATIENCE);
        unfinished.pause();
        tokio::time::advance(PATIENCE * 2).await;
        assert!(!over(&mut unfinished));
        unfinished.resume();
        assert!(!over(&mut unfinished));
        tokio::time::advance(PATIENCE).await;
        assert!(over(&mut unfinished));
    }
}

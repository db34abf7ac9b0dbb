//! Order and completeness, over random interleavings of clients, admin calls, an app that is
//! slow, fails or restarts, and the gateway's own shutdown, on a paused clock.
//!
//! Of every history this must hold, for each connection: open first, then the client's messages
//! in order and without a gap or a repetition, close last, exactly one close for an open that
//! the app has; never two callbacks at once; nothing left behind in the registry or the budget.
//! A message may be missing only if the client was told so, or had no claim to it any more.
//!
//! `HISTORIES=n` sets how many are tried, `HISTORY=seed` repeats one and prints it.

#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod histories {
    pub(crate) mod app;
    pub(crate) mod check;
    pub(crate) mod client;
    pub(crate) mod play;
}

use std::sync::atomic::{AtomicU64, Ordering};

use histories::play::play;

const DEFAULT: u64 = 100_000;

#[test]
fn every_history_is_in_order_and_complete() {
    if let Ok(seed) = std::env::var("HISTORY") {
        let verdict = play(seed.parse().expect("HISTORY is a number"));
        eprintln!("{verdict:#?}");
        assert_eq!(verdict.failure, None);
        return;
    }
    let wanted = std::env::var("HISTORIES")
        .map_or(DEFAULT, |text| text.parse().expect("HISTORIES is a number"));
    let (next, events, lost) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let run = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= wanted {
            return;
        }
        let verdict = play(seed);
        if let Some(why) = verdict.failure {
            next.store(wanted, Ordering::Relaxed);
            panic!("history {seed}: {why}\nrepeat it with HISTORY={seed}");
        }
        events.fetch_add(verdict.events, Ordering::Relaxed);
        lost.fetch_add(verdict.told_of_loss, Ordering::Relaxed);
    };
    let workers = std::thread::available_parallelism().map_or(1, Into::into);
    std::thread::scope(|scope| {
        for worker in (0..workers).map(|_| scope.spawn(run)).collect::<Vec<_>>() {
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
    let (events, lost) = (events.into_inner(), lost.into_inner());
    eprintln!("{wanted} histories, {events} callbacks, {lost} clients told of a loss");
    // A generator that has stopped to reach the interesting places must not pass.
    assert!(
        wanted < 1000 || (events > 2 * wanted && lost > wanted / 100),
        "the histories are too tame"
    );
}

//! Waiting for conditions: never longer than needed, and never silently.

use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Generous: a machine with two busy cores starts a pod in ten seconds, and only failures wait
/// it out.
pub const PATIENCE: Duration = Duration::from_mins(2);
const PAUSE: Duration = Duration::from_millis(150);

/// What one look found.
pub enum Look<T> {
    Found(T),
    /// What was there instead, for the message when time is up.
    NotYet(String),
}

impl<T> Look<T> {
    /// `Found` if `holds`.
    pub fn when(holds: bool, found: T, otherwise: impl Display) -> Self {
        if holds {
            Self::Found(found)
        } else {
            Self::NotYet(otherwise.to_string())
        }
    }
}

/// Looks again and again until something is found; an error of `look` counts as "not yet".
pub async fn until<T, F, Fut>(what: &str, look: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Look<T>>>,
{
    within(PATIENCE, what, look).await
}

pub async fn within<T, F, Fut>(patience: Duration, what: &str, mut look: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Look<T>>>,
{
    let started = Instant::now();
    loop {
        let last = match look().await {
            Ok(Look::Found(found)) => return Ok(found),
            Ok(Look::NotYet(found)) => found,
            Err(error) => format!("{error:#}"),
        };
        if started.elapsed() > patience {
            bail!(
                "waited {} s for {what}; last seen: {last}",
                patience.as_secs()
            );
        }
        tokio::time::sleep(PAUSE).await;
    }
}

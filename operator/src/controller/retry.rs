//! When what the API server refused is tried again, though nothing that we can see has changed (pure).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::trigger::attempts;
use super::validate::Assessed;
use crate::cluster::PodFacts;

/// The longest wait is so many times the first.
const MOST: u32 = 24;

/// Each attempt without success doubles the wait for the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retry {
    /// Zero: never.
    pub(super) first: Duration,
    pub(super) now: Timestamp,
}

impl Retry {
    pub(super) const NEVER: Self = Self {
        first: Duration::ZERO,
        now: Timestamp::UNIX_EPOCH,
    };

    /// After the last of these pods, which came up without the gateway for `goal`.
    pub(super) fn at(
        &self,
        member: &Assessed,
        goal: &str,
        pods: &[&std::sync::Arc<PodFacts>],
    ) -> Option<Timestamp> {
        let last = pods.iter().filter_map(|pod| pod.created).max()?;
        if self.first.is_zero() {
            return None;
        }
        let doubled = 2u32.saturating_pow(attempts(&member.workload, goal));
        let wait = self.first.saturating_mul(doubled.min(MOST));
        // Whom one policy refused at once, are not tried again at once.
        let mut hasher = DefaultHasher::new();
        member.workload.uid.hash(&mut hasher);
        let share = u32::try_from(hasher.finish() % 256).unwrap_or_default();
        let spread = (wait / 4 / 256).saturating_mul(share);
        last.checked_add(wait.saturating_add(spread)).ok()
    }

    pub(super) fn is_due(&self, at: Option<Timestamp>) -> bool {
        at.is_some_and(|at| at <= self.now)
    }
}

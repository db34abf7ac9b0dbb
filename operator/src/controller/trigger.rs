//! The annotation that makes a workload's controller replace its pods (pure).

use super::due::Due;
use crate::cluster::WorkloadFacts;
use crate::injection::hash;

/// What makes the workload's controller replace its pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    Annotate(String),
    /// Back to the template as it was before we touched it.
    Remove,
}

/// What the rollout annotation says where no gateway is wanted.
pub(super) const UNWANTED: &str = "none";

/// Whether the present template was rolled for something else than is due now. A rollout that
/// failed for settings of before must not keep better settings away.
pub(super) fn is_new_goal(workload: &WorkloadFacts, due: &Due) -> bool {
    let goal = due.goal.as_deref().map_or(UNWANTED, hash::written);
    workload
        .rollout
        .as_deref()
        .is_some_and(|rollout| rollout.split('.').next() != Some(goal))
}

/// `<goal>`, then `<goal>.1`, `<goal>.2`: always other than what is there.
pub(super) fn trigger(workload: &WorkloadFacts, goal: Option<&str>) -> Trigger {
    let present = workload.rollout.as_deref();
    let name = goal.map_or(UNWANTED, hash::written);
    let (before, count) = match present.and_then(|rollout| rollout.split_once('.')) {
        Some((before, count)) => (Some(before), count.parse().unwrap_or(0)),
        None => (present, 0u32),
    };
    if before == Some(name) {
        Trigger::Annotate(format!("{name}.{}", count + 1))
    } else if goal.is_none() && present.is_some() {
        Trigger::Remove
    } else {
        Trigger::Annotate(name.to_owned())
    }
}

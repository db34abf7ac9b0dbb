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

/// How often the present template was rolled for this goal, after the first time.
pub(super) fn attempts(workload: &WorkloadFacts, goal: &str) -> u32 {
    let (before, count) = counted(workload.rollout.as_deref());
    if before == Some(hash::written(goal)) {
        count
    } else {
        0
    }
}

/// What it was rolled for, and how often; behind that, a time ([`crate::cluster::anew`]).
fn counted(rollout: Option<&str>) -> (Option<&str>, u32) {
    let mut parts = rollout.into_iter().flat_map(|rollout| rollout.split('.'));
    let goal = parts.next();
    (
        goal,
        parts
            .next()
            .and_then(|count| count.parse().ok())
            .unwrap_or(0),
    )
}

/// `<goal>`, then `<goal>.1`, `<goal>.2`: always other than what is there.
pub(super) fn trigger(workload: &WorkloadFacts, goal: Option<&str>) -> Trigger {
    let present = workload.rollout.as_deref();
    let name = goal.map_or(UNWANTED, hash::written);
    let (before, count) = counted(present);
    if before == Some(name) {
        Trigger::Annotate(format!("{name}.{}", count + 1))
    } else if goal.is_none() && present.is_some() {
        Trigger::Remove
    } else {
        Trigger::Annotate(name.to_owned())
    }
}

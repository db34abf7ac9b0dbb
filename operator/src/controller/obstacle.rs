//! What stands in the way of a roll, beside the rate limits (pure).

use std::sync::Arc;

use stanza::choice::Rollout;

use super::due::Due;
use super::trigger::is_new_goal;
use super::validate::{Assessed, Verdict};
use crate::cluster::{Budget, Disruptions, Ground, Progress};
use crate::reason::Reason;
use crate::shape::WorkloadKind;

pub(super) const DISABLED: &str = "the webhook does not look at this namespace (webhook.excludedNamespaces of the chart, or the label ws.olares.com/injection: disabled)";

/// What is around a workload.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    /// The app's source is in the middle of a change.
    pub(super) held: bool,
    pub(super) budgets: &'a [Arc<Budget>],
    /// New pods of the namespace do not come to us.
    pub(super) disabled: bool,
    pub(super) webhook_up: bool,
    pub(super) ground: &'a Ground,
}

pub(super) fn obstacle(member: &Assessed, due: &Due, around: Surroundings<'_>) -> Option<Verdict> {
    let workload = &member.workload;
    let found = |reason, why: &str| {
        let message = format!("{}; {why}", due.words());
        Some(Verdict::new(reason, message))
    };
    if around.held {
        return found(Reason::ReleasePending, "waiting for the Helm release");
    }
    if due.goal.is_some() && around.disabled {
        return found(Reason::NamespaceDisabled, DISABLED);
    }
    if due.rollout == Rollout::Notify {
        let restart = format!("restart {} when it suits", workload.workload);
        return found(Reason::RolloutNotify, &restart);
    }
    if let (Reason::RollBare, Some(asks)) = (due.reason, member.asks.as_ref())
        && let Some(why) = around.ground.full(asks, due.pods)
    {
        return found(Reason::Quota, &Reason::Quota.advise(&why));
    }
    let older = member
        .pods
        .iter()
        .any(|pod| pod.rollout != workload.rollout);
    match workload.progress {
        Progress::Paused => return found(Reason::RolloutPaused, "the Deployment is paused"),
        Progress::OnDelete => {
            let why = "its pods are replaced only when deleted";
            return found(Reason::RolloutOnDelete, why);
        }
        // A rollout of ours for other settings must not keep better ones away: its pods may never be
        // ready.
        Progress::Failed if is_new_goal(workload, due) => {}
        Progress::Mixed | Progress::Starting if older && is_new_goal(workload, due) => {}
        Progress::Failed => {
            return found(Reason::RolloutFailed, "the last rollout did not finish");
        }
        Progress::Settled | Progress::Starting if !older => {}
        Progress::Mixed | Progress::Settled | Progress::Starting => {
            return found(Reason::Rolling, &under_way(member));
        }
    }
    let blocking = |budget: &&Arc<Budget>| !workload.surges && blocks(budget, member, due);
    if let Some(budget) = around.budgets.iter().find(blocking) {
        let when = match budget.disruptions {
            Disruptions::Never => "never allows one",
            Disruptions::NotNow | Disruptions::Allowed => "allows none now",
        };
        let why = format!("the PodDisruptionBudget {} {when}", budget.name);
        return found(Reason::DisruptionBudget, &why);
    }
    if due.goal.is_some() && !around.webhook_up {
        // New pods would come up as the old ones did.
        let why = "the API server does not reach the webhook";
        return found(Reason::WebhookUnreachable, why);
    }
    None
}

/// A pod that is not ready has nothing to disrupt: while all such pods are to go themselves, the
/// rollout begins with them, and a budget that they have used up is no obstacle.
fn blocks(budget: &Budget, member: &Assessed, due: &Due) -> bool {
    if budget.disruptions == Disruptions::Allowed {
        return false;
    }
    let mut pods = member.pods.iter();
    let covered: Vec<_> = pods
        .by_ref()
        .filter(|pod| budget.covers(&pod.shape.labels))
        .collect();
    let mut sick = covered.iter().filter(|pod| !pod.ready).peekable();
    let begins_with_sick = sick.peek().is_some() && sick.all(|pod| due.concerns(pod));
    !covered.is_empty() && !begins_with_sick
}

/// Kubernetes replaces the pods of a StatefulSet one by one, each once the one before is ready
/// (kubernetes#67250).
fn under_way(member: &Assessed) -> String {
    let Assessed { workload, pods, .. } = member;
    let stuck = pods
        .iter()
        .find(|pod| !pod.ready && pod.rollout != workload.rollout);
    match stuck {
        Some(pod) if workload.workload.kind == WorkloadKind::StatefulSet => format!(
            "a rollout is under way, and a StatefulSet does not replace a pod that is not ready: delete the pod {}",
            pod.name
        ),
        _ => "a rollout is under way".to_owned(),
    }
}

//! What stands in the way of a roll, beside the rate limits (pure).

use std::sync::Arc;

use stanza::choice::Rollout;

use super::due::Due;
use super::trigger::is_new_goal;
use super::validate::{Assessed, Verdict};
use crate::cluster::{Budget, Progress};
use crate::reason::Reason;

/// What is around a workload.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    /// The app's source is in the middle of a change.
    pub(super) held: bool,
    pub(super) budgets: &'a [Arc<Budget>],
    /// New pods of the namespace do not come to us.
    pub(super) disabled: bool,
    pub(super) webhook_up: bool,
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
        return found(
            Reason::NamespaceDisabled,
            "the webhook does not look at this namespace (webhook.excludedNamespaces of the chart, or the label ws.olares.com/injection: disabled)",
        );
    }
    if due.rollout == Rollout::Notify {
        let restart = format!("restart {} when it suits", workload.workload);
        return found(Reason::RolloutNotify, &restart);
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
        Progress::Failed if is_new_goal(workload, due) => {}
        Progress::Failed => {
            return found(Reason::RolloutFailed, "the last rollout did not finish");
        }
        Progress::Settled | Progress::Starting if !older => {}
        Progress::Mixed | Progress::Settled | Progress::Starting => {
            return found(Reason::Rolling, "a rollout is under way");
        }
    }
    // Pods that are not ready have nothing to disrupt.
    let ready = member.pods.iter().any(|pod| pod.ready);
    if let Some(budget) = around
        .budgets
        .iter()
        .find(|budget| ready && blocks(budget, member))
    {
        let why = format!("the PodDisruptionBudget {} allows none now", budget.name);
        return found(Reason::DisruptionBudget, &why);
    }
    if due.goal.is_some() && !around.webhook_up {
        // New pods would come up as the old ones did.
        let why = "the API server does not reach the webhook";
        return found(Reason::WebhookUnreachable, why);
    }
    None
}

fn blocks(budget: &Budget, member: &Assessed) -> bool {
    let covered = |labels| budget.covers(labels);
    !budget.allows && member.pods.iter().any(|pod| covered(&pod.shape.labels))
}

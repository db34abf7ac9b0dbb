//! Step 3 (decides, writes nothing): what is to be done now, and what is to be said.

use std::sync::Arc;
use std::time::Duration;

use stanza::choice::{Expose, Rollout};

use super::repairs::{Permit, Repairs};
use super::service::{self, Companion};
use super::validate::{Assessed, Validated, Verdict, Wish};
use crate::api::PodCounts;
use crate::app::{App, AppId};
use crate::cluster::{Budget, PodFacts, Progress, ServiceFacts, WorkloadFacts};
use crate::reason::Reason;
use crate::shape::Gateway;

/// How often a wait that no watch ends is looked at again.
const POLL: Duration = Duration::from_secs(15);

pub(super) struct Plan {
    pub(super) id: AppId,
    pub(super) app: Option<Arc<App>>,
    pub(super) accepted: Verdict,
    pub(super) entrance: Option<Arc<ServiceFacts>>,
    pub(super) counts: PodCounts,
    pub(super) steps: Vec<Step>,
    pub(super) strays: Vec<(Arc<PodFacts>, Verdict)>,
    pub(super) route: Route,
    /// Companion Services to delete.
    pub(super) leftovers: Vec<String>,
    /// When to look again although nothing happened.
    pub(super) again: Option<Duration>,
}

/// One workload.
pub(super) struct Step {
    pub(super) workload: WorkloadFacts,
    pub(super) verdict: Verdict,
    pub(super) roll: Option<Trigger>,
}

/// What makes the workload's controller replace its pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trigger {
    Annotate(String),
    /// Back to the template as it was before we touched it.
    Remove,
}

pub(super) enum Route {
    Service(Companion),
    /// Nothing to route, or not by us.
    None(Verdict),
}

/// What a plan depends on beside the app.
#[derive(Clone, Copy)]
pub(super) struct Means<'a> {
    pub(super) expose: Expose,
    pub(super) repairs: &'a Repairs,
    pub(super) webhook_up: bool,
}

/// What is due with a workload's pods.
struct Due {
    reason: Reason,
    /// The hash to reach; `None`: no gateway.
    goal: Option<String>,
    rollout: Rollout,
    pods: usize,
}

pub(super) fn plan(validated: Validated, means: &Means<'_>) -> Plan {
    let mut again: Option<Duration> = None;
    let held = validated.app.as_ref().is_some_and(|app| app.held);
    let mut counts = PodCounts::default();
    let steps = validated
        .members
        .iter()
        .map(|member| {
            count(&mut counts, member, &validated.image);
            let (verdict, roll, wait) = step(member, &validated, held, means);
            again = [again, wait].into_iter().flatten().min();
            Step {
                workload: member.workload.clone(),
                verdict,
                roll,
            }
        })
        .collect();
    counts.summary = format!("{}/{}", counts.current, counts.wanted);
    let route = route(&validated, means.expose);
    let leftovers = match &validated.app {
        Some(app) if !validated.holds_still() => {
            let wanted = match (&route, &validated.entrance) {
                (Route::Service(_), Some(entrance)) => Some(service::name(&entrance.name)),
                _ => None,
            };
            service::leftovers(app, wanted.as_deref(), &validated.services)
        }
        _ => Vec::new(),
    };
    Plan {
        id: validated.id,
        app: validated.app,
        accepted: validated.accepted,
        entrance: validated.entrance,
        counts,
        steps,
        strays: validated.strays,
        route,
        leftovers,
        again,
    }
}

fn count(counts: &mut PodCounts, member: &Assessed, image: &str) {
    let Wish::Gateway { hash, .. } = &member.wish else {
        return;
    };
    for pod in &member.pods {
        counts.wanted += 1;
        counts.ready += u32::from(pod.ready);
        match &pod.shape.gateway {
            Gateway::Ours {
                hash: found,
                image: running,
                ..
            } => {
                counts.current += u32::from(found == hash);
                counts.stale += u32::from(found != hash);
                counts.outdated += u32::from(running != image);
            }
            Gateway::Bare => counts.bare += 1,
            Gateway::Platform => counts.wanted -= 1,
        }
    }
}

fn step(
    member: &Assessed,
    validated: &Validated,
    held: bool,
    means: &Means<'_>,
) -> (Verdict, Option<Trigger>, Option<Duration>) {
    let namespace = &validated.id.namespace;
    let workload = &member.workload;
    let due = match due(member, &validated.id.name) {
        Ok(due) => due,
        Err(verdict) => {
            if verdict.reason == Reason::AllInjected || matches!(member.wish, Wish::None(_)) {
                means.repairs.healed(namespace, &workload.workload);
            }
            return (verdict, None, None);
        }
    };
    let obstacle =
        obstacle(member, &due, held, &validated.budgets).or_else(|| unheard(&due, means));
    if let Some((reason, message)) = obstacle {
        // A rollout's end is seen by the watch.
        let poll = (reason != Reason::Rolling).then_some(POLL);
        return (Verdict::new(reason, message), None, poll);
    }
    let goal = due.goal.as_deref().unwrap_or(UNWANTED);
    let (reason, roll, wait) = match means.repairs.permit(namespace, &workload.workload, goal) {
        Permit::Go => (
            due.reason,
            Some(trigger(workload, due.goal.as_deref())),
            None,
        ),
        Permit::Backoff(wait) => (Reason::RepairBackoff, None, Some(wait)),
        Permit::Busy(wait) => (Reason::RateLimited, None, Some(wait)),
    };
    (Verdict::new(reason, due.words()), roll, wait)
}

/// What must change, or why nothing must.
fn due(member: &Assessed, app: &str) -> Result<Due, Verdict> {
    let pods = |wanted: &dyn Fn(&Gateway) -> bool| {
        member
            .pods
            .iter()
            .filter(|pod| wanted(&pod.shape.gateway))
            .count()
    };
    match &member.wish {
        Wish::Gateway { hash, rollout } => {
            let due = |reason, pods| Due {
                reason,
                goal: Some(hash.clone()),
                rollout: *rollout,
                pods,
            };
            let bare = pods(&|gateway| *gateway == Gateway::Bare);
            let stale = pods(&|gateway| gateway.hash().is_some_and(|found| found != hash));
            if pods(&|gateway| *gateway == Gateway::Platform) > 0 {
                let message = "the platform injected a gateway of its own";
                return Err(Verdict::new(Reason::PlatformInjected, message));
            }
            match (bare, stale) {
                (0, 0) => Err(settled(member)),
                (0, stale) => Ok(due(Reason::RollStale, stale)),
                (bare, _) => Ok(due(Reason::RollBare, bare)),
            }
        }
        Wish::None(verdict) => {
            let unwanted = pods(&|gateway| gateway.is_for(app));
            if unwanted == 0 {
                return Err(verdict.clone());
            }
            Ok(Due {
                reason: Reason::RollUnwanted,
                goal: None,
                rollout: Rollout::Auto,
                pods: unwanted,
            })
        }
        Wish::Leave(verdict) => Err(verdict.clone()),
    }
}

fn settled(member: &Assessed) -> Verdict {
    let all = member.pods.len();
    let ready = member.pods.iter().filter(|pod| pod.ready).count();
    if all == 0 {
        return Verdict::new(Reason::NoPods, "no pods");
    }
    match member.workload.progress {
        Progress::Failed => Verdict::new(Reason::RolloutFailed, "the rollout did not finish"),
        Progress::Mixed | Progress::Starting => {
            Verdict::new(Reason::PodsNotReady, "a rollout is under way")
        }
        _ if ready < all => {
            let message = format!("{ready} of {all} pods are ready");
            Verdict::new(Reason::PodsNotReady, message)
        }
        Progress::Settled | Progress::Paused | Progress::OnDelete => {
            Verdict::new(Reason::AllInjected, format!("{all} pods have the gateway"))
        }
    }
}

/// What stands in the way of a roll, beside the rate limits.
fn obstacle(
    member: &Assessed,
    due: &Due,
    held: bool,
    budgets: &[Arc<Budget>],
) -> Option<(Reason, String)> {
    let workload = &member.workload;
    let found = |reason, message: &str| Some((reason, format!("{}; {message}", due.words())));
    if held {
        return found(Reason::ReleasePending, "waiting for the Helm release");
    }
    if due.rollout == Rollout::Notify {
        let restart = format!("restart {} when it suits", workload.workload);
        return found(Reason::RolloutNotify, &restart);
    }
    match workload.progress {
        Progress::Paused => return found(Reason::RolloutPaused, "the Deployment is paused"),
        Progress::OnDelete => {
            return found(
                Reason::RolloutOnDelete,
                "its pods are replaced only when deleted",
            );
        }
        Progress::Failed if !is_new_goal(workload, due) => {
            return found(Reason::RolloutFailed, "the last rollout did not finish");
        }
        Progress::Mixed => return found(Reason::Rolling, "a rollout is under way"),
        Progress::Settled | Progress::Starting | Progress::Failed => {}
    }
    let older = member
        .pods
        .iter()
        .any(|pod| pod.rollout != workload.rollout);
    if older && workload.progress != Progress::Failed {
        return found(Reason::Rolling, "a rollout is under way");
    }
    let ready = member.pods.iter().any(|pod| pod.ready);
    let blocking = budgets.iter().find(|budget| {
        !budget.allows
            && member
                .pods
                .iter()
                .any(|pod| budget.covers(&pod.shape.labels))
    });
    match blocking {
        Some(budget) if ready => {
            let message = format!("the PodDisruptionBudget {} allows none now", budget.name);
            found(Reason::DisruptionBudget, &message)
        }
        _ => None,
    }
}

/// New pods would come up as the old ones did.
fn unheard(due: &Due, means: &Means<'_>) -> Option<(Reason, String)> {
    (due.goal.is_some() && !means.webhook_up).then(|| {
        let message = "the API server does not reach the webhook";
        (
            Reason::WebhookUnreachable,
            format!("{}; {message}", due.words()),
        )
    })
}

// === the trigger ===

/// What the rollout annotation says where no gateway is wanted.
const UNWANTED: &str = "none";

/// Whether the present template was rolled for something else than is due now. A rollout that
/// failed for settings of before must not keep better settings away.
fn is_new_goal(workload: &WorkloadFacts, due: &Due) -> bool {
    let goal = due.goal.as_deref().unwrap_or(UNWANTED);
    workload
        .rollout
        .as_deref()
        .is_some_and(|rollout| rollout.split('.').next() != Some(goal))
}

/// `<goal>`, then `<goal>.1`, `<goal>.2`: always other than what is there.
fn trigger(workload: &WorkloadFacts, goal: Option<&str>) -> Trigger {
    let present = workload.rollout.as_deref();
    let name = goal.unwrap_or(UNWANTED);
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

impl Due {
    fn words(&self) -> String {
        let pods = self.pods;
        let noun = if pods == 1 { "pod" } else { "pods" };
        match self.reason {
            Reason::RollStale => format!("{pods} {noun} with settings of before"),
            Reason::RollUnwanted => format!("{pods} {noun} with a gateway that nothing asks for"),
            _ => format!("{pods} {noun} without the gateway"),
        }
    }
}

// === routing ===

fn route(validated: &Validated, default: Expose) -> Route {
    let (Some(app), Some(websocket), Some(entrance)) =
        (&validated.app, validated.websocket(), &validated.entrance)
    else {
        return Route::None(validated.accepted.clone());
    };
    if validated.accepted.reason != Reason::Accepted {
        return Route::None(validated.accepted.clone());
    }
    if websocket.operator.expose.unwrap_or(default) == Expose::None {
        return Route::None(Verdict::new(Reason::ExposeNone, "expose: none"));
    }
    let name = service::name(&entrance.name);
    let found = validated
        .services
        .iter()
        .find(|service| service.name == name);
    Route::Service(service::companion(
        app,
        websocket,
        entrance,
        found.map(AsRef::as_ref),
    ))
}

#[cfg(test)]
mod tests;

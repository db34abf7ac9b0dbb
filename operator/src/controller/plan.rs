//! Step 3 (decides, writes nothing): what is to be done now, and what is to be said.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use stanza::choice::Expose;

use super::due::due;
use super::entrance::{self, Entrance, Retarget};
use super::obstacle::{Surroundings, obstacle};
use super::repairs::{Permit, Repairs};
use super::retry::Retry;
use super::service::{self, Companion};
use super::trigger::{Trigger, UNWANTED, trigger};
use super::validate::{Assessed, Validated, Verdict, Wish};
use crate::api::PodCounts;
use crate::app::{App, AppId};
use crate::cluster::{PodFacts, ServiceFacts, WorkloadFacts};
use crate::names;
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
    pub(super) expose: Expose,
    /// Whose word on users' names counts.
    pub(super) identity: Option<String>,
    pub(super) route: Route,
    /// The companion still leads to pods that the entrance no longer selects.
    pub(super) lags: bool,
    /// Services whose port leads to the app itself again, before anything is rolled.
    pub(super) returns: Vec<Retarget>,
    /// Services whose fields we own, as a write of ours broke off.
    pub(super) held: Vec<String>,
    /// Companion Services to delete.
    pub(super) leftovers: Vec<String>,
    /// When to look again although nothing happened.
    pub(super) again: Option<Duration>,
}

/// One workload.
pub(super) struct Step {
    pub(super) workload: WorkloadFacts,
    pub(super) verdict: Verdict,
    pub(super) roll: Option<Roll>,
    /// It is as it should be: the next trouble is a new one.
    pub(super) healed: bool,
}

/// A restart, and what it is to reach.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Roll {
    pub(super) trigger: Trigger,
    pub(super) goal: String,
    /// What was refused before may be taken now.
    pub(super) anew: bool,
}

pub(super) enum Route {
    Service(Companion),
    Entrance(Entrance),
    /// Nothing to route, or not by us.
    None(Verdict),
}

/// What a plan depends on beside the app.
#[derive(Clone, Copy)]
pub(super) struct Means<'a> {
    pub(super) expose: Expose,
    pub(super) repairs: &'a Repairs,
    pub(super) retry: Retry,
    pub(super) webhook_up: bool,
    /// Of companion Services' ports.
    pub(super) app_protocol: Option<&'a str>,
}

pub(super) fn plan(validated: Validated, means: &Means<'_>) -> Plan {
    let mut again: Option<Duration> = None;
    let mut counts = PodCounts::default();
    let steps = validated
        .members
        .iter()
        .map(|member| {
            count(&mut counts, member, &validated.image);
            let (step, wait) = step(member, &validated, means);
            again = [again, wait].into_iter().flatten().min();
            step
        })
        .collect();
    for (pod, verdict) in &validated.strays {
        count_stray(&mut counts, pod, verdict.reason);
    }
    counts.summary = format!("{}/{}", counts.current, counts.wanted);
    let stated = validated
        .websocket()
        .and_then(|websocket| websocket.operator.expose);
    let expose = stated.unwrap_or_else(|| {
        if platform_routes(&validated) {
            Expose::None
        } else {
            means.expose
        }
    });
    let route = route(&validated, expose, means.app_protocol);
    let lags = validated.entrance.as_deref().is_some_and(|entrance| {
        let found = companion(&validated, entrance);
        *service::selector(&validated, entrance, found) != entrance.selector
    });
    let leftovers = match &validated.app {
        Some(app) if !validated.holds_still() => {
            let wanted = match (&route, &validated.entrance) {
                // Until the entrance leads there, a companion of before does.
                (
                    Route::Service(_)
                    | Route::Entrance(Entrance::Waits(_) | Entrance::Lead(_) | Entrance::Back(..)),
                    Some(entrance),
                ) => Some(service::name(&entrance.name)),
                _ => None,
            };
            service::leftovers(app, wanted.as_deref(), &validated.services)
        }
        _ => Vec::new(),
    };
    let kept = match (&route, &validated.entrance) {
        (Route::Entrance(_), Some(entrance)) => Some(entrance.name.as_str()),
        _ => None,
    };
    let returns = entrance::returns(&validated, kept);
    let held = validated.services.iter().filter(|service| service.held);
    let held = held.map(|service| service.name.clone()).collect();
    Plan {
        id: validated.id,
        app: validated.app,
        accepted: validated.accepted,
        entrance: validated.entrance,
        counts,
        steps,
        strays: validated.strays,
        identity: validated.identity,
        expose,
        route,
        lags,
        returns,
        held,
        leftovers,
        again,
    }
}

fn count(counts: &mut PodCounts, member: &Assessed, image: &str) {
    let Wish::Gateway { hash, .. } = &member.wish else {
        return;
    };
    let theirs = |pod: &&Arc<PodFacts>| pod.shape.gateway == Gateway::Platform;
    for pod in member.pods.iter().filter(|pod| !theirs(pod)) {
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
            Gateway::Platform => {}
        }
    }
}

/// Whoever made it replaces it as well, or leaves that to people.
fn count_stray(counts: &mut PodCounts, pod: &PodFacts, reason: Reason) {
    let current = reason == Reason::AlreadyCurrent;
    if !current && reason != Reason::ReplaceByHand {
        return;
    }
    let bare = pod.shape.gateway == Gateway::Bare;
    counts.wanted += 1;
    counts.ready += u32::from(pod.ready);
    counts.current += u32::from(current);
    counts.bare += u32::from(!current && bare);
    counts.stale += u32::from(!current && !bare);
}

fn step(member: &Assessed, validated: &Validated, means: &Means<'_>) -> (Step, Option<Duration>) {
    let namespace = &validated.id.namespace;
    let workload = &member.workload;
    let step = |verdict, roll| Step {
        workload: workload.clone(),
        verdict,
        roll,
        healed: false,
    };
    let due = match due(member, &validated.id.name, means.retry) {
        Ok(due) => due,
        Err(verdict) => {
            let healed =
                verdict.reason == Reason::AllInjected || matches!(member.wish, Wish::None(_));
            let settled = Step {
                healed,
                ..step(member.with_cause(verdict), None)
            };
            return (settled, None);
        }
    };
    let around = Surroundings {
        held: validated.app.as_ref().is_some_and(|app| app.held),
        budgets: &validated.budgets,
        ground: &validated.ground,
        disabled: validated.disabled,
        webhook_up: means.webhook_up,
    };
    if let Some(verdict) = obstacle(member, &due, around) {
        // A rollout's end is seen by the watch.
        let poll = (verdict.reason != Reason::Rolling).then_some(POLL);
        return (step(member.with_cause(verdict), None), poll);
    }
    let goal = due.goal.as_deref().unwrap_or(UNWANTED);
    let permit = means.repairs.look(namespace, &workload.workload, goal);
    let (reason, wait) = match permit {
        Permit::Go => (due.reason, None),
        Permit::Backoff(wait) => (Reason::RepairBackoff, Some(wait)),
        Permit::Busy(wait) => (Reason::RateLimited, Some(wait)),
    };
    let roll = (permit == Permit::Go).then(|| Roll {
        trigger: trigger(workload, due.goal.as_deref()),
        goal: goal.to_owned(),
        anew: member.pods.iter().any(|pod| pod.refused.is_some()),
    });
    let mut message = due.words();
    if reason == Reason::RepairBackoff && due.goal.is_some() && workload.rollout.is_none() {
        // It was restarted for this, by an annotation that is not there.
        let _ = write!(
            message,
            "; somebody takes {} off the pod template again, which undoes the restart: have whoever owns the template \
             leave that annotation alone",
            names::ROLLOUT
        );
    }
    (step(Verdict::new(reason, message), roll), wait)
}

// === routing ===

/// Pods have the platform's own gateway, or its Envoy that captures what comes in.
fn platform_routes(validated: &Validated) -> bool {
    let mut pods = validated.members.iter().flat_map(|member| &member.pods);
    pods.any(|pod| pod.shape.envoy || pod.shape.gateway == Gateway::Platform)
}

/// What is there by the companion's name.
fn companion<'a>(validated: &'a Validated, entrance: &ServiceFacts) -> Option<&'a ServiceFacts> {
    let name = service::name(&entrance.name);
    let mut services = validated.services.iter();
    let found = services.find(|service| service.name == name)?;
    Some(found)
}

fn route(validated: &Validated, expose: Expose, app_protocol: Option<&str>) -> Route {
    let (Some(app), Some(websocket), Some(entrance)) =
        (&validated.app, validated.websocket(), &validated.entrance)
    else {
        return Route::None(validated.accepted.clone());
    };
    if validated.accepted.reason != Reason::Accepted {
        return Route::None(validated.accepted.clone());
    }
    if expose == Expose::None {
        let message = match websocket.operator.expose {
            Some(_) => "expose: none",
            None => "the platform routes: its own sidecar is in the pods",
        };
        return Route::None(Verdict::new(Reason::ExposeNone, message));
    }
    if expose == Expose::Entrance {
        return Route::Entrance(entrance::entrance(app, websocket, entrance, validated));
    }
    let found = companion(validated, entrance);
    Route::Service(service::companion(
        app,
        websocket,
        entrance,
        service::selector(validated, entrance, found),
        found,
        &validated.overruled,
        app_protocol,
    ))
}

#[cfg(test)]
mod tests;

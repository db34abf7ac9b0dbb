//! Step 5 (writes): the AppManifest's status explains everything.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource};
use serde_json::json;
use stanza::env;

use super::Controller;
use super::apply::{Applied, Error};
use super::entrance::{Entrance, delete, replaced_by_hand};
use super::plan::{Plan, Route};
use super::validate::Verdict;
use crate::api::{AppManifest, AppManifestStatus, WorkloadStatus};
use crate::app::{App, Stanza};
use crate::cluster::PodFacts;
use crate::events::Notice;
use crate::names;
use crate::reason::{Reason, Weight};
use crate::text::cut;

/// As long as `metav1.Condition` lets it be.
const MESSAGE: usize = 32_768;
/// What an app with several replicas has to know.
pub const APART: &str = "each gateway knows the clients of its own pod alone, so send, close and list reach no other pod's: run one replica, or send to the clients of one's own pod only";

pub(super) async fn update_status(controller: &Controller, applied: Applied) -> Result<(), Error> {
    let Some(app) = applied.plan.app.clone() else {
        return Ok(());
    };
    let status = status(&app, &applied, &now());
    tell(controller, &app, &applied, &status);
    if status == app.status {
        return Ok(());
    }
    let body = json!({
        "apiVersion": AppManifest::api_version(&()),
        "kind": AppManifest::kind(&()),
        "status": status,
    });
    let manifests: Api<AppManifest> = Api::namespaced(controller.client.clone(), &app.id.namespace);
    let params = PatchParams::apply(names::MANAGER).force();
    match manifests
        .patch_status(&app.id.name, &params, &Patch::Apply(&body))
        .await
    {
        Ok(_) => Ok(()),
        // Deleted meanwhile: nobody is left to read it.
        Err(kube::Error::Api(error)) if error.code == 404 => Ok(()),
        Err(source) => Err(Error::Status {
            app: app.id.to_string(),
            source,
        }),
    }
}

/// To the second, as Kubernetes writes times.
fn now() -> Time {
    let now = Timestamp::now();
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

fn status(app: &App, applied: &Applied, now: &Time) -> AppManifestStatus {
    let plan = &applied.plan;
    let accepted = plan.accepted.reason == Reason::Accepted;
    let injected = injected(plan);
    let ready = ready(plan, &injected, &applied.routed);
    let verdicts = [
        ("Accepted", accepted, plan.accepted.clone()),
        ("Injected", injected.reason == Reason::AllInjected, injected),
        ("Routed", is_routed(&applied.routed), applied.routed.clone()),
        ("Ready", ready.reason == Reason::Ready, ready),
    ];
    let conditions = verdicts
        .into_iter()
        .map(|(kind, holds, verdict)| condition(app, kind, holds, verdict, now.clone()))
        .collect();
    let strays = plan.strays.iter().map(|(pod, verdict)| WorkloadStatus {
        kind: "Pod".to_owned(),
        name: pod.name.clone(),
        reason: verdict.reason.to_string(),
        message: verdict.message.clone(),
    });
    let workloads = plan.steps.iter().map(|step| WorkloadStatus {
        kind: step.workload.workload.kind.as_str().to_owned(),
        name: step.workload.workload.name.clone(),
        reason: step.verdict.reason.to_string(),
        message: step.verdict.message.clone(),
    });
    AppManifestStatus {
        observed_generation: Some(app.generation),
        conditions,
        pods: plan.counts.clone(),
        entrance: app.service().map(str::to_owned),
        expose: accepted.then(|| plan.expose.as_str().to_owned()),
        url: url(app, applied),
        identity: plan.identity.clone().filter(|_| accepted),
        warnings: app.warnings.iter().map(ToString::to_string).collect(),
        workloads: workloads.chain(strays).collect(),
    }
}

pub(super) fn injected(plan: &Plan) -> Verdict {
    if plan.accepted.reason != Reason::Accepted {
        return plan.accepted.clone();
    }
    let healthy = |reason| {
        matches!(
            reason,
            Reason::AllInjected | Reason::PodsNotReady | Reason::NoPods
        )
    };
    let counts = &plan.counts;
    // Their author says so, and others serve the entrance.
    let left_alone = |reason| {
        counts.wanted > 0
            && matches!(
                reason,
                Reason::OptedOut | Reason::NotLabelled | Reason::NotEntrance
            )
    };
    let trouble = plan
        .steps
        .iter()
        .find(|step| !healthy(step.verdict.reason) && !left_alone(step.verdict.reason));
    let by_hand = plan.strays.iter().map(|(pod, verdict)| (pod, verdict));
    let by_hand = replaced_by_hand(by_hand);
    match trouble {
        None if !by_hand.is_empty() => Verdict::new(Reason::ReplaceByHand, delete(&by_hand)),
        Some(step) => Verdict::new(
            step.verdict.reason,
            format!("{}: {}", step.workload.workload, step.verdict.message),
        ),
        None if counts.wanted > 0 => Verdict::new(
            Reason::AllInjected,
            format!(
                "{} of {} pods have the gateway",
                counts.current, counts.wanted
            ),
        ),
        None => match plan.strays.first() {
            Some((pod, verdict)) => Verdict::new(
                Reason::AllSkipped,
                format!("pod {}: {}: {}", pod.name, verdict.reason, verdict.message),
            ),
            None => Verdict::new(Reason::NoPods, "the entrance has no pods"),
        },
    }
}

fn ready(plan: &Plan, injected: &Verdict, routed: &Verdict) -> Verdict {
    let counts = &plan.counts;
    if plan.accepted.reason != Reason::Accepted {
        return plan.accepted.clone();
    }
    if injected.reason != Reason::AllInjected {
        return injected.clone();
    }
    if !is_routed(routed) {
        return routed.clone();
    }
    let unready = plan
        .steps
        .iter()
        .find(|step| step.verdict.reason == Reason::PodsNotReady);
    if let Some(step) = unready {
        let message = format!("{}: {}", step.workload.workload, step.verdict.message);
        return Verdict::new(Reason::PodsNotReady, message);
    }
    let unready = |(pod, verdict): &&(Arc<PodFacts>, Verdict)| {
        verdict.reason == Reason::AlreadyCurrent && !pod.ready
    };
    if let Some((pod, _)) = plan.strays.iter().find(unready) {
        let message = format!("the pod {} is not ready", pod.name);
        return Verdict::new(Reason::PodsNotReady, message);
    }
    Verdict::new(Reason::Ready, serving(counts.ready))
}

fn serving(pods: u32) -> String {
    match pods {
        0 | 1 => format!("{pods} pods serve WebSockets"),
        several => format!("{several} pods serve WebSockets; {APART}"),
    }
}

/// Whether it serves from several pods.
fn is_apart(conditions: &[Condition]) -> bool {
    conditions
        .iter()
        .any(|condition| condition.type_ == "Ready" && condition.message.ends_with(APART))
}

fn is_routed(routed: &Verdict) -> bool {
    matches!(
        routed.reason,
        Reason::ServiceApplied | Reason::EntranceRouted | Reason::ExposeNone
    )
}

fn condition(app: &App, kind: &str, holds: bool, verdict: Verdict, now: Time) -> Condition {
    let status = if holds { "True" } else { "False" };
    let since = app
        .status
        .conditions
        .iter()
        .find(|condition| condition.type_ == kind && condition.status == status)
        .map(|condition| condition.last_transition_time.clone());
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.to_string(),
        message: cut(verdict.message, MESSAGE),
        last_transition_time: since.unwrap_or(now),
        observed_generation: Some(app.generation),
    }
}

/// Where clients of the cluster connect; an Ingress or HTTPRoute gives it a public name.
fn url(app: &App, applied: &Applied) -> Option<String> {
    let Stanza::Valid { websocket, .. } = &app.stanza else {
        return None;
    };
    let entrance = &applied.plan.entrance.as_ref()?.name;
    let (service, port) = match &applied.plan.route {
        Route::Service(_) => (super::service::name(entrance), env::CLIENT_PORT.into()),
        Route::Entrance(Entrance::Kept(port)) => (entrance.clone(), *port),
        Route::Entrance(Entrance::Lead(change)) => (entrance.clone(), change.port()),
        Route::Entrance(Entrance::Waits(_) | Entrance::Back(..)) | Route::None(_) => {
            return None;
        }
    };
    let path = &websocket.gateway.routes.path;
    Some(format!(
        "ws://{service}.{}.svc:{port}{path}",
        app.id.namespace
    ))
}

/// The AppManifest's own Events: once, as the reason becomes another.
fn tell(controller: &Controller, app: &App, applied: &Applied, status: &AppManifestStatus) {
    let regarding = kube::runtime::reflector::ObjectRef::<AppManifest>::new(&app.id.name)
        .within(&app.id.namespace);
    let mut regarding = k8s_openapi::api::core::v1::ObjectReference::from(regarding);
    regarding.uid = Some(app.uid.clone());
    let tell = |reason, message: &str| {
        controller.notices.tell(Notice {
            regarding: regarding.clone(),
            reason,
            message: message.to_owned(),
        });
    };
    if app.status.conditions != status.conditions || app.status.workloads != status.workloads {
        for verdict in [&applied.plan.accepted, &applied.routed] {
            tell(verdict.reason, &verdict.message);
        }
        // Who labelled a workload looks there, and may not know that there is an AppManifest.
        if let (Some(owner), Weight::Warning) = (&app.owner, applied.plan.accepted.reason.weight())
        {
            controller.notices.tell(Notice {
                regarding: owner.clone(),
                reason: applied.plan.accepted.reason,
                message: applied.plan.accepted.message.clone(),
            });
        }
        if is_apart(&status.conditions) && !is_apart(&app.status.conditions) {
            tell(Reason::ReplicasApart, &serving(status.pods.ready));
        }
        for (pod, verdict) in &applied.plan.strays {
            tell(
                verdict.reason,
                &format!("pod {}: {}", pod.name, verdict.message),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_replicas_are_told_that_they_are_apart() {
        assert_eq!(serving(1), "1 pods serve WebSockets");
        assert!(serving(2).ends_with(APART));
        let ready = |pods| Condition {
            type_: "Ready".to_owned(),
            status: "True".to_owned(),
            reason: Reason::Ready.to_string(),
            message: serving(pods),
            last_transition_time: now(),
            observed_generation: None,
        };
        assert!(is_apart(&[ready(2)]) && !is_apart(&[ready(1)]));
    }
}

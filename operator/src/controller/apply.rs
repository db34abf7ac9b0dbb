//! Step 4 (writes): rolls workloads and keeps the companion Service. Pods are never edited.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tracing::info;

use super::Controller;
use super::entrance::Entrance;
use super::plan::{Plan, Roll, Route, Step};
use super::repairs::Permit;
use super::service::Companion;
use super::trigger::Trigger;
use super::validate::Verdict;
use crate::cluster::{anew, chain};
use crate::events::Notice;
use crate::names;
use crate::reason::Reason;
use crate::retarget::{disown, retarget};
use crate::shape::{Workload, WorkloadKind};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot roll {workload}")]
    Roll {
        workload: String,
        source: kube::Error,
    },
    #[error("cannot write the Service {name}")]
    Service { name: String, source: kube::Error },
    #[error("cannot write the status of {app}")]
    Status { app: String, source: kube::Error },
}

/// The plan with the outcome of its route, and the first write that failed.
pub(super) struct Applied {
    pub(super) plan: Plan,
    pub(super) routed: Verdict,
    pub(super) failed: Option<Error>,
}

pub(super) async fn apply(controller: &Controller, mut plan: Plan) -> Applied {
    // The Service first: who was told to reconnect by a rolling gateway finds the way. Where it
    // cannot be written nothing is rolled, as pods must not go before the way to them.
    let (routed, mut failed) = match apply_route(controller, &plan).await {
        Ok(routed) => (routed, None),
        Err(error) => (error.verdict(), Some(error)),
    };
    let mut steps = std::mem::take(&mut plan.steps);
    for step in &mut steps {
        if step.healed {
            controller
                .repairs
                .healed(&plan.id.namespace, &step.workload.workload);
        }
        if let Some(roll) = step
            .roll
            .take()
            .filter(|_| failed.as_ref().is_none_or(is_roll))
        {
            match start(controller, &plan.id.namespace, step, &roll).await {
                Ok(wait) => plan.again = [plan.again, wait].into_iter().flatten().min(),
                Err(error) => {
                    step.verdict = error.verdict();
                    failed.get_or_insert(error);
                }
            }
        }
        controller.notices.tell(Notice {
            regarding: step.workload.reference(&plan.id.namespace),
            reason: step.verdict.reason,
            message: format!("app {}: {}", plan.id.name, step.verdict.message),
        });
    }
    plan.steps = steps;
    for name in &plan.held {
        let services = Api::namespaced(controller.client.clone(), &plan.id.namespace);
        if let Err(source) = disown(&services, name).await {
            let name = name.clone();
            failed.get_or_insert(Error::Service { name, source });
        }
    }
    Applied {
        plan,
        routed,
        failed,
    }
}

/// One workload that cannot be rolled keeps no other from it.
fn is_roll(failed: &Error) -> bool {
    matches!(failed, Error::Roll { .. })
}

/// Rolls a workload, if it still may; else says when to ask again.
async fn start(
    controller: &Controller,
    namespace: &str,
    step: &mut Step,
    roll: &Roll,
) -> Result<Option<Duration>, Error> {
    let workload = &step.workload.workload;
    match controller.repairs.take(namespace, workload, &roll.goal) {
        Permit::Go => {}
        Permit::Backoff(wait) => {
            step.verdict.reason = Reason::RepairBackoff;
            return Ok(Some(wait));
        }
        Permit::Busy(wait) => {
            step.verdict.reason = Reason::RateLimited;
            return Ok(Some(wait));
        }
    }
    let trigger = match &roll.trigger {
        Trigger::Annotate(value) if roll.anew => Trigger::Annotate(anew(value, Timestamp::now())),
        trigger => trigger.clone(),
    };
    let restarted = restart(&controller.client, namespace, workload, &trigger).await;
    if restarted.is_err() {
        controller.repairs.give_back(namespace, workload);
    }
    match restarted {
        Ok(()) => controller.metrics.rolled(step.verdict.reason),
        // It is gone since, and its pods with it.
        Err(kube::Error::Api(error)) if error.code == 404 => {}
        Err(source) => {
            return Err(Error::Roll {
                workload: format!("{workload} in {namespace}"),
                source,
            });
        }
    }
    Ok(None)
}

impl Error {
    fn verdict(&self) -> Verdict {
        Verdict::new(Reason::ApiError, chain(self))
    }
}

/// Has the workload's own controller replace its pods, as `kubectl rollout restart` does.
pub async fn restart(
    client: &Client,
    namespace: &str,
    workload: &Workload,
    trigger: &Trigger,
) -> kube::Result<()> {
    let value = match trigger {
        Trigger::Annotate(value) => json!(value),
        Trigger::Remove => json!(null),
    };
    let annotations = json!({ names::ROLLOUT: value });
    let body = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
    let params = PatchParams {
        field_manager: Some(names::MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(&body);
    let client = client.clone();
    let name = &workload.name;
    match workload.kind {
        WorkloadKind::Deployment => Api::<Deployment>::namespaced(client, namespace)
            .patch_metadata(name, &params, &patch)
            .await
            .map(drop),
        WorkloadKind::StatefulSet => Api::<StatefulSet>::namespaced(client, namespace)
            .patch_metadata(name, &params, &patch)
            .await
            .map(drop),
        WorkloadKind::DaemonSet => Api::<DaemonSet>::namespaced(client, namespace)
            .patch_metadata(name, &params, &patch)
            .await
            .map(drop),
    }
}

async fn apply_route(controller: &Controller, plan: &Plan) -> Result<Verdict, Error> {
    let services: Api<Service> = Api::namespaced(controller.client.clone(), &plan.id.namespace);
    let written = |name: &str, outcome: kube::Result<()>| {
        outcome.map_err(|source| Error::Service {
            name: name.to_owned(),
            source,
        })
    };
    for change in &plan.returns {
        written(&change.service, retarget(&services, change).await)?;
    }
    for name in &plan.leftovers {
        match services.delete(name, &DeleteParams::default()).await {
            Ok(_) => info!(
                namespace = plan.id.namespace,
                name, "companion Service removed"
            ),
            Err(kube::Error::Api(error)) if error.code == 404 => {}
            Err(source) => {
                let name = name.clone();
                return Err(Error::Service { name, source });
            }
        }
    }
    let name = plan
        .entrance
        .as_ref()
        .map(|entrance| super::service::name(&entrance.name))
        .unwrap_or_default();
    Ok(match &plan.route {
        Route::None(verdict) | Route::Entrance(Entrance::Waits(verdict)) => verdict.clone(),
        Route::Entrance(Entrance::Kept(port)) => fronted(plan, *port),
        Route::Entrance(Entrance::Back(change, verdict)) => {
            written(&change.service, retarget(&services, change).await)?;
            verdict.clone()
        }
        Route::Entrance(Entrance::Lead(change)) => {
            written(&change.service, retarget(&services, change).await)?;
            fronted(plan, change.port())
        }
        Route::Service(Companion::Taken) => Verdict::new(
            Reason::ServiceNameTaken,
            format!("a Service {name} is there that is not ours"),
        ),
        Route::Service(Companion::Kept) => routed(plan, &name),
        Route::Service(Companion::Apply(service)) => {
            let params = PatchParams::apply(names::MANAGER).force();
            services
                .patch(&service.name_any(), &params, &Patch::Apply(service))
                .await
                .map_err(|source| Error::Service {
                    name: name.clone(),
                    source,
                })?;
            routed(plan, &name)
        }
    })
}

fn routed(plan: &Plan, name: &str) -> Verdict {
    let mut message = format!("the Service {name} leads to the gateway");
    if plan.lags {
        message += " of pods that the entrance no longer selects, until one that it selects is ready with the gateway";
    }
    Verdict::new(Reason::ServiceApplied, message)
}

fn fronted(plan: &Plan, port: i32) -> Verdict {
    let entrance = plan.entrance.as_ref();
    let name = entrance.map_or("", |entrance| entrance.name.as_str());
    Verdict::new(
        Reason::EntranceRouted,
        format!("port {port} of the Service {name} leads to the gateway"),
    )
}

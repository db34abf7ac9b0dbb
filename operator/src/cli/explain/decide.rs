//! The operator's decision about an object, from what is known of its namespace (pure).

use std::sync::Arc;

use anyhow::bail;

use super::finding::{Finding, Part};
use crate::app::{App, AppId};
use crate::cli::target::Target;
use crate::cluster::{Cluster, PodFacts, WorkloadFacts};
use crate::controller::{Verdict, accept, superseded};
use crate::injection::{Decision, Rules, desired};
use crate::reason::Reason;
use crate::shape::{Gateway, Owner};

pub(super) fn explain(
    cluster: &Cluster,
    rules: &Rules,
    namespace: &str,
    target: &Target,
) -> anyhow::Result<Finding> {
    match target {
        Target::Pod(name) => {
            let Some(pod) = cluster.pods.get(namespace, name) else {
                bail!("no pod {name} in {namespace}");
            };
            let (reason, message, app) = of_pod(cluster, rules, namespace, &pod);
            Ok(Finding {
                object: format!("pod/{name}"),
                reason,
                message,
                identity: identity(cluster, namespace, app.as_deref()),
                app,
                parts: Vec::new(),
            })
        }
        Target::Workload(workload) => {
            let Some(facts) = cluster.workload(namespace, workload) else {
                bail!("no {workload} in {namespace}");
            };
            Ok(of_workload(cluster, rules, namespace, &facts))
        }
        Target::App(name) => {
            let Some(app) = cluster.apps.get(namespace, name) else {
                bail!("no AppManifest {name} in {namespace}");
            };
            Ok(of_app(cluster, &app))
        }
    }
}

fn identity(cluster: &Cluster, namespace: &str, app: Option<&str>) -> Option<String> {
    let app = cluster.apps.get(namespace, app?)?;
    app.status.identity.clone()
}

fn of_workload(
    cluster: &Cluster,
    rules: &Rules,
    namespace: &str,
    facts: &WorkloadFacts,
) -> Finding {
    let workload = &facts.workload;
    let mut pods = cluster.pods.in_namespace(namespace);
    pods.retain(|pod| pod.shape.owner == Owner::Workload(workload.clone()));
    let claims = cluster.claims(namespace);
    let (reason, message, app) = match desired(&facts.shape, &claims.borrow(), rules) {
        Decision::Inject(injection) | Decision::AlreadyCurrent(injection) => {
            // The template does not show what the platform puts into its pods.
            let theirs = pods
                .iter()
                .any(|pod| pod.shape.gateway == Gateway::Platform);
            let (reason, message) = if theirs {
                let message = "the platform injected a gateway of its own";
                (Reason::PlatformInjected, message)
            } else {
                (Reason::Injected, "new pods get the gateway")
            };
            let refused = pods.iter().find_map(|pod| pod.refused.as_ref());
            let unpulled = pods.iter().find_map(|pod| cluster.unpulled(namespace, pod));
            let (reason, message) = match (refused, unpulled) {
                (Some(note), _) => (Reason::PodsRefused, note.words.clone()),
                (None, Some(words)) => (Reason::GatewayImage, words),
                (None, None) => (reason, message.to_owned()),
            };
            (reason, message, Some(injection.app.to_owned()))
        }
        Decision::Skip(skip) => (skip.reason, skip.message, skip.app),
    };
    let part = |pod: &Arc<PodFacts>| {
        let (reason, message, _) = of_pod(cluster, rules, namespace, pod);
        Part {
            name: format!("pod/{}", pod.name),
            reason: reason.to_string(),
            message,
        }
    };
    Finding {
        object: workload.to_string(),
        reason,
        message,
        identity: identity(cluster, namespace, app.as_deref()),
        app,
        parts: pods.iter().map(part).collect(),
    }
}

fn of_pod(
    cluster: &Cluster,
    rules: &Rules,
    namespace: &str,
    pod: &PodFacts,
) -> (Reason, String, Option<String>) {
    let claims = cluster.claims(namespace);
    let claims = claims.borrow();
    let shape = &pod.shape;
    let (reason, message, injection) = match desired(shape, &claims, rules) {
        Decision::AlreadyCurrent(injection) | Decision::Inject(injection)
            if let Some(words) = cluster.unpulled(namespace, pod) =>
        {
            let app = Some(injection.app.to_owned());
            return (Reason::GatewayImage, words, app);
        }
        Decision::AlreadyCurrent(injection) => {
            (Reason::AlreadyCurrent, "it has the gateway", injection)
        }
        Decision::Inject(injection) if let Some(note) = &pod.refused => {
            let app = Some(injection.app.to_owned());
            return (Reason::PodsRefused, note.words.clone(), app);
        }
        Decision::Inject(injection) if !is_restarted(cluster, namespace, pod) => {
            let message = "nothing of ours restarts it: delete it, and its owner makes it anew with the gateway";
            (Reason::ReplaceByHand, message, injection)
        }
        Decision::Inject(injection) if shape.gateway == Gateway::Bare => {
            let message = "it came up without the gateway";
            (Reason::RollBare, message, injection)
        }
        Decision::Inject(injection) => {
            let message = "its gateway has outdated settings";
            (Reason::RollStale, message, injection)
        }
        Decision::Skip(skip) => return (skip.reason, skip.message, skip.app),
    };
    (reason, message.to_owned(), Some(injection.app.to_owned()))
}

/// Whether there is a workload that we can restart to replace the pod.
fn is_restarted(cluster: &Cluster, namespace: &str, pod: &PodFacts) -> bool {
    match &pod.shape.owner {
        Owner::Workload(workload) => cluster.workload(namespace, workload).is_some(),
        Owner::ReplicaSet | Owner::Job | Owner::Nobody | Owner::Other(_) => false,
    }
}

fn of_app(cluster: &Cluster, app: &App) -> Finding {
    let AppId { namespace, name } = &app.id;
    let claims = cluster.claims(namespace);
    let entrance = app
        .service()
        .and_then(|service| cluster.services.get(namespace, service));
    let Verdict { reason, message } = match claims.overruling(&app.id) {
        Some(by) => superseded(by),
        None => accept(Some(app), entrance.as_deref()),
    };
    let conditions = app.status.conditions.iter().map(|condition| Part {
        name: format!("{}={}", condition.type_, condition.status),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
    });
    let workloads = app.status.workloads.iter().map(|workload| Part {
        name: format!("{}/{}", workload.kind, workload.name),
        reason: workload.reason.clone(),
        message: workload.message.clone(),
    });
    Finding {
        object: format!("AppManifest/{name}"),
        reason,
        message,
        app: Some(name.clone()),
        identity: app.status.identity.clone(),
        parts: conditions.chain(workloads).collect(),
    }
}

//! When pods are replaced, and what keeps them from it: nothing is restarted that its owner holds.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use e2e::cluster::Namespace;
use e2e::command::kubectl;
use e2e::small::{Small, apply};
use e2e::wait::{Look, until};
use e2e::{app, manifest};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value as Json, json};

/// On a template that the operator rolled, and so on its pods.
pub(crate) const ROLLED_FOR: &str = "ws.olares.com/rolled-for";

/// Each of them starts bare, is asked for, and waits until its owner lets it be restarted.
pub(crate) async fn owners_hold_a_restart_back(namespace: Arc<Namespace>) -> Result<()> {
    // One that surges would disrupt nothing, and no budget would hold it back.
    let strategy = json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}});
    let guarded = Small::deployment("guarded").spec(json!({"strategy": strategy}));
    let paused = Small::deployment("paused");
    let told = Small::deployment("told");
    let on_delete = Small::new("StatefulSet", "on-delete")
        .spec(json!({"updateStrategy": {"type": "OnDelete"}}));
    let all = [
        (&guarded, "DisruptionBudget"),
        (&paused, "RolloutPaused"),
        (&told, "RolloutNotify"),
        (&on_delete, "RolloutOnDelete"),
    ];
    let budget = |least: u32| {
        let spec =
            json!({"minAvailable": least, "selector": {"matchLabels": {"small": "guarded"}}});
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "guarded"}, "spec": spec})
    };
    apply(&namespace, &[budget(1), autoscaler("guarded")])?;
    for (small, _) in all {
        small.start(&namespace)?;
    }
    let mut before = Vec::new();
    for (small, _) in all {
        before.push(running(&namespace, small, false).await?);
    }
    let on = |words: &[&str]| kubectl([&["-n", namespace.name.as_str()], words].concat());
    on(&["rollout", "pause", "deployment/paused"])?;
    let hpa = hpa(&namespace).await?;

    for (small, _) in all {
        let stanza = if small.name == told.name {
            json!({"rollout": "notify"})
        } else {
            json!({})
        };
        small.ask(&namespace, &stanza)?;
    }
    for (small, reason) in all {
        manifest::waits_with(&namespace, &small.name, reason).await?;
    }
    for ((small, reason), before) in all.iter().zip(&before) {
        let now = small.pods(&namespace).await?;
        ensure!(
            uids(&now) == uids(before),
            "{} was restarted in spite of {reason}",
            small.name
        );
    }
    let held = namespace.api::<Deployment>().get("guarded").await?;
    let template = held.spec.and_then(|spec| spec.template.metadata);
    ensure!(
        template.is_some_and(|metadata| metadata.annotations.is_none()),
        "its template was touched"
    );

    apply(&namespace, &[budget(0)])?;
    on(&["rollout", "resume", "deployment/paused"])?;
    on(&["rollout", "restart", "deployment/told"])?;
    on(&["delete", "pod", "on-delete-0", "--wait=false"])?;
    for (small, _) in all {
        running(&namespace, small, true).await?;
        manifest::wait_for(&namespace, &small.name, "Ready", "True").await?;
    }

    // An autoscaler goes on working: each container of the pod has requests.
    let pods = guarded.pods(&namespace).await?;
    let gateway = pods.first().and_then(app::gateway).context("no gateway")?;
    let requests = gateway
        .resources
        .as_ref()
        .and_then(|resources| resources.requests.clone());
    let requests = requests.unwrap_or_default();
    ensure!(
        requests.contains_key("cpu") && requests.contains_key("memory"),
        "{requests:?}"
    );
    ensure!(
        self::hpa(&namespace).await? == hpa,
        "the HorizontalPodAutoscaler was changed"
    );
    Ok(())
}

fn autoscaler(name: &str) -> serde_json::Value {
    let resource =
        json!({"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}});
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": 1, "maxReplicas": 2,
            "metrics": [{"type": "Resource", "resource": resource}],
        },
    })
}

/// What its author wrote, and who else wrote to it.
async fn hpa(namespace: &Namespace) -> Result<String> {
    let object = namespace
        .api::<HorizontalPodAutoscaler>()
        .get("guarded")
        .await?;
    let writers = serde_json::to_string(&object.metadata.managed_fields)?;
    ensure!(!writers.contains("ws-operator"), "{writers}");
    Ok(serde_json::to_string(&object.spec)?)
}

/// The settings ask for more than any node has, so that the new pod never runs: nothing more is
/// restarted, the old pod goes on, and settings that can be are rolled out over it.
pub(crate) async fn a_rollout_that_fails_stops_and_recovers(
    namespace: Arc<Namespace>,
) -> Result<()> {
    let small = Small::deployment("small").spec(json!({"progressDeadlineSeconds": 3}));
    small.start(&namespace)?;
    let before = running(&namespace, &small, false).await?;
    small.ask(
        &namespace,
        &json!({"resources": {"requests": {"cpu": "1000"}}}),
    )?;
    manifest::waits_with(&namespace, "small", "RolloutFailed").await?;
    let object = manifest::get(&namespace, "small").await?;
    let ready = manifest::condition(&object, "Ready").context("no condition")?;
    ensure!(ready["reason"] == "RolloutFailed", "{ready}");
    let now = small.pods(&namespace).await?;
    ensure!(
        before
            .iter()
            .all(|old| now.iter().any(|pod| pod.uid() == old.uid())),
        "the pod that worked is gone"
    );
    let rolled = rollout(&namespace).await?;

    small.ask(&namespace, &json!({}))?;
    running(&namespace, &small, true).await?;
    manifest::wait_for(&namespace, "small", "Ready", "True").await?;
    ensure!(
        !rolled.contains('.'),
        "the failed rollout was repeated: {rolled}"
    );
    Ok(())
}

/// Its pods would come up without the gateway, however often they are restarted.
pub(crate) async fn a_disabled_namespace_is_left_alone(namespace: Arc<Namespace>) -> Result<()> {
    let label = |label: &str| kubectl(["label", "namespace", &namespace.name, label]);
    label("ws.olares.com/injection=disabled")?;
    let small = Small::deployment("small");
    small.start(&namespace)?;
    let before = running(&namespace, &small, false).await?;
    small.ask(&namespace, &json!({}))?;
    manifest::waits_with(&namespace, "small", "NamespaceDisabled").await?;
    let now = running(&namespace, &small, false).await?;
    ensure!(uids(&before) == uids(&now), "restarted all the same");

    label("ws.olares.com/injection-")?;
    running(&namespace, &small, true).await.map(drop)
}

/// Here because somebody took the namespace out of the webhook's configuration, of which the
/// operator knows nothing: its pods come up bare again.
pub(crate) async fn a_roll_that_does_not_help_is_not_repeated_at_once(
    namespace: Arc<Namespace>,
) -> Result<()> {
    let values = "/webhooks/0/namespaceSelector/matchExpressions/0/values";
    let patch = |patch: Json| {
        let patch = format!("--patch={patch}");
        let what = ["patch", "mutatingwebhookconfiguration", "ws-operator"];
        kubectl(what.into_iter().chain(["--type=json", &patch]))
    };
    patch(json!([{"op": "add", "path": format!("{values}/0"), "value": namespace.name}]))?;
    let small = Small::deployment("small");
    small.start(&namespace)?;
    let before = running(&namespace, &small, false).await?;
    small.ask(&namespace, &json!({}))?;
    manifest::waits_with(&namespace, "small", "RepairBackoff").await?;
    let after = running(&namespace, &small, false).await?;
    ensure!(uids(&before) != uids(&after), "never restarted");
    let rolled = rollout(&namespace).await?;
    ensure!(!rolled.contains('.'), "restarted twice: {rolled}");

    let first = format!("{values}/0");
    patch(json!([
        {"op": "test", "path": first, "value": namespace.name},
        {"op": "remove", "path": first},
    ]))?;
    running(&namespace, &small, true).await?;
    let rolled = rollout(&namespace).await?;
    ensure!(rolled.ends_with(".1"), "not the second attempt: {rolled}");
    Ok(())
}

/// What rolled the Deployment `small` last.
pub(crate) async fn rollout(namespace: &Namespace) -> Result<String> {
    let object = namespace.api::<Deployment>().get("small").await?;
    let template = object.spec.and_then(|spec| spec.template.metadata);
    let annotations = template.and_then(|metadata| metadata.annotations);
    annotations
        .and_then(|mut annotations| annotations.remove(ROLLED_FOR))
        .context("never rolled")
}

/// Waits until all of its pods are ready, with or without a gateway.
pub(crate) async fn running(
    namespace: &Namespace,
    small: &Small,
    gateway: bool,
) -> Result<Vec<Pod>> {
    let what = format!("{} to be ready with a gateway: {gateway}", small.name);
    until(&what, || async {
        let pods = small.pods(namespace).await?;
        let fits = |pod: &Pod| app::is_ready(pod) && app::gateway(pod).is_some() == gateway;
        let all = !pods.is_empty() && pods.iter().all(fits);
        let seen: Vec<_> = pods
            .iter()
            .map(|pod| (pod.name_any(), pod.status.clone()))
            .collect();
        Ok(Look::when(all, pods, format!("{seen:?}")))
    })
    .await
}

fn uids(pods: &[Pod]) -> Vec<Option<String>> {
    let mut uids: Vec<_> = pods.iter().map(ResourceExt::uid).collect();
    uids.sort();
    uids
}

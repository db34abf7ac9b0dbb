//! Where the API server does not take a pod with the gateway, the app runs on without it.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use e2e::cluster::Namespace;
use e2e::command::{kubectl, run};
use e2e::operator;
use e2e::small::{Small, apply};
use e2e::wait::{Look, until};
use e2e::{app, manifest};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value as Json, json};

use crate::rollouts::running;

/// Of each kind that has no pod left while its only one is replaced.
fn without_surge() -> [Small; 4] {
    let bounded = json!({"resources": {"limits": {"cpu": "100m"}}});
    let recreate = json!({"strategy": {"type": "Recreate"}});
    let surgeless = json!({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}});
    [
        Small::new("StatefulSet", "stateful"),
        Small::new("DaemonSet", "daemon"),
        Small::deployment("recreate").spec(recreate),
        Small::deployment("surgeless").spec(surgeless),
    ]
    .map(|small| small.container(bounded.clone()))
}

/// It is known before, so nothing is restarted; and as it goes, the gateway comes.
pub(crate) async fn a_quota_that_the_gateway_does_not_meet(
    namespace: Arc<Namespace>,
) -> Result<()> {
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"},
        "spec": {"hard": {"limits.cpu": "4"}},
    });
    apply(&namespace, &[quota])?;
    let all = without_surge();
    let mut before = Vec::new();
    for small in &all {
        small.start(&namespace)?;
    }
    for small in &all {
        before.extend(uids(&running(&namespace, small, false).await?));
        small.ask(&namespace, &json!({}))?;
    }
    // Its manifest is there before its pods: it starts all the same.
    let fresh = Small::new("StatefulSet", "fresh")
        .container(json!({"resources": {"limits": {"cpu": "100m"}}}));
    fresh.ask(&namespace, &json!({}))?;
    fresh.start(&namespace)?;
    let mut now = Vec::new();
    for small in &all {
        manifest::waits_with(&namespace, &small.name, "Quota").await?;
        now.extend(uids(&running(&namespace, small, false).await?));
    }
    ensure!(before == now, "restarted: {before:?}, {now:?}");
    running(&namespace, &fresh, false).await?;
    let told = operator::explain(&namespace.name, "sts/stateful")?;
    ensure!(told["reason"] == "Quota", "{told}");
    ensure!(
        told["message"]
            .as_str()
            .is_some_and(|words| words.contains("limits.cpu")),
        "{told}"
    );

    kubectl(["-n", &namespace.name, "delete", "resourcequota", "q"])?;
    for small in all.iter().chain([&fresh]) {
        running(&namespace, small, true).await?;
    }
    Ok(())
}

/// Nobody can know it before. The app is whole again at once, and is not restarted again.
pub(crate) async fn a_policy_that_refuses_the_gateway(namespace: Arc<Namespace>) -> Result<()> {
    let all = without_surge();
    let mut before = Vec::new();
    for small in &all {
        small.start(&namespace)?;
    }
    for small in &all {
        before.push(uids(&running(&namespace, small, false).await?));
    }
    let policy = refuse_gateways(&namespace).await?;
    for small in &all {
        small.ask(&namespace, &json!({}))?;
    }
    for (small, before) in all.iter().zip(&before) {
        manifest::waits_with(&namespace, &small.name, "PodsRefused").await?;
        let now = uids(&running(&namespace, small, false).await?);
        ensure!(now != *before, "{} was never tried", small.name);
    }
    let object = manifest::get(&namespace, "stateful").await?;
    let status = object
        .data
        .get("status")
        .map(Json::to_string)
        .unwrap_or_default();
    ensure!(
        status.contains("no gateways here"),
        "not the API server's words: {status}"
    );
    let told = operator::explain(&namespace.name, "sts/stateful")?;
    ensure!(told["reason"] == "PodsRefused", "{told}");
    let remedy = told["remedy"].as_str().unwrap_or_default();
    ensure!(remedy.contains("olares-ws-sidecar"), "{told}");

    for kind in [
        "validatingadmissionpolicybinding",
        "validatingadmissionpolicy",
    ] {
        kubectl(["delete", kind, &policy])?;
    }
    until("a pod with the gateway to be taken", || async {
        Ok(Look::when(probe(&namespace).is_ok(), (), "refused"))
    })
    .await?;
    for (small, kind) in all
        .iter()
        .zip(["statefulset", "daemonset", "deployment", "deployment"])
    {
        let what = format!("{kind}/{}", small.name);
        let rolled = kubectl(["-n", &namespace.name, "get", &what, "-o", ROLLED])?;
        ensure!(!rolled.contains('.'), "restarted twice: {rolled}");
        kubectl(["-n", &namespace.name, "rollout", "restart", &what])?;
    }
    for small in &all {
        running(&namespace, small, true).await?;
    }
    Ok(())
}

const ROLLED: &str = "jsonpath={.spec.template.metadata.annotations.ws\\.olares\\.com/rolled-for}";

/// What can be met is met.
pub(crate) async fn what_a_namespace_demands_of_resources(namespace: Arc<Namespace>) -> Result<()> {
    let whole = json!({"resources": {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}});
    let whole = Small::new("StatefulSet", "whole").pod(whole);
    let windows =
        Small::deployment("windows").pod(json!({"nodeSelector": {"kubernetes.io/os": "windows"}}));
    for small in [&whole, &windows] {
        small.ask(&namespace, &json!({}))?;
        small.start(&namespace)?;
    }
    let pods = running(&namespace, &whole, true).await?;
    let gateway = app::gateway(&pods[0]).context("no gateway")?;
    let own = serde_json::to_value(&gateway.resources)?;
    ensure!(
        own.get("requests").is_none() && own.get("limits").is_none(),
        "{own}"
    );
    manifest::waits_with(&namespace, "windows", "Windows").await?;

    let bounds = json!({
        "type": "Container",
        "min": {"cpu": "50m"}, "max": {"memory": "128Mi"}, "maxLimitRequestRatio": {"memory": "4"},
        "default": {"cpu": "200m", "memory": "64Mi"}, "defaultRequest": {"cpu": "50m", "memory": "32Mi"},
    });
    let range = json!({
        "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "r"}, "spec": {"limits": [bounds]},
    });
    apply(&namespace, &[range])?;
    let small = Small::new("StatefulSet", "bounded");
    small.start(&namespace)?;
    running(&namespace, &small, false).await?;
    small.ask(&namespace, &json!({}))?;
    let pods = running(&namespace, &small, true).await?;
    let gateway = app::gateway(&pods[0]).context("no gateway")?;
    let own = serde_json::to_value(&gateway.resources)?;
    let expected = json!({"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": "200m", "memory": "128Mi"}});
    ensure!(
        own["requests"] == expected["requests"] && own["limits"] == expected["limits"],
        "{own}"
    );
    Ok(())
}

/// A gateway that was put in before, as for GitOps: the webhook leaves another image as it is.
pub(crate) async fn an_image_that_the_node_does_not_get(namespace: Arc<Namespace>) -> Result<()> {
    let small = Small::new("StatefulSet", "unpulled");
    small.ask(&namespace, &json!({}))?;
    let objects = [
        small.manifest(&json!({})),
        small.service(),
        small.workload(),
    ];
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(
        file.path(),
        objects.map(|one| one.to_string()).join("\n---\n"),
    )?;
    let path = file.path().display().to_string();
    let image = "--gateway-image=127.0.0.1:9/ws-gateway:1";
    let words = ["inject", image, "--gateway-pull-secrets=hub", path.as_str()];
    namespace.apply(&run(&operator::program()?, words)?)?;
    manifest::waits_with(&namespace, "unpulled", "GatewayImage").await?;
    let missing = format!(
        "not found in the namespace {}: the Secret hub",
        namespace.name
    );
    until("the Secret to be named", || async {
        let told = operator::explain(&namespace.name, "sts/unpulled")?;
        let object = manifest::get(&namespace, "unpulled").await?;
        let status = object.data.get("status").map(Json::to_string);
        let status = status.unwrap_or_default();
        let named = [&status, &told["message"].to_string()]
            .iter()
            .all(|words| words.contains(&missing));
        Ok(Look::when(named, (), format!("{status}; {told}")))
    })
    .await?;
    let told = operator::explain(&namespace.name, "sts/unpulled")?;
    ensure!(told["reason"] == "GatewayImage", "{told}");
    let remedy = told["remedy"].as_str().unwrap_or_default();
    ensure!(remedy.contains("gateway.image.pullSecrets"), "{told}");
    let place = [
        "-n",
        &namespace.name,
        "get",
        "events",
        "-o",
        "jsonpath={.items[*].reason}",
    ];
    let events = kubectl(place)?;
    ensure!(events.contains("GatewayImage"), "{events}");
    Ok(())
}

/// Waits until the API server takes no pod with a gateway there. The name of the policy.
async fn refuse_gateways(namespace: &Namespace) -> Result<String> {
    let name = format!("no-gateways-{}", namespace.name);
    let rule = json!({
        "expression": "object.spec.containers.all(one, one.name != 'olares-ws-sidecar')",
        "message": "no gateways here",
    });
    let pods = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]});
    let there = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace.name}});
    let group = "admissionregistration.k8s.io/v1";
    let policy = json!({
        "apiVersion": group, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
        "spec": {"matchConstraints": {"resourceRules": [pods]}, "validations": [rule]},
    });
    let binding = json!({
        "apiVersion": group, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": there}},
    });
    let file = tempfile::NamedTempFile::new()?;
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [policy, binding]});
    std::fs::write(file.path(), list.to_string())?;
    kubectl(["apply", "-f", &file.path().display().to_string()])?;
    until("the policy to refuse a gateway", || async {
        let refused =
            probe(namespace).is_err_and(|error| format!("{error:#}").contains("no gateways here"));
        Ok(Look::when(refused, (), "taken"))
    })
    .await?;
    Ok(name)
}

/// A pod with a container of that name, for the show.
fn probe(namespace: &Namespace) -> Result<String> {
    let mut pod = Small::deployment("probe").template();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!("probe");
    pod["spec"]["containers"][0]["name"] = json!("olares-ws-sidecar");
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), pod.to_string())?;
    let path = file.path().display().to_string();
    kubectl([
        "-n",
        &namespace.name,
        "create",
        "--dry-run=server",
        "-f",
        &path,
    ])
}

fn uids(pods: &[Pod]) -> Vec<Option<String>> {
    let mut uids: Vec<_> = pods.iter().map(ResourceExt::uid).collect();
    uids.sort();
    uids
}

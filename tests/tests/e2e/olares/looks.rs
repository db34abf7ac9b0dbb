//! What there is to see of the app.

use anyhow::{Context, Result, ensure};
use e2e::client::Client;
use e2e::cluster::Namespace;
use e2e::wait::{Look, until};
use e2e::{app, manifest};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt;
use kube::api::{DynamicObject, ListParams};

const REVISION: &str = "deployment.kubernetes.io/revision";

/// Waits until the app's one pod is of that revision, ready, and has these containers, in any order.
pub(super) async fn all_have(namespace: &Namespace, revision: i64, names: &[&str]) -> Result<Pod> {
    let mut names = names.to_vec();
    names.sort_unstable();
    until(&format!("revision {revision} with {names:?}"), || async {
        let labels = format!("app={},pod-template-hash", app::APP);
        let labels = ListParams::default().labels(&labels);
        let mut pods = namespace.api::<Pod>().list(&labels).await?.items;
        let (Some(pod), true) = (pods.pop(), pods.is_empty()) else {
            return Ok(Look::NotYet(format!("{} pods and one", pods.len())));
        };
        let mut found = containers(&pod);
        found.sort_unstable();
        let made_by = pod.owner_references().first().context("no owner")?;
        let made_by: ReplicaSet = namespace.api().get(&made_by.name).await?;
        let now = &made_by.annotations()[REVISION];
        let there = *now == revision.to_string() && found == names && app::is_ready(&pod);
        let seen = format!("{found:?} in revision {now}");
        Ok(Look::when(there, pod, seen))
    })
    .await
}

pub(super) fn containers(pod: &Pod) -> Vec<String> {
    let spec = pod.spec.iter().flat_map(|spec| &spec.containers);
    spec.map(|container| container.name.clone()).collect()
}

pub(super) async fn greets(url: &str) -> Result<()> {
    let mut ann = Client::connect(url, "ann", "nick=Annie").await?;
    let hello = ann.event("hello").await?;
    ensure!(hello["data"] == "hello, Annie", "{hello}");
    Ok(())
}

pub(super) async fn condition(
    namespace: &Namespace,
    kind: &str,
    reason: &str,
) -> Result<DynamicObject> {
    until(&format!("{kind} to be {reason}"), || async {
        let object = manifest::get(namespace, app::APP).await?;
        let found = manifest::condition(&object, kind).context("no condition")?;
        let seen = found.to_string();
        Ok(Look::when(found["reason"] == reason, object, seen))
    })
    .await
}

pub(super) async fn leads_to(namespace: &Namespace, target: &str) -> Result<()> {
    let service: Service = namespace.api().get(app::APP).await?;
    let service = serde_json::to_value(service)?;
    let found = &service["spec"]["ports"][0]["targetPort"];
    ensure!(
        found == target,
        "the entrance leads to {found}, not to {target}"
    );
    Ok(())
}

/// Nobody but the test restarts the app.
pub(super) async fn no_restart(namespace: &Namespace, expected: i64) -> Result<()> {
    let found = revision(namespace).await?;
    ensure!(found == expected, "revision {found} instead of {expected}");
    Ok(())
}

pub(super) async fn revision(namespace: &Namespace) -> Result<i64> {
    let deployment: Deployment = namespace.api().get(app::APP).await?;
    Ok(deployment.annotations()[REVISION].parse()?)
}

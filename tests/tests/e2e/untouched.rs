//! An app without the stanza is none of the operator's business.

use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, ensure};
use e2e::cluster::Namespace;
use e2e::{app, chart};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

/// The app as it was before there was an operator.
static BEFORE: OnceLock<(String, Vec<Json>)> = OnceLock::new();

/// Installs the app while no operator is there.
pub(crate) async fn prepare() -> Result<()> {
    let namespace = Namespace::create("e2e-before").await?;
    let objects = install(&namespace).await?;
    BEFORE
        .set((namespace.name, objects))
        .ok()
        .context("prepared twice")
}

pub(crate) async fn an_app_without_the_stanza(namespace: Arc<Namespace>) -> Result<()> {
    let (earlier, before) = BEFORE.get().context("not prepared")?;
    let earlier = Namespace::of(earlier).await?;
    let after = objects(&earlier).await?;
    for (before, after) in before.iter().zip(&after) {
        ensure!(
            before == after,
            "the operator came and changed\n{before}\nto\n{after}"
        );
    }
    for (before, now) in before.iter().zip(&install(&namespace).await?) {
        let (before, now) = (nameless(before), nameless(now));
        ensure!(
            before == now,
            "without the operator it was\n{before}\nwith it\n{now}"
        );
    }
    earlier.delete().await
}

async fn install(namespace: &Namespace) -> Result<Vec<Json>> {
    let plain = chart::edited(chart::without_stanza)?;
    chart::install(namespace, plain.path())?;
    app::ready_pods(namespace).await?;
    objects(namespace).await
}

/// Everything that the app is made of. What Kubernetes itself goes on writing is left out:
/// the status, and with it the version and the list of writers.
async fn objects(namespace: &Namespace) -> Result<Vec<Json>> {
    let mut all = list::<Deployment>(namespace).await?;
    all.extend(list::<Service>(namespace).await?);
    all.extend(list::<Pod>(namespace).await?);
    for object in &mut all {
        let writers = object["metadata"]["managedFields"].to_string();
        ensure!(
            !writers.contains("ws-operator"),
            "the operator wrote to {object}"
        );
        object
            .as_object_mut()
            .context("no object")?
            .remove("status");
        let metadata = object["metadata"].as_object_mut().context("no metadata")?;
        metadata.remove("managedFields");
        metadata.remove("resourceVersion");
        // Bumped by the controller that notes its progress there.
        if let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Json::as_object_mut)
        {
            annotations.remove("deployment.kubernetes.io/revision");
        }
    }
    Ok(all)
}

async fn list<T>(namespace: &Namespace) -> Result<Vec<Json>>
where
    T: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Serialize,
    T::DynamicType: Default,
{
    let items = namespace
        .api::<T>()
        .list(&kube::api::ListParams::default())
        .await?
        .items;
    items
        .iter()
        .map(|item| Ok(serde_json::to_value(item)?))
        .collect()
}

/// Without what is another in every namespace.
fn nameless(object: &Json) -> Json {
    let mut object = object.clone();
    for key in [
        "namespace",
        "name",
        "uid",
        "creationTimestamp",
        "ownerReferences",
    ] {
        object["metadata"][key] = Json::Null;
    }
    if object["metadata"]["annotations"].is_object() {
        object["metadata"]["annotations"]["meta.helm.sh/release-namespace"] = Json::Null;
    }
    for key in ["clusterIP", "clusterIPs"] {
        object["spec"][key] = Json::Null;
    }
    object
}

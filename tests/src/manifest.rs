//! An AppManifest as the operator reports on it.

use anyhow::{Context, Result};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use serde_json::Value as Json;

use crate::cluster::Namespace;
use crate::wait::{Look, until};

/// The AppManifest `name`, read without the operator's own types: as any other client sees it.
pub async fn get(namespace: &Namespace, name: &str) -> Result<DynamicObject> {
    api(namespace)
        .get(name)
        .await
        .with_context(|| format!("AppManifest {name}"))
}

/// The status of every AppManifest of the namespace.
pub async fn all(namespace: &Namespace) -> Result<Vec<Json>> {
    let all = api(namespace).list(&ListParams::default()).await?.items;
    Ok(all
        .into_iter()
        .map(|object| object.data.get("status").cloned().unwrap_or_default())
        .collect())
}

pub fn api(namespace: &Namespace) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("ws.olares.com", "v1alpha1", "AppManifest");
    let resource = ApiResource::from_gvk_with_plural(&kind, "appmanifests");
    Api::namespaced_with(namespace.client.clone(), &namespace.name, &resource)
}

/// The condition of that type.
pub fn condition<'a>(object: &'a DynamicObject, kind: &str) -> Option<&'a Json> {
    let conditions = object.data.pointer("/status/conditions")?.as_array()?;
    conditions
        .iter()
        .find(|condition| condition["type"] == kind)
}

/// Waits until the status is about the present spec and the condition has that value.
pub async fn wait_for(
    namespace: &Namespace,
    name: &str,
    kind: &str,
    status: &str,
) -> Result<DynamicObject> {
    wait_until(namespace, name, &format!("{kind}={status}"), |object| {
        condition(object, kind).is_some_and(|condition| condition["status"] == status)
    })
    .await
}

/// Waits until the status is about the present spec and is as wanted.
pub async fn wait_until(
    namespace: &Namespace,
    name: &str,
    what: &str,
    wanted: impl Fn(&DynamicObject) -> bool,
) -> Result<DynamicObject> {
    until(&format!("AppManifest {name} to be {what}"), || async {
        let object = get(namespace, name).await?;
        let observed = object
            .data
            .pointer("/status/observedGeneration")
            .and_then(Json::as_i64);
        let holds = observed == object.metadata.generation && wanted(&object);
        let seen = object
            .data
            .get("status")
            .map_or_else(|| "no status".to_owned(), Json::to_string);
        Ok(Look::when(holds, object, seen))
    })
    .await
}

/// Waits until the status gives that reason for one of the app's workloads or pods.
pub async fn waits_with(namespace: &Namespace, name: &str, reason: &str) -> Result<()> {
    until(&format!("AppManifest {name} to say {reason}"), || async {
        let object = get(namespace, name).await?;
        let status = object.data.get("status").cloned().unwrap_or_default();
        let workloads = status["workloads"].as_array();
        let told = workloads.is_some_and(|all| all.iter().any(|one| one["reason"] == reason));
        Ok(Look::when(told, (), status))
    })
    .await
}

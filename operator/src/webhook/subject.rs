//! The object that an Event about a review is on.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value as Json;

use crate::cluster::Cluster;
use crate::shape::Owner;

/// What a review is of.
pub(super) struct Subject<'a> {
    pub(super) api_version: &'a str,
    pub(super) kind: &'a str,
    pub(super) namespace: &'a str,
    pub(super) metadata: &'a ObjectMeta,
}

impl Subject<'_> {
    /// Its owner, as a new pod has no uid, and perhaps no name; itself where nothing owns it.
    pub(super) fn reference(&self, cluster: &Cluster) -> Option<ObjectReference> {
        let Self {
            api_version,
            kind,
            namespace,
            metadata,
        } = *self;
        if let Owner::Workload(workload) = Owner::of(metadata)
            && let Some(facts) = cluster.workload(namespace, &workload)
        {
            return Some(facts.reference(namespace));
        }
        let mut owners = metadata.owner_references.iter().flatten();
        if let Some(owner) = owners.find(|owner| owner.controller == Some(true)) {
            return Some(ObjectReference {
                api_version: Some(owner.api_version.clone()),
                kind: Some(owner.kind.clone()),
                name: Some(owner.name.clone()),
                namespace: Some(namespace.to_owned()),
                uid: Some(owner.uid.clone()),
                ..ObjectReference::default()
            });
        }
        Some(ObjectReference {
            api_version: Some(api_version.to_owned()),
            kind: Some(kind.to_owned()),
            name: Some(metadata.name.clone()?),
            namespace: Some(namespace.to_owned()),
            ..ObjectReference::default()
        })
    }
}

/// What an unanswerable review is of, as far as that can be read; `None` where it cannot, or the
/// object will not come to be.
pub(super) fn of_anything(body: &[u8], cluster: &Cluster) -> Option<ObjectReference> {
    let review: Json = serde_json::from_slice(body).ok()?;
    let request = review.get("request")?;
    if !matches!(
        request.get("dryRun"),
        None | Some(Json::Null | Json::Bool(false))
    ) {
        return None;
    }
    let object = request.get("object")?;
    let text = |value: &'_ Json, key| Some(value.get(key)?.as_str()?.to_owned());
    let metadata = serde_json::from_value(object.get("metadata")?.clone()).ok()?;
    Subject {
        api_version: &text(object, "apiVersion")?,
        kind: &text(object, "kind")?,
        namespace: &text(request, "namespace")?,
        metadata: &metadata,
    }
    .reference(cluster)
}

//! The Secrets with which the gateway's image is pulled: they are the pod's, as containers have none
//! of their own. Which of them are by our doing is noted on the pod, so that the way back takes none
//! of the app's.

use k8s_openapi::api::core::v1::{LocalObjectReference, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::names;

/// Adds those that the pod lacks, in place of those that were added for an older gateway.
pub(super) fn add(metadata: &mut ObjectMeta, spec: &mut PodSpec, wanted: &[String]) {
    let mut ours = noted(metadata);
    let secrets = spec.image_pull_secrets.get_or_insert_default();
    secrets.retain(|secret| !ours.contains(&secret.name) || wanted.contains(&secret.name));
    ours.retain(|name| secrets.iter().any(|secret| secret.name == *name));
    for name in wanted {
        if secrets.iter().all(|secret| secret.name != *name) {
            secrets.push(LocalObjectReference { name: name.clone() });
            ours.push(name.clone());
        }
    }
    spec.image_pull_secrets.take_if(|all| all.is_empty());
    let annotations = metadata.annotations.get_or_insert_default();
    if ours.is_empty() {
        annotations.remove(names::PULLS);
    } else {
        annotations.insert(names::PULLS.to_owned(), ours.join(","));
    }
}

/// Takes them out again.
pub(super) fn release(metadata: &mut ObjectMeta, spec: &mut PodSpec) {
    add(metadata, spec, &[]);
}

/// What has to be removed of a pod as it was sent to us, as JSON pointers, from the end, as what is
/// behind moves up.
pub(super) fn paths(metadata: &ObjectMeta, spec: &PodSpec) -> Vec<String> {
    let ours = noted(metadata);
    let secrets = spec.image_pull_secrets.iter().flatten().enumerate();
    let paths = secrets
        .filter(|(_, secret)| ours.contains(&secret.name))
        .map(|(index, _)| format!("/spec/imagePullSecrets/{index}"));
    let mut paths: Vec<String> = paths.collect();
    paths.reverse();
    paths
}

fn noted(metadata: &ObjectMeta) -> Vec<String> {
    let annotations = metadata.annotations.as_ref();
    let noted = annotations.and_then(|all| all.get(names::PULLS));
    let names = noted.into_iter().flat_map(|names| names.split(','));
    names.map(str::to_owned).collect()
}

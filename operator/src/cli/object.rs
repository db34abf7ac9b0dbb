//! Kubernetes objects as they stand in files: of any kind, right or wrong.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value as Json};

use crate::names;
use crate::shape::{Owner, Workload, WorkloadKind};

/// Where pods are described, as steps into the object.
const TEMPLATE: &[&str] = &["spec", "template"];
const JOB_TEMPLATE: &[&str] = &["spec", "jobTemplate", "spec", "template"];

/// Why a pod template is not understood.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.join("."))]
pub(super) struct Odd {
    /// Steps from the object to the field.
    pub(super) path: Vec<String>,
    source: serde_json::Error,
}

/// What an object says that makes pods, and what it is.
pub(super) struct PodMaker<'a> {
    pub(super) kind: &'a str,
    pub(super) name: &'a str,
    pub(super) owner: Owner,
    /// Steps to the pod that it describes.
    pub(super) path: &'static [&'static str],
    pod: &'a Json,
}

pub(super) fn kind(object: &Json) -> &str {
    text(object, "/kind")
}

/// Whether it is of that API group; the core group is empty. An object that names none is taken by
/// its kind.
fn is_of(object: &Json, wanted: &str) -> bool {
    let Some(version) = object.get("apiVersion").and_then(Json::as_str) else {
        return true;
    };
    version.split_once('/').map_or("", |(group, _)| group) == wanted
}

pub(super) fn name(object: &Json) -> &str {
    text(object, "/metadata/name")
}

pub(super) fn is(object: &Json, group: &str, wanted: &str) -> bool {
    kind(object) == wanted && is_of(object, group)
}

pub(super) fn namespace<'a>(object: &'a Json, default: &'a str) -> &'a str {
    match text(object, "/metadata/namespace") {
        "" => default,
        named => named,
    }
}

/// One that can be restarted.
pub(super) fn workload(object: &Json) -> Option<Workload> {
    let kind = WorkloadKind::of(kind(object)).filter(|_| is_of(object, "apps"))?;
    let name = object.pointer("/metadata/name")?.as_str()?.to_owned();
    Some(Workload { kind, name })
}

/// `None`: it makes no pods, as far as can be seen.
pub(super) fn pod_maker(object: &Json) -> Option<PodMaker<'_>> {
    let is_pod = is(object, "", "Pod");
    let path = if is_pod {
        &[]
    } else if is(object, "batch", "CronJob") {
        JOB_TEMPLATE
    } else {
        TEMPLATE
    };
    let pod = path
        .iter()
        .try_fold(object, |value, step| value.get(step))?;
    let has_containers = pod.pointer("/spec/containers").is_some_and(Json::is_array);
    let workload = workload(object);
    if !has_containers && workload.is_none() {
        return None;
    }
    let owner = match workload {
        Some(workload) => Owner::Workload(workload),
        None if is_pod => Owner::Nobody,
        None if is(object, "apps", "ReplicaSet") => Owner::ReplicaSet,
        None if is_of(object, "batch") => Owner::Job,
        None => Owner::Other(kind(object).to_owned()),
    };
    Some(PodMaker {
        kind: kind(object),
        name: name(object),
        owner,
        path,
        pod,
    })
}

impl PodMaker<'_> {
    /// The pod that it describes.
    pub(super) fn pod(&self) -> Result<Pod, Odd> {
        serde_path_to_error::deserialize(self.pod).map_err(|error| {
            let field = error.path().to_string();
            let field = field.replace('[', ".").replace(']', "");
            let steps = self.path.iter().copied().chain(field.split('.'));
            Odd {
                path: steps.map(str::to_owned).collect(),
                source: error.into_inner(),
            }
        })
    }

    /// The pod's labels and annotations, as far as they are texts.
    pub(super) fn metadata(&self) -> ObjectMeta {
        let texts = |pointer| {
            let found = self.pod.pointer(pointer).and_then(Json::as_object);
            let entries = found.into_iter().flatten();
            let texts = entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?)));
            Some(texts.map(|(key, value)| (key, value.to_owned())).collect())
        };
        ObjectMeta {
            labels: texts("/metadata/labels"),
            annotations: texts("/metadata/annotations"),
            ..ObjectMeta::default()
        }
    }
}

/// Labels and annotations of ours that mean nothing where they stand: steps to the place, and what
/// is wrong. People err here most, and nothing else would tell them.
pub(super) fn mislaid(object: &Json) -> Vec<(Vec<&'static str>, String)> {
    let Some(maker) = pod_maker(object) else {
        return Vec::new();
    };
    let at = |map: &'static str| maker.pod.pointer(map).and_then(Json::as_object);
    let empty = Map::new();
    let [labels, annotations] =
        ["/metadata/labels", "/metadata/annotations"].map(|map| at(map).unwrap_or(&empty));
    let within = |map| [maker.path, &["metadata", map]].concat();
    let label = names::INJECT;
    let whole = within("labels").join(".");
    let mut found = Vec::new();
    match labels.get(label) {
        Some(Json::String(_)) | None => {}
        Some(other) => {
            let wrong = format!("label {label}: {other} is not a text; write \"true\" with quotes");
            found.push((within("labels"), wrong));
        }
    }
    if let Some(value) = labels.get(label) {
        if value != "false" && !matches!(maker.owner, Owner::Workload(_)) {
            let wrong = format!(
                "label {label} asks for nothing on a {}: only a Deployment, StatefulSet or DaemonSet of apps/v1 can ask by it",
                maker.kind
            );
            found.push((within("labels"), wrong));
        }
        return found;
    }
    if annotations
        .get(label)
        .is_some_and(|value| value != "false" && value != &Json::Bool(false))
    {
        let wrong = format!("annotation {label} asks for nothing: it is a label, of {whole}");
        found.push((within("annotations"), wrong));
    }
    if maker.path.is_empty() {
        return found;
    }
    for (map, what, name) in [
        ("labels", "label", label),
        ("annotations", "annotation", label),
        ("annotations", "annotation", names::CALLBACK),
    ] {
        let own = object.pointer(&format!("/metadata/{map}"));
        if own.is_some_and(|own| own.get(name).is_some()) {
            let wrong = format!(
                "{what} {name} asks for nothing here: the pods' own count, {whole}.{label} and {}",
                within("annotations").join(".")
            );
            found.push((vec!["metadata", map], wrong));
        }
    }
    found
}

fn text<'a>(object: &'a Json, pointer: &str) -> &'a str {
    let found = object.pointer(pointer).and_then(Json::as_str);
    found.unwrap_or_default()
}

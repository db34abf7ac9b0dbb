//! What makes more of a workload's pods by itself: HorizontalPodAutoscalers, and ScaledObjects of KEDA.

use serde_json::Value as Json;

use crate::cli::object;
use crate::shape::{Workload, WorkloadKind};

/// What KEDA takes where a ScaledObject does not say.
const KEDA_MOST: i64 = 100;

pub(super) struct Scaler {
    who: String,
    /// File and document.
    place: String,
    namespace: Option<String>,
    workload: Workload,
    most: i64,
}

impl Scaler {
    /// `None`: it is none, or of something that gets no gateway.
    pub(super) fn read(object: &Json, place: &str) -> Option<Self> {
        let target = object.pointer("/spec/scaleTargetRef")?;
        let number = |pointer| object.pointer(pointer).and_then(Json::as_i64);
        let (kind, most) = if object::is(object, "autoscaling", "HorizontalPodAutoscaler") {
            (target.get("kind")?.as_str()?, number("/spec/maxReplicas")?)
        } else if object::is(object, "keda.sh", "ScaledObject") {
            let kind = target.get("kind").and_then(Json::as_str);
            let most = number("/spec/maxReplicaCount").unwrap_or(KEDA_MOST);
            (kind.unwrap_or(WorkloadKind::Deployment.as_str()), most)
        } else {
            return None;
        };
        let group = target.get("apiVersion").and_then(Json::as_str);
        if group.is_some_and(|version| !version.starts_with("apps/")) {
            return None;
        }
        Some(Self {
            who: format!("{}/{}", object::kind(object), object::name(object)),
            place: place.to_owned(),
            namespace: named(object),
            workload: Workload {
                kind: WorkloadKind::of(kind)?,
                name: target.get("name")?.as_str()?.to_owned(),
            },
            most,
        })
    }

    /// That it may make several pods of the workload.
    pub(super) fn several(&self, workload: &Workload, namespace: Option<&str>) -> Option<String> {
        let Self {
            who, place, most, ..
        } = self;
        // Helm's templates name it here and leave it out there.
        let elsewhere = self.namespace.as_deref().zip(namespace);
        let elsewhere = elsewhere.is_some_and(|(own, other)| own != other);
        (self.workload == *workload && !elsewhere && *most > 1)
            .then(|| format!("{workload} may get {most} replicas by {who} ({place})"))
    }
}

/// The namespace that an object names.
pub(super) fn named(object: &Json) -> Option<String> {
    match object::namespace(object, "") {
        "" => None,
        named => Some(named.to_owned()),
    }
}

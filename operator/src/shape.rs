//! What decides about a pod, and nothing else: read from a pod, or from a workload's template.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use stanza::env;

use crate::ask;
use crate::injection::{Mesh, Neighbours, hash};
use crate::names;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    pub labels: BTreeMap<String, String>,
    pub owner: Owner,
    pub gateway: Gateway,
    pub opted_out: bool,
    pub host_network: bool,
    /// A gateway port that another container of the pod declares.
    pub clash: Option<u16>,
    /// The platform's Envoy captures what comes into the pod (Olares up to 1.12.6).
    pub envoy: bool,
    /// A mesh's sidecar does.
    pub mesh: Option<Mesh>,
    /// It is for nodes that run Windows.
    pub windows: bool,
    /// It has resources as a whole, of which its containers share.
    pub shares: bool,
    /// The gateway stands in front of the app, as `expose: entrance` needs it.
    pub fronted: bool,
}

/// The gateway container that the pod has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gateway {
    Bare,
    /// Injected by us, for this app, with settings of this hash.
    Ours {
        app: String,
        hash: String,
        image: String,
    },
    /// By the same name, and not ours.
    Platform,
}

/// Who made the pod, as its controlling owner reference says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    Workload(Workload),
    /// A ReplicaSet that no Deployment made.
    ReplicaSet,
    Job,
    Nobody,
    Other(String),
}

/// A workload that we can roll.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Workload {
    pub kind: WorkloadKind,
    pub name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WorkloadKind {
    Deployment,
    StatefulSet,
    DaemonSet,
}

// === impl Shape ===

impl Shape {
    pub fn of_pod(metadata: &ObjectMeta, spec: Option<&PodSpec>) -> Self {
        Self::of(metadata, spec, Owner::of(metadata))
    }

    /// A template's pods belong to its workload.
    pub fn of_template(workload: Workload, metadata: &ObjectMeta, spec: Option<&PodSpec>) -> Self {
        Self::of_described(Owner::Workload(workload), metadata, spec)
    }

    /// A pod that is not there yet, as something describes it that makes pods.
    pub fn of_described(owner: Owner, metadata: &ObjectMeta, spec: Option<&PodSpec>) -> Self {
        Self::of(metadata, spec, owner)
    }

    fn of(metadata: &ObjectMeta, spec: Option<&PodSpec>, owner: Owner) -> Self {
        let never = [&metadata.annotations, &metadata.labels]
            .into_iter()
            .flatten()
            .any(|map| map.get(names::INJECT).is_some_and(|value| value == "false"));
        let neighbours = spec.map(Neighbours::of).unwrap_or_default();
        Self {
            labels: metadata.labels.clone().unwrap_or_default(),
            owner,
            gateway: spec.map_or(Gateway::Bare, |spec| Gateway::of(metadata, spec)),
            opted_out: never,
            host_network: spec.and_then(|spec| spec.host_network).unwrap_or_default(),
            clash: spec.and_then(clash),
            envoy: neighbours.envoy,
            mesh: neighbours.mesh,
            windows: spec.is_some_and(is_windows),
            shares: spec.is_some_and(shares),
            fronted: spec.is_some_and(fronted),
        }
    }

    /// Whether its label asks for a gateway.
    pub fn asks(&self) -> bool {
        ask::asks(&self.labels)
    }

    /// It has every label that the selector looks at, whatever their values.
    pub fn is_kin(&self, selector: &BTreeMap<String, String>) -> bool {
        !selector.is_empty() && selector.keys().all(|key| self.labels.contains_key(key))
    }

    pub fn is_selected_by(&self, selector: &BTreeMap<String, String>) -> bool {
        selects(selector, &self.labels)
    }
}

/// A Service's selector: an empty one selects nothing.
pub fn selects(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    !selector.is_empty()
        && selector
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
}

/// All containers that run beside the app, init containers included.
pub fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
}

fn clash(spec: &PodSpec) -> Option<u16> {
    containers(spec)
        .filter(|container| container.name != env::CONTAINER)
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| u16::try_from(port.container_port).ok())
        .find(|port| env::GATEWAY_PORTS.contains(port))
}

/// Whether it has resources as a whole: more of the gateway's own would be too much.
pub fn shares(spec: &PodSpec) -> bool {
    spec.resources.is_some()
}

fn is_windows(spec: &PodSpec) -> bool {
    let named = spec.os.as_ref().map(|os| os.name.as_str());
    let selected = spec.node_selector.as_ref();
    let selected = selected.and_then(|labels| labels.get("kubernetes.io/os"));
    named.or(selected.map(String::as_str)) == Some("windows")
}

fn fronted(spec: &PodSpec) -> bool {
    containers(spec)
        .filter(|container| container.name == env::CONTAINER)
        .flat_map(|container| container.ports.iter().flatten())
        .any(|port| port.name.as_deref() == Some(names::ENTRANCE_PORT_NAME))
}

// === impl Gateway ===

impl Gateway {
    fn of(metadata: &ObjectMeta, spec: &PodSpec) -> Self {
        let mut all = containers(spec).filter(|container| container.name == env::CONTAINER);
        let Some(container) = all.next() else {
            return Self::Bare;
        };
        // In admission only: a webhook that came after ours added its own.
        if all.next().is_some() {
            return Self::Platform;
        }
        let annotation = |key| metadata.annotations.as_ref()?.get(key).cloned();
        match annotation(names::INJECTED) {
            Some(hash) => Self::Ours {
                app: annotation(names::APP).unwrap_or_default(),
                hash: hash::injected(hash, container),
                image: container.image.clone().unwrap_or_default(),
            },
            None => Self::Platform,
        }
    }

    pub fn is_for(&self, app: &str) -> bool {
        matches!(self, Self::Ours { app: found, .. } if found == app)
    }

    pub fn hash(&self) -> Option<&str> {
        match self {
            Self::Ours { hash, .. } => Some(hash),
            Self::Bare | Self::Platform => None,
        }
    }
}

// === impl Owner ===

impl Owner {
    pub fn of(metadata: &ObjectMeta) -> Self {
        let Some(owner) = metadata
            .owner_references
            .iter()
            .flatten()
            .find(|owner| owner.controller == Some(true))
        else {
            return Self::Nobody;
        };
        let workload = |kind, name: &str| {
            Self::Workload(Workload {
                kind,
                name: name.to_owned(),
            })
        };
        // Others have kinds of the same names.
        let group = owner
            .api_version
            .split_once('/')
            .map_or("", |(group, _)| group);
        match (group, owner.kind.as_str()) {
            ("apps", "ReplicaSet") => deployment(metadata, &owner.name)
                .map_or(Self::ReplicaSet, |name| {
                    workload(WorkloadKind::Deployment, name)
                }),
            ("apps", "StatefulSet") => workload(WorkloadKind::StatefulSet, &owner.name),
            ("apps", "DaemonSet") => workload(WorkloadKind::DaemonSet, &owner.name),
            ("batch", "Job") => Self::Job,
            ("", kind) => Self::Other(kind.to_owned()),
            (group, kind) => Self::Other(format!("{kind}.{group}")),
        }
    }
}

/// A Deployment calls its ReplicaSets `<its name>-<hash>` and labels their pods with the hash,
/// which spares us watching every ReplicaSet of the cluster.
fn deployment<'a>(metadata: &ObjectMeta, replica_set: &'a str) -> Option<&'a str> {
    let hash = metadata.labels.as_ref()?.get("pod-template-hash")?;
    replica_set.strip_suffix(hash.as_str())?.strip_suffix('-')
}

// === impl WorkloadKind ===

impl WorkloadKind {
    pub const ALL: [Self; 3] = [Self::Deployment, Self::StatefulSet, Self::DaemonSet];

    pub fn of(kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == kind)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
        }
    }
}

impl std::fmt::Display for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind.as_str(), self.name)
    }
}

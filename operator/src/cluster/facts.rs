//! What is kept of Services, pods, workloads and disruption budgets.

use std::collections::BTreeMap;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{
    Namespace, ObjectReference, Pod, PodTemplateSpec, Service, ServiceSpec,
};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::Timestamp;
use kube::core::{PartialObjectMeta, Selector, SelectorExt};
use kube::{Resource, ResourceExt};

use super::progress::{self, Progress};
use super::refusals::Failure;
use super::store::Facts;
use super::unpulled::Unpulled;
use crate::api::AppManifest;
use crate::app::App;
use crate::ask::Ask;
use crate::names;
use crate::retarget;
use crate::shape::{Shape, Workload, WorkloadKind};

impl Facts for App {
    type Object = AppManifest;

    fn read(object: AppManifest) -> Option<Self> {
        Some(Self::read(object))
    }

    fn same_as(&self, other: &Self) -> bool {
        self.same_as(other)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceFacts {
    pub name: String,
    pub selector: BTreeMap<String, String>,
    pub ports: Vec<Port>,
    /// The entrance that this Service stands beside, if it is a companion of ours.
    pub entrance: Option<String>,
    /// The uids of its owners.
    pub owners: Vec<String>,
    /// No address of its own: clients go to the pods' ports, whatever the Service says.
    pub headless: bool,
    /// What we noted when we led its port to the gateway.
    pub routed: Option<Routed>,
    /// We are among the owners of its fields: a write of ours broke off between its two halves.
    pub held: bool,
    /// The namespace whose Helm releases may tell of it, beside its own.
    pub release_namespace: Option<String>,
    pub reach: Reach,
}

/// Which pods a client of a Service reaches, and from where; boxed, as most Services have defaults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reach(Option<Box<ServiceSpec>>);

impl Eq for Reach {}

impl Reach {
    fn read(spec: &ServiceSpec) -> Self {
        let kept =
            |value: &Option<String>, default: &str| value.clone().filter(|value| value != default);
        let reach = ServiceSpec {
            internal_traffic_policy: kept(&spec.internal_traffic_policy, "Cluster"),
            ip_families: spec
                .ip_families
                .clone()
                .filter(|_| spec.ip_family_policy.as_deref() != Some("SingleStack")),
            ip_family_policy: kept(&spec.ip_family_policy, "SingleStack"),
            publish_not_ready_addresses: spec
                .publish_not_ready_addresses
                .filter(|publish| *publish),
            session_affinity: kept(&spec.session_affinity, "None"),
            session_affinity_config: spec.session_affinity_config.clone(),
            traffic_distribution: spec.traffic_distribution.clone(),
            ..ServiceSpec::default()
        };
        let is_default = reach == ServiceSpec::default();
        Self((!is_default).then(|| Box::new(reach)))
    }

    /// As a part of another Service's spec.
    pub fn spec(&self) -> ServiceSpec {
        self.0.as_deref().cloned().unwrap_or_default()
    }
}

/// Our note on an entrance's Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routed {
    /// The AppManifest it was done for.
    pub app: String,
    pub port: i32,
    /// Where that port led before: to the app itself.
    pub own: IntOrString,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub name: Option<String>,
    pub number: i32,
    pub protocol: Protocol,
    pub target: Option<IntOrString>,
    pub app_protocol: Option<String>,
}

/// One number may stand for a TCP and a UDP port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    #[default]
    Tcp,
    Other,
}

impl Facts for ServiceFacts {
    type Object = Service;

    fn read(object: Service) -> Option<Self> {
        let name = object.name_any();
        let entrance = object.labels().get(names::ENTRANCE).cloned();
        let release_namespace = object
            .annotations()
            .get(names::RELEASE_NAMESPACE)
            .or_else(|| object.labels().get(names::FLUX_NAMESPACE))
            .cloned();
        let owners = object
            .owner_references()
            .iter()
            .map(|owner| owner.uid.clone())
            .collect();
        let routed = Routed::read(object.annotations());
        let held = retarget::holds(object.managed_fields());
        let spec = object.spec.unwrap_or_default();
        let reach = Reach::read(&spec);
        let ports = spec.ports.unwrap_or_default().into_iter().map(|port| Port {
            name: port.name,
            number: port.port,
            protocol: match port.protocol.as_deref() {
                None | Some("TCP") => Protocol::Tcp,
                Some(_) => Protocol::Other,
            },
            target: port.target_port,
            app_protocol: port.app_protocol,
        });
        Some(Self {
            name,
            selector: spec.selector.unwrap_or_default(),
            ports: ports.collect(),
            entrance,
            owners,
            headless: spec.cluster_ip.as_deref() == Some("None"),
            routed,
            held,
            release_namespace,
            reach,
        })
    }

    fn same_as(&self, other: &Self) -> bool {
        self == other
    }
}

impl Routed {
    fn read(annotations: &BTreeMap<String, String>) -> Option<Self> {
        let (port, own) = annotations.get(names::OWN_TARGET)?.split_once('=')?;
        Some(Self {
            app: annotations.get(names::APP)?.clone(),
            port: port.parse().ok()?,
            own: own
                .parse()
                .map_or_else(|_| IntOrString::String(own.to_owned()), IntOrString::Int),
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFacts {
    pub name: String,
    pub shape: Shape,
    /// Why it was let in without the gateway.
    pub refused: Option<Refused>,
    /// Its gateway waits for the image.
    pub unpulled: Option<Box<Unpulled>>,
    pub created: Option<Timestamp>,
    /// The template's rollout annotation when the pod was made.
    pub rollout: Option<String>,
    pub ready: bool,
    /// Being deleted, or run to its end.
    pub leaving: bool,
}

/// Our note on a pod whose like the API server did not take with the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// With what it was tried ([`crate::injection::attempt`]).
    pub attempt: String,
    /// The API server's words.
    pub words: String,
}

impl Refused {
    fn read(annotations: &BTreeMap<String, String>) -> Option<Self> {
        let (attempt, words) = annotations.get(names::REFUSED)?.split_once(' ')?;
        Some(Self {
            attempt: attempt.to_owned(),
            words: words.to_owned(),
        })
    }

    /// The annotation's value.
    pub fn note(&self) -> String {
        format!("{} {}", self.attempt, self.words)
    }
}

impl Facts for PodFacts {
    type Object = Pod;

    fn read(object: Pod) -> Option<Self> {
        let status = object.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref());
        let ready = status
            .and_then(|status| status.conditions.as_ref())
            .into_iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        Some(Self {
            name: object.name_any(),
            shape: Shape::of_pod(&object.metadata, object.spec.as_ref()),
            refused: Refused::read(object.annotations()),
            unpulled: Unpulled::of(&object).map(Box::new),
            created: object.creation_timestamp().map(|time| time.0),
            rollout: object.annotations().get(names::ROLLOUT).cloned(),
            ready,
            leaving: object.metadata.deletion_timestamp.is_some()
                || matches!(phase, Some("Succeeded" | "Failed")),
        })
    }

    fn same_as(&self, other: &Self) -> bool {
        self == other
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadFacts {
    pub workload: Workload,
    pub uid: String,
    /// What its pods look like before admission.
    pub shape: Shape,
    /// The template's present rollout annotation.
    pub rollout: Option<String>,
    /// What the template's label asks for; boxed, as most ask for nothing.
    pub ask: Option<Box<Ask>>,
    pub progress: Progress,
    /// A Deployment that takes no pod away before another is ready in its place.
    pub surges: bool,
    /// How many pods it is to have.
    pub pods: i32,
    /// Of a Deployment whose pods are refused.
    pub failure: Option<Box<Failure>>,
}

impl WorkloadFacts {
    fn of<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(
        object: &K,
        kind: WorkloadKind,
        template: Option<&PodTemplateSpec>,
        progress: Progress,
    ) -> Self {
        let workload = Workload {
            kind,
            name: object.name_any(),
        };
        let metadata = template
            .and_then(|template| template.metadata.clone())
            .unwrap_or_default();
        let spec = template.and_then(|template| template.spec.as_ref());
        Self {
            uid: object.uid().unwrap_or_default(),
            shape: Shape::of_template(workload.clone(), &metadata, spec),
            ask: Ask::read(&metadata).map(Box::new),
            rollout: metadata
                .annotations
                .and_then(|mut annotations| annotations.remove(names::ROLLOUT)),
            progress,
            surges: false,
            pods: 0,
            failure: None,
            workload,
        }
    }

    pub fn reference(&self, namespace: &str) -> ObjectReference {
        ObjectReference {
            api_version: Some("apps/v1".to_owned()),
            kind: Some(self.workload.kind.as_str().to_owned()),
            namespace: Some(namespace.to_owned()),
            name: Some(self.workload.name.clone()),
            uid: Some(self.uid.clone()),
            ..ObjectReference::default()
        }
    }
}

/// The three kinds have three stores, as each is listed by itself.
pub struct DeploymentFacts(pub WorkloadFacts);
pub struct StatefulSetFacts(pub WorkloadFacts);
pub struct DaemonSetFacts(pub WorkloadFacts);

macro_rules! workload {
    ($facts:ident, $kind:ident, $pods:expr, $surges:expr, $failure:expr) => {
        impl Facts for $facts {
            type Object = $kind;

            fn read(object: $kind) -> Option<Self> {
                let template = object.spec.as_ref().map(|spec| &spec.template);
                let progress = Progress::from(&object);
                let facts = WorkloadFacts::of(&object, WorkloadKind::$kind, template, progress);
                let pods: fn(&$kind) -> Option<i32> = $pods;
                let surges: fn(&$kind) -> bool = $surges;
                let failure: fn(&$kind) -> Option<Failure> = $failure;
                Some(Self(WorkloadFacts {
                    pods: pods(&object).unwrap_or(1),
                    surges: surges(&object),
                    failure: failure(&object).map(Box::new),
                    ..facts
                }))
            }

            fn same_as(&self, other: &Self) -> bool {
                self.0 == other.0
            }
        }

        impl AsRef<WorkloadFacts> for $facts {
            fn as_ref(&self) -> &WorkloadFacts {
                &self.0
            }
        }
    };
}

workload!(
    DeploymentFacts,
    Deployment,
    |object| object.spec.as_ref()?.replicas,
    progress::surges,
    Failure::of
);
workload!(
    StatefulSetFacts,
    StatefulSet,
    |object| object.spec.as_ref()?.replicas,
    |_| false,
    |_| None
);
workload!(
    DaemonSetFacts,
    DaemonSet,
    |object| Some(object.status.as_ref()?.desired_number_scheduled),
    |_| false,
    |_| None
);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamespaceFacts {
    /// Its label keeps the webhook away from it.
    pub disabled: bool,
    /// The platform gives its pods their user: OpenShift says so in an annotation.
    pub gives_user: bool,
}

impl Facts for NamespaceFacts {
    type Object = PartialObjectMeta<Namespace>;

    fn read(object: Self::Object) -> Option<Self> {
        let label = object.labels().get(names::INJECTION);
        Some(Self {
            disabled: label.is_some_and(|value| value == names::DISABLED),
            gives_user: object.annotations().contains_key(names::GIVES_USER),
        })
    }

    fn same_as(&self, other: &Self) -> bool {
        self == other
    }
}

#[derive(Clone, Debug)]
pub struct Budget {
    pub name: String,
    pub selector: Option<Selector>,
    pub disruptions: Disruptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disruptions {
    Allowed,
    NotNow,
    /// Not even while all pods are healthy.
    Never,
}

impl Budget {
    pub fn covers(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selector
            .as_ref()
            .is_some_and(|selector| selector.matches(labels))
    }
}

impl Facts for Budget {
    type Object = PodDisruptionBudget;

    fn read(object: PodDisruptionBudget) -> Option<Self> {
        let name = object.name_any();
        let disruptions = match &object.status {
            Some(status) if status.disruptions_allowed > 0 => Disruptions::Allowed,
            Some(status)
                if status.expected_pods > 0 && status.desired_healthy >= status.expected_pods =>
            {
                Disruptions::Never
            }
            _ => Disruptions::NotNow,
        };
        let selector = object.spec?.selector?;
        Some(Self {
            name,
            // A selector that we cannot read covers everything: better to wait than to disrupt.
            selector: Some(selector.try_into().unwrap_or_default()),
            disruptions,
        })
    }

    fn same_as(&self, other: &Self) -> bool {
        self.disruptions == other.disruptions
            && self.selector.as_ref().map(ToString::to_string)
                == other.selector.as_ref().map(ToString::to_string)
    }
}

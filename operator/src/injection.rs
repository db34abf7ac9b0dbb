//! The one decision about a pod, shared by webhook, controller and command line: pure.

mod container;
pub mod hash;
mod hold;
mod patch;
mod pull;
mod refused;
mod secrets;
mod trust;
mod withdraw;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Pod, PodSpec, ResourceRequirements, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use stanza::choice::{Expose, Placement};
use stanza::{WebSocket, env};
use tokio::sync::watch;

use crate::app::{App, Stanza};
use crate::cluster::{Ground, ServiceFacts};
use crate::entrance;
use crate::names;
use crate::reason::Reason;
use crate::shape::{Gateway, Owner, Shape, containers, shares};
use crate::source::pod_label;

use container::Place;
pub use hash::hash;
pub use patch::{annotation, patch};
pub use refused::{attempt, let_in};
pub use trust::{Mesh, Neighbours, Trust};
pub use withdraw::withdrawal;

/// What the operator itself adds to a stanza. No part of the hash: another image or default
/// never restarts a pod by itself.
#[derive(Clone, Debug)]
pub struct Rules {
    pub image: String,
    pub pull_policy: String,
    /// Secrets of the apps' namespaces with which the image is pulled.
    pub pull_secrets: Vec<String>,
    pub resources: ResourceRequirements,
    /// Peers whose identity headers count, where the stanza does not say. None: by the platform.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether this is Olares, whose edge overwrites identity headers.
    pub olares: watch::Receiver<bool>,
    /// The cluster runs init containers that always restart.
    pub native: bool,
    pub expose: ExposeRule,
    /// Of companion Services' ports: what Gateways and Ingresses look at to know that WebSockets live there.
    pub app_protocol: Option<String>,
}

/// How clients reach the gateway, where the stanza does not say.
#[derive(Clone, Debug)]
pub enum ExposeRule {
    Always(Expose),
    /// By the entrance on Olares, whose edge knows nothing else; it says whether this is Olares.
    ByPlatform(watch::Receiver<bool>),
}

/// An app that may claim pods of its namespace, with its entrance's Service.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    pub app: &'a App,
    pub service: Option<&'a ServiceFacts>,
    pub ground: &'a Ground,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Decision<'a> {
    Inject(Injection<'a>),
    AlreadyCurrent(Injection<'a>),
    Skip(Skip),
}

/// The gateway that a pod is to have.
#[derive(Clone, Debug, PartialEq)]
pub struct Injection<'a> {
    /// The AppManifest's name.
    pub app: &'a str,
    pub hash: String,
    pub websocket: &'a WebSocket,
    /// With `expose: entrance`: the app's own port, by number or by name, as the entrance's
    /// Service has or had it.
    pub upstream: Option<IntOrString>,
    /// Of the namespace.
    pub ground: &'a Ground,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    pub reason: Reason,
    /// The app concerned, if one claims the pod.
    pub app: Option<String>,
    /// What was found, for people.
    pub message: String,
}

/// Whether a pod gets the gateway of one of `claims`, the first that selects it.
pub fn desired<'a>(shape: &Shape, claims: &[Claim<'a>], rules: &Rules) -> Decision<'a> {
    let claim = claims
        .iter()
        .find(|claim| claim.selects(shape) && claim.may_have(shape));
    let claim = claim.or_else(|| claims.iter().find(|claim| claim.is_asked_by(shape)));
    let Some(claim @ Claim { app, .. }) = claim else {
        return Decision::Skip(unclaimed(shape, claims));
    };
    match check(shape, claim, rules) {
        Ok(websocket) => {
            let upstream = upstream(claim, websocket, shape, rules);
            let injection = Injection {
                app: &app.id.name,
                hash: hash(websocket, upstream.as_ref()),
                websocket,
                upstream,
                ground: claim.ground,
            };
            if shape.gateway.hash() == Some(&injection.hash) {
                Decision::AlreadyCurrent(injection)
            } else {
                Decision::Inject(injection)
            }
        }
        Err((reason, message)) => Decision::Skip(Skip {
            reason,
            app: Some(app.id.name.clone()),
            message,
        }),
    }
}

impl Injection<'_> {
    /// What the gateway takes for itself of what its namespace has.
    pub fn resources(&self, shape: &Shape, rules: &Rules) -> Option<ResourceRequirements> {
        Place::new(self.ground, shape.shares).resources(self.websocket, rules)
    }
}

impl Claim<'_> {
    fn selects(&self, shape: &Shape) -> bool {
        self.service
            .is_some_and(|service| shape.is_selected_by(&service.selector))
    }

    /// A pod that asks by label and that the Service will select once its selector moves on: it has the
    /// labels, one at least with another value (blue and green, Argo Rollouts' hash).
    fn is_asked_by(&self, shape: &Shape) -> bool {
        let Some(service) = self.service else {
            return false;
        };
        let selector = &service.selector;
        let mut pairs = selector.iter();
        let shared = pairs.any(|(key, value)| shape.labels.get(key) == Some(value));
        // Who wrote no manifest has one of the own name, and waits for it.
        let by_label = self.app.source.as_deref() == Some(pod_label::SOURCE);
        shape.asks() && !by_label && shared && shape.is_kin(selector)
    }

    /// AppManifests that labels ask for are named as the workloads are, of whatever kind.
    fn takes_name_of(&self, shape: &Shape) -> Option<String> {
        let Owner::Workload(workload) = &shape.owner else {
            return None;
        };
        let name = &self.app.id.name;
        let kind = self.app.owner.as_ref()?.kind.as_deref()?;
        let taken = shape.asks() && workload.name == *name && workload.kind.as_str() != kind;
        taken.then(|| format!("the AppManifest {name} is that of the {kind} {name}"))
    }

    /// Who asks by label asks for the pods with the label. The label taken off, new pods come up
    /// bare at once, whether we have heard of it or not.
    fn may_have(&self, shape: &Shape) -> bool {
        self.app.source.as_deref() != Some(pod_label::SOURCE) || shape.asks()
    }
}

impl Rules {
    /// `platform_routes`: the platform's Envoy captures what comes into the pod, so a Service that
    /// led elsewhere would change nothing.
    pub fn expose(&self, websocket: &WebSocket, platform_routes: bool) -> Expose {
        let stated = websocket.operator.expose;
        stated.unwrap_or_else(|| {
            if platform_routes {
                Expose::None
            } else {
                self.expose.now()
            }
        })
    }
}

impl ExposeRule {
    pub fn now(&self) -> Expose {
        match self {
            Self::Always(expose) => *expose,
            Self::ByPlatform(olares) if *olares.borrow() => Expose::Entrance,
            Self::ByPlatform(_) => Expose::Service,
        }
    }
}

/// What the gateway is to stand in front of. Nothing where the entrance cannot be led to it:
/// routing says why.
fn upstream(
    claim: &Claim<'_>,
    websocket: &WebSocket,
    shape: &Shape,
    rules: &Rules,
) -> Option<IntOrString> {
    if rules.expose(websocket, shape.envoy) != Expose::Entrance {
        return None;
    }
    let port = entrance::port(claim.app, claim.service?).ok()?;
    Some(port.own)
}

fn unclaimed(shape: &Shape, claims: &[Claim<'_>]) -> Skip {
    let skip = |(reason, message)| Skip {
        reason,
        app: None,
        message,
    };
    if shape.asks()
        && let Err(why) = rollable(&shape.owner)
    {
        return skip(why);
    }
    if let Some(message) = claims.iter().find_map(|claim| claim.takes_name_of(shape)) {
        return skip((Reason::NameTaken, message));
    }
    if let Some(claim) = claims.iter().find(|claim| claim.selects(shape)) {
        let app = &claim.app.id.name;
        let message = format!("the app {app} asks by label, and this pod has no such label");
        return skip((Reason::NotLabelled, message));
    }
    skip(match claims {
        [] => (Reason::NoApp, "no AppManifest in this namespace".to_owned()),
        claims => {
            let services: Vec<&str> = claims
                .iter()
                .filter_map(|claim| claim.app.service())
                .collect();
            let message = format!(
                "selected by none of the entrance Services: {}",
                services.join(", ")
            );
            (Reason::NotEntrance, message)
        }
    })
}

/// Whether another pod comes in its place, by a workload that we can roll.
fn rollable(owner: &Owner) -> Result<(), (Reason, String)> {
    let refuse = |reason, message: &str| Err((reason, message.to_owned()));
    match owner {
        Owner::Workload(_) | Owner::ReplicaSet => Ok(()),
        Owner::Job => refuse(Reason::Job, "the pod belongs to a Job"),
        Owner::Nobody => refuse(Reason::BarePod, "the pod has no owner"),
        Owner::Other(kind) => refuse(Reason::OtherOwner, &format!("the pod belongs to a {kind}")),
    }
}

fn check<'a>(
    shape: &Shape,
    Claim { app, ground, .. }: &Claim<'a>,
    rules: &Rules,
) -> Result<&'a WebSocket, (Reason, String)> {
    let refuse = |reason, message: &str| Err((reason, message.to_owned()));
    let websocket = match &app.stanza {
        Stanza::Absent => return refuse(Reason::NoStanza, "the manifest has no options.websocket"),
        Stanza::Invalid { problems, .. } => {
            return refuse(Reason::InvalidStanza, &problems.errors());
        }
        Stanza::Valid { websocket, .. } => websocket,
    };
    // Said first: the platform's gateway, too, keeps a Job from ever completing.
    if shape.owner == Owner::Job {
        rollable(&shape.owner)?;
    }
    if shape.gateway == Gateway::Platform {
        let message = format!(
            "the pod has a container {} that is not ours",
            env::CONTAINER
        );
        return refuse(Reason::PlatformInjected, &message);
    }
    if shape.opted_out {
        return refuse(
            Reason::OptedOut,
            "the pod says ws.olares.com/inject: \"false\"",
        );
    }
    rollable(&shape.owner)?;
    if shape.host_network {
        return refuse(Reason::HostNetwork, "the pod uses the node's network");
    }
    if shape.windows {
        return refuse(
            Reason::Windows,
            "the pod is for nodes that run Windows, and the gateway runs on Linux",
        );
    }
    if let Some(port) = shape.clash {
        let message =
            format!("a container of the pod declares port {port}, which is the gateway's");
        return refuse(Reason::PortConflict, &message);
    }
    if websocket.operator.sidecar == Placement::Native && !rules.native {
        return refuse(
            Reason::NativeUnsupported,
            "sidecar: native needs Kubernetes 1.29 or later",
        );
    }
    let place = Place::new(ground, shape.shares);
    if let Some(resources) = place.resources(websocket, rules)
        && let Some(why) = ground.unsaid(&resources)
    {
        return refuse(Reason::Quota, &Reason::Quota.advise(&why));
    }
    Ok(websocket)
}

/// Puts the gateway into a pod, in place of an older one of ours.
pub fn inject_pod(pod: &mut Pod, injection: &Injection<'_>, rules: &Rules) {
    inject(
        &mut pod.metadata,
        pod.spec.get_or_insert_default(),
        injection,
        rules,
    );
}

/// The same for a workload's template.
pub fn inject(
    metadata: &mut ObjectMeta,
    spec: &mut PodSpec,
    injection: &Injection<'_>,
    rules: &Rules,
) {
    hold::release(metadata, spec);
    let annotations = metadata.annotations.get_or_insert_default();
    let written = hash::written(&injection.hash).to_owned();
    annotations.insert(names::INJECTED.to_owned(), written);
    annotations.insert(names::APP.to_owned(), injection.app.to_owned());

    let upstream = injection
        .upstream
        .as_ref()
        .and_then(|port| container_port(spec, port));
    let identity = &injection.websocket.gateway.identity;
    let trust = Trust::of(identity, rules, Neighbours::of(spec));
    let gateway = container::build(
        injection.websocket,
        rules,
        &trust,
        upstream,
        &Place::new(injection.ground, shares(spec)),
    );
    pull::add(metadata, spec, &rules.pull_secrets);
    match injection.websocket.operator.sidecar {
        Placement::Container => {
            drop_gateway(spec.init_containers.as_mut());
            put(&mut spec.containers, gateway, |container| &container.name);
        }
        Placement::Native => {
            drop_gateway(Some(&mut spec.containers));
            put(
                spec.init_containers.get_or_insert_default(),
                gateway,
                |container| &container.name,
            );
        }
    }
    let volumes = spec.volumes.get_or_insert_default();
    put(volumes, container::journal(), |volume: &Volume| {
        &volume.name
    });
    match secrets::volume(&injection.websocket.secrets) {
        Some(volume) => put(volumes, volume, |volume: &Volume| &volume.name),
        None => volumes.retain(|volume| volume.name != names::SECRETS_VOLUME),
    }
    if injection.websocket.hold_app {
        hold::hold(metadata, spec, injection.websocket);
    }
}

/// The number of a port that may be given by name.
fn container_port(spec: &PodSpec, port: &IntOrString) -> Option<u16> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => containers(spec)
            .filter(|container| container.name != env::CONTAINER)
            .flat_map(|container| container.ports.iter().flatten())
            .find(|port| port.name.as_ref() == Some(name))
            .map(|port| port.container_port)?,
    };
    u16::try_from(number).ok()
}

/// Takes our gateway out of a template again: what was injected is then as it was before.
pub fn uninject(metadata: &mut ObjectMeta, spec: &mut PodSpec) {
    hold::release(metadata, spec);
    pull::release(metadata, spec);
    if let Some(annotations) = metadata.annotations.as_mut() {
        annotations.retain(|key, _| !names::ON_PODS.contains(&key.as_str()));
    }
    drop_gateway(Some(&mut spec.containers));
    drop_gateway(spec.init_containers.as_mut());
    if let Some(volumes) = spec.volumes.as_mut() {
        volumes.retain(|volume| !names::VOLUMES.contains(&volume.name.as_str()));
    }
    // An empty list is none, as for the API server.
    metadata.annotations.take_if(|all| all.is_empty());
    spec.init_containers.take_if(|all| all.is_empty());
    spec.volumes.take_if(|all| all.is_empty());
}

fn drop_gateway(containers: Option<&mut Vec<k8s_openapi::api::core::v1::Container>>) {
    if let Some(containers) = containers {
        containers.retain(|container| container.name != env::CONTAINER);
    }
}

/// Replaces the item of the same name, or appends: what stands before keeps its index, so that
/// the patch names nothing but the gateway.
fn put<T>(items: &mut Vec<T>, item: T, name: impl Fn(&T) -> &String) {
    match items.iter_mut().find(|found| name(found) == name(&item)) {
        Some(found) => *found = item,
        None => items.push(item),
    }
}

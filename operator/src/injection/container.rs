//! The gateway's container, and its journal's volume.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource, ExecAction,
    Lifecycle, LifecycleHandler, ObjectFieldSelector, Probe, ResourceRequirements, SeccompProfile,
    SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::Value as Json;
use stanza::choice::Placement;
use stanza::field::Field;
use stanza::resources::Resources;
use stanza::{WebSocket, env};

use super::{Rules, Trust, secrets};
use crate::cluster::Ground;
use crate::names;

/// The image's user; any other that is not root would do.
const USER: i64 = 65532;
/// Exec probes start a process on a node that may be busy: late is not dead.
const PROBE_TIMEOUT: i32 = 5;

/// What a pod and its namespace leave to the gateway.
pub(super) struct Place<'a> {
    ground: &'a Ground,
    /// The pod has resources as a whole, of which its containers share.
    shares: bool,
}

impl<'a> Place<'a> {
    pub(super) const fn new(ground: &'a Ground, shares: bool) -> Self {
        Self { ground, shares }
    }

    /// What the gateway takes for itself.
    pub(super) fn resources(
        &self,
        websocket: &WebSocket,
        rules: &Rules,
    ) -> Option<ResourceRequirements> {
        (!self.shares).then(|| self.ground.fit(asked(websocket, rules)))
    }
}

/// What the gateway asks for, whatever its namespace demands.
pub(super) fn asked(websocket: &WebSocket, rules: &Rules) -> ResourceRequirements {
    match &websocket.operator.resources {
        Some(stated) => merged(stated, &rules.resources),
        None => rules.resources.clone(),
    }
}

/// With `upstream` the gateway stands in front of that port of the app.
pub(super) fn build(
    websocket: &WebSocket,
    rules: &Rules,
    trust: &Trust,
    upstream: Option<u16>,
    place: &Place<'_>,
) -> Container {
    let operator = &websocket.operator;
    let native = operator.sidecar == Placement::Native;
    let client_port = match upstream {
        Some(_) => names::ENTRANCE_PORT_NAME,
        None => names::CLIENT_PORT_NAME,
    };
    Container {
        name: env::CONTAINER.to_owned(),
        image: Some(rules.image.clone()),
        image_pull_policy: Some(rules.pull_policy.clone()),
        command: Some(vec![env::PROGRAM.to_owned()]),
        env: Some(variables(websocket, trust, upstream)),
        ports: Some(vec![
            port(client_port, env::CLIENT_PORT),
            port(names::OPS_PORT_NAME, env::OPS_PORT),
        ]),
        liveness_probe: Some(probe(&[env::PROGRAM, "healthcheck"], 20, 3)),
        readiness_probe: Some(probe(&[env::PROGRAM, "healthcheck", "--ready"], 5, 2)),
        resources: place.resources(websocket, rules),
        restart_policy: native.then(|| "Always".to_owned()),
        lifecycle: native.then(drain_first),
        security_context: Some(security(place.ground)),
        volume_mounts: Some(mounts(websocket)),
        ..Container::default()
    }
}

fn mounts(websocket: &WebSocket) -> Vec<VolumeMount> {
    let journal = VolumeMount {
        name: names::JOURNAL_VOLUME.to_owned(),
        mount_path: env::JOURNAL_DIR.to_owned(),
        ..VolumeMount::default()
    };
    let secrets = secrets::mount(&websocket.secrets);
    std::iter::once(journal).chain(secrets).collect()
}

pub(super) fn journal() -> Volume {
    Volume {
        name: names::JOURNAL_VOLUME.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: Some("Memory".to_owned()),
            size_limit: Some(Quantity(env::JOURNAL_SIZE.to_owned())),
        }),
        ..Volume::default()
    }
}

fn variables(websocket: &WebSocket, trust: &Trust, upstream: Option<u16>) -> Vec<EnvVar> {
    let mut websocket = websocket.clone();
    websocket
        .gateway
        .identity
        .trusted_proxies
        .clone_from(&trust.proxies);
    env::to_env(&websocket)
        .into_iter()
        .chain([(env::JOURNAL, env::JOURNAL_DIR.to_owned())])
        .map(|(name, value)| EnvVar {
            name: name.to_owned(),
            value: Some(value),
            ..EnvVar::default()
        })
        .chain(secrets::variables(&websocket.secrets))
        .chain(upstream.into_iter().flat_map(in_front_of))
        .collect()
}

/// The app is reached by the pod's address, as it was before: some apps trust localhost.
fn in_front_of(port: u16) -> [EnvVar; 2] {
    let address = EnvVarSource {
        field_ref: Some(ObjectFieldSelector {
            api_version: Some("v1".to_owned()),
            field_path: "status.podIP".to_owned(),
        }),
        ..EnvVarSource::default()
    };
    [
        EnvVar {
            name: env::POD_IP.to_owned(),
            value_from: Some(address),
            value: None,
        },
        EnvVar {
            name: env::UPSTREAM_PORT.to_owned(),
            value: Some(port.to_string()),
            value_from: None,
        },
    ]
}

fn port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number.into(),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

/// Exec, not HTTP: where a mesh captures the pod's inbound traffic, a probe over the network
/// would reach the mesh.
fn probe(command: &[&str], period: i32, failures: i32) -> Probe {
    Probe {
        exec: Some(exec(command)),
        period_seconds: Some(period),
        timeout_seconds: Some(PROBE_TIMEOUT),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn exec(command: &[&str]) -> ExecAction {
    ExecAction {
        command: Some(command.iter().map(|&word| word.to_owned()).collect()),
    }
}

/// A native sidecar gets its SIGTERM only after the app is gone, which then would hear of no
/// close; preStop comes when the app is told to end.
fn drain_first() -> Lifecycle {
    Lifecycle {
        pre_stop: Some(LifecycleHandler {
            exec: Some(exec(&[env::PROGRAM, "drain"])),
            ..LifecycleHandler::default()
        }),
        ..Lifecycle::default()
    }
}

/// What PodSecurity calls restricted. Where the platform gives a pod its user, the image runs as that
/// one; elsewhere the pod's may be root.
fn security(ground: &Ground) -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            add: None,
        }),
        read_only_root_filesystem: Some(true),
        run_as_group: (!ground.gives_user).then_some(USER),
        run_as_non_root: Some(true),
        run_as_user: (!ground.gives_user).then_some(USER),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        ..SecurityContext::default()
    }
}

/// The stanza's quantities over the operator's defaults, each by itself.
fn merged(stated: &Resources, defaults: &ResourceRequirements) -> ResourceRequirements {
    let stated = stated.to_json();
    let merge = |side: &str, defaults: &Option<BTreeMap<String, Quantity>>| {
        let mut all = defaults.clone().unwrap_or_default();
        for (name, value) in stated
            .get(side)
            .and_then(Json::as_object)
            .into_iter()
            .flatten()
        {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            all.insert(name.clone(), Quantity(text));
        }
        (!all.is_empty()).then_some(all)
    };
    let limits = merge("limits", &defaults.limits);
    let mut requests = merge("requests", &defaults.requests);
    // A stated limit below the default request would be refused: the request follows it.
    if let (Some(requests), Some(Json::Object(stated_limits))) =
        (&mut requests, stated.get("limits"))
    {
        for name in stated_limits.keys() {
            let requested = stated
                .get("requests")
                .and_then(|side| side.get(name))
                .is_some();
            if let (false, Some(limit)) = (requested, limits.as_ref().and_then(|all| all.get(name)))
            {
                requests.insert(name.clone(), limit.clone());
            }
        }
    }
    ResourceRequirements {
        claims: None,
        limits,
        requests,
    }
}

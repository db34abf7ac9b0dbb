//! The companion Service `<entrance>-ws` (pure): what it should be, and whether it is.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Resource;
use stanza::WebSocket;
use stanza::choice::Placement;
use stanza::env;

use super::validate::{Validated, Wish};
use crate::api::AppManifest;
use crate::app::App;
use crate::cluster::{Port, Protocol, ServiceFacts};
use crate::names;
use crate::reason::Reason;
use crate::shape::Gateway;

const SUFFIX: &str = "-ws";
/// The longest name of a Service.
const LONGEST: usize = 63;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Companion {
    /// It is as it should be.
    Kept,
    Apply(Box<Service>),
    /// A Service of that name is not ours.
    Taken,
}

pub(super) fn name(entrance: &str) -> String {
    let longest = LONGEST - SUFFIX.len();
    let end = entrance.len().min(longest);
    format!("{}{SUFFIX}", entrance[..end].trim_end_matches('-'))
}

pub(super) fn companion(
    app: &App,
    websocket: &WebSocket,
    entrance: &ServiceFacts,
    selector: &BTreeMap<String, String>,
    found: Option<&ServiceFacts>,
    overruled: &[String],
    app_protocol: Option<&str>,
) -> Companion {
    // Where the gateway is an init container, older endpoint controllers do not find its port
    // by name.
    let target = match websocket.operator.sidecar {
        Placement::Container => IntOrString::String(names::CLIENT_PORT_NAME.to_owned()),
        Placement::Native => IntOrString::Int(env::CLIENT_PORT.into()),
    };
    if let Some(found) = found {
        let ours = found.owners.contains(&app.uid);
        let inherited = found.owners.iter().any(|owner| overruled.contains(owner));
        if found.entrance.is_none() || !ours && !inherited {
            return Companion::Taken;
        }
        let ports = [Port {
            name: Some("ws".to_owned()),
            number: env::CLIENT_PORT.into(),
            protocol: Protocol::Tcp,
            target: Some(target.clone()),
            app_protocol: app_protocol.map(str::to_owned),
        }];
        let same = found.selector == *selector && found.reach == entrance.reach;
        if ours && same && found.ports == ports {
            return Companion::Kept;
        }
    }
    let owner = OwnerReference {
        api_version: AppManifest::api_version(&()).into_owned(),
        kind: AppManifest::kind(&()).into_owned(),
        name: app.id.name.clone(),
        uid: app.uid.clone(),
        controller: Some(true),
        block_owner_deletion: None,
    };
    let labels = [
        ("app.kubernetes.io/managed-by", names::MANAGER),
        (names::ENTRANCE, entrance.name.as_str()),
    ];
    Companion::Apply(Box::new(Service {
        metadata: ObjectMeta {
            name: Some(name(&entrance.name)),
            namespace: Some(app.id.namespace.clone()),
            labels: Some(
                labels
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .into(),
            ),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(ServiceSpec {
            selector: Some(selector.clone()),
            ports: Some(vec![ServicePort {
                name: Some("ws".to_owned()),
                // What Gateways and Ingresses look at to know that WebSockets live here.
                app_protocol: app_protocol.map(str::to_owned),
                port: env::CLIENT_PORT.into(),
                protocol: Some("TCP".to_owned()),
                target_port: Some(target),
                ..ServicePort::default()
            }]),
            // The page and its socket have to meet the same pod, by the same ways.
            ..entrance.reach.spec()
        }),
        status: None,
    }))
}

/// Whose pods the companion leads to: the entrance's. Where its selector has moved on, that waits for the
/// first of them that serves, as long as pods of before do and another is to come.
pub(super) fn selector<'a>(
    validated: &'a Validated,
    entrance: &'a ServiceFacts,
    found: Option<&'a ServiceFacts>,
) -> &'a BTreeMap<String, String> {
    let (wanted, present) = match found {
        Some(found) if found.selector != entrance.selector => (&entrance.selector, &found.selector),
        _ => return &entrance.selector,
    };
    let serves = |selector: &BTreeMap<String, String>| {
        let mut pods = validated.pods();
        pods.any(|pod| {
            let served = matches!(pod.shape.gateway, Gateway::Ours { .. });
            served && pod.ready && pod.shape.is_selected_by(selector)
        })
    };
    let workload = validated.members.iter().any(|member| {
        let comes = matches!(member.wish, Wish::Gateway { .. });
        comes && member.workload.shape.is_selected_by(wanted)
    });
    let stray = validated.strays.iter().any(|(pod, verdict)| {
        let comes = matches!(
            verdict.reason,
            Reason::AlreadyCurrent | Reason::ReplaceByHand
        );
        comes && pod.shape.is_selected_by(wanted)
    });
    let waits = (workload || stray) && !serves(wanted) && serves(present);
    if waits { present } else { wanted }
}

/// Companions of this app that are not, or no longer, what it needs.
pub(super) fn leftovers(
    app: &App,
    wanted: Option<&str>,
    services: &[std::sync::Arc<ServiceFacts>],
) -> Vec<String> {
    services
        .iter()
        .filter(|service| service.entrance.is_some() && service.owners.contains(&app.uid))
        .filter(|service| Some(service.name.as_str()) != wanted)
        .map(|service| service.name.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut() {
        assert_eq!(name("chat"), "chat-ws");
        let long = name(&format!("{}-{}", "a".repeat(60), "b".repeat(2)));
        assert_eq!(long, format!("{}-ws", "a".repeat(60)));
        assert!(name(&"a".repeat(63)).len() <= LONGEST);
    }
}

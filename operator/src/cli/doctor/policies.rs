//! Whether NetworkPolicies keep every client from an app's gateway (pure).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPort, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};
use stanza::env;

use super::{Finding, warning};
use crate::shape::containers;

/// Only what is certain: policies isolate the pod, and no rule of them has the gateway's port,
/// whoever asks. Whether a rule names the right clients only its author knows.
pub(super) fn of_policies(policies: &[NetworkPolicy], pods: &[Pod]) -> Vec<Finding> {
    let mut closed: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for pod in pods {
        let place = pod.namespace();
        let around = policies.iter().filter(|one| one.namespace() == place);
        if let Some(by) = isolated_by(pod, around) {
            let place = place.unwrap_or_default();
            closed.entry((place, by)).or_default().push(pod.name_any());
        }
    }
    let finding = |((namespace, by), pods): ((String, String), Vec<String>)| {
        let more = match pods.len() - 1 {
            0 => String::new(),
            others => format!(" and {others} more"),
        };
        warning(
            "network",
            format!(
                "{namespace}/{}{more}: NetworkPolicies isolate it ({by}), and none lets anybody in at the gateway's port {}",
                pods[0],
                env::CLIENT_PORT
            ),
            "allow your clients, or the Ingress controller, that port of the pods",
            "docs/operator/network-policies.md",
        )
    };
    closed.into_iter().map(finding).collect()
}

/// The policies that isolate the pod, if none of them has a rule for the gateway's port.
fn isolated_by<'a>(pod: &Pod, policies: impl Iterator<Item = &'a NetworkPolicy>) -> Option<String> {
    gateway(pod)?;
    let isolating: Vec<(String, &NetworkPolicySpec)> = policies
        .filter_map(|one| Some((one.name_any(), one.spec.as_ref()?)))
        .filter(|(_, spec)| isolates(spec, pod))
        .collect();
    let closed = !isolating.is_empty() && !isolating.iter().any(|(_, spec)| admits(spec, pod));
    let names: Vec<String> = isolating.into_iter().map(|(name, _)| name).collect();
    closed.then(|| names.join(", "))
}

fn isolates(spec: &NetworkPolicySpec, pod: &Pod) -> bool {
    let ingress = |types: &Vec<String>| types.iter().any(|one| one == "Ingress");
    let selector = spec.pod_selector.clone().unwrap_or_default();
    spec.policy_types.as_ref().is_none_or(ingress)
        && Selector::try_from(selector).is_ok_and(|selector| selector.matches(pod.labels()))
}

fn admits(spec: &NetworkPolicySpec, pod: &Pod) -> bool {
    spec.ingress.iter().flatten().any(|rule| {
        let ports = rule.ports.as_deref().unwrap_or_default();
        ports.is_empty() || ports.iter().any(|port| is_the_gateways(port, pod))
    })
}

fn is_the_gateways(port: &NetworkPolicyPort, pod: &Pod) -> bool {
    let wanted = i32::from(env::CLIENT_PORT);
    let tcp = port.protocol.as_deref().is_none_or(|one| one == "TCP");
    let is_it = match &port.port {
        None => true,
        Some(IntOrString::Int(first)) => {
            (*first..=port.end_port.unwrap_or(*first)).contains(&wanted)
        }
        Some(IntOrString::String(name)) => {
            let declared = gateway(pod).and_then(|gateway| gateway.ports.as_ref());
            declared
                .into_iter()
                .flatten()
                .any(|port| port.name.as_ref() == Some(name) && port.container_port == wanted)
        }
    };
    tcp && is_it
}

fn gateway(pod: &Pod) -> Option<&Container> {
    containers(pod.spec.as_ref()?).find(|container| container.name == env::CONTAINER)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn pod(name: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "rooms", "labels": {"app": "chat"}},
            "spec": {"containers": [
                {"name": "chat"},
                {"name": "olares-ws-sidecar", "ports": [{"name": "olares-ws", "containerPort": 40010}]},
            ]},
        }))
        .unwrap()
    }

    fn policy(name: &str, spec: &Json) -> NetworkPolicy {
        let object = json!({"metadata": {"name": name, "namespace": "rooms"}, "spec": spec});
        serde_json::from_value(object).unwrap()
    }

    fn said(specs: &[Json]) -> String {
        let names = ["one", "two"];
        let all: Vec<_> = names
            .iter()
            .zip(specs)
            .map(|(name, spec)| policy(name, spec))
            .collect();
        of_policies(&all, &[pod("chat-1"), pod("chat-2")])
            .iter()
            .map(Finding::text)
            .collect()
    }

    #[test]
    fn pods_that_nobody_may_reach_are_named_with_the_policies() {
        let deny = json!({"podSelector": {}, "policyTypes": ["Ingress"]});
        let app = json!({"podSelector": {"matchLabels": {"app": "chat"}}, "ingress": [{"ports": [{"port": 8888}]}]});
        let text = said(&[deny, app]);
        assert!(text.contains("rooms/chat-1 and 1 more"), "{text}");
        assert!(text.contains("(one, two)"), "{text}");
    }

    #[test]
    fn other_ports_open_nothing() {
        for port in [
            json!({"port": 40010, "protocol": "UDP"}),
            json!({"port": 40000, "endPort": 40009}),
            json!({"port": "http"}),
        ] {
            let spec = json!({"podSelector": {}, "ingress": [{"ports": [port]}]});
            assert!(!said(std::slice::from_ref(&spec)).is_empty(), "{spec}");
        }
    }

    #[test]
    fn nothing_is_said_where_somebody_gets_in_or_nobody_is_kept_out() {
        for spec in [
            json!({"podSelector": {}, "policyTypes": ["Egress"]}),
            json!({"podSelector": {"matchLabels": {"app": "other"}}}),
            json!({"podSelector": {}, "ingress": [{}]}),
            json!({"podSelector": {}, "ingress": [{"ports": [{"protocol": "TCP"}]}]}),
            json!({"podSelector": {}, "ingress": [{"ports": [{"port": 40010}]}]}),
            json!({"podSelector": {}, "ingress": [{"ports": [{"port": "olares-ws"}]}]}),
            json!({"podSelector": {}, "ingress": [{"ports": [{"port": 40000, "endPort": 40100}]}]}),
        ] {
            assert_eq!(said(std::slice::from_ref(&spec)), "", "{spec}");
        }
        // Rules add up.
        let open = json!({"podSelector": {}, "ingress": [{"ports": [{"port": 40010}]}]});
        assert_eq!(said(&[json!({"podSelector": {}}), open]), "");
    }

    #[test]
    fn pods_without_a_gateway_and_of_other_namespaces_are_nobodys_business() {
        let deny = [policy("deny", &json!({"podSelector": {}}))];
        let mut bare = pod("bare");
        bare.spec.as_mut().unwrap().containers.truncate(1);
        let mut elsewhere = pod("elsewhere");
        elsewhere.metadata.namespace = Some("halls".to_owned());
        assert!(of_policies(&deny, &[bare, elsewhere]).is_empty());
    }
}

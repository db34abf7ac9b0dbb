//! Whose word on a user's name a gateway takes: what the stanza says, or else what is known of
//! the platform and of who else is in the pod.

use std::fmt;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::PodSpec;
use stanza::settings::Identity;

use super::Rules;
use crate::names;
use crate::shape::containers;

/// The proxies that stand in the pod beside the app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// Olares' own Envoy, up to 1.12.6.
    pub envoy: bool,
    pub mesh: Option<Mesh>,
}

/// A mesh's sidecar, which brings clients into the pod from an address of the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mesh {
    pub container: &'static str,
    /// From where, as its documentation and its own configuration say.
    pub from: &'static str,
}

/// Whose identity headers are believed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// `None`: the gateway's default.
    pub proxies: Option<Vec<IpNet>>,
    why: Why,
    headers: String,
    mesh: Option<Mesh>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Stanza,
    Operator,
    Olares,
    Default,
}

const MESHES: [Mesh; 4] = [
    Mesh {
        container: "istio-proxy",
        from: "127.0.0.6 or ::6",
    },
    Mesh {
        container: "kuma-sidecar",
        from: "127.0.0.6 or ::6",
    },
    Mesh {
        container: "linkerd-proxy",
        from: "127.0.0.1 or the pod's own address",
    },
    Mesh {
        container: "consul-dataplane",
        from: "127.0.0.1",
    },
];

/// Where an edge inside a cluster has its pods (RFC 1918, RFC 4193). Not 100.64.0.0/10: there are
/// the devices of Olares' own VPN.
const PRIVATE: [&str; 4] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];
const LOOPBACK: &str = "127.0.0.1/32";

impl Neighbours {
    pub fn of(spec: &PodSpec) -> Self {
        let has = |wanted: &str| containers(spec).any(|container| container.name == wanted);
        Self {
            envoy: has(names::PLATFORM_ENVOY),
            mesh: MESHES.into_iter().find(|mesh| has(mesh.container)),
        }
    }
}

impl Trust {
    pub fn of(identity: &Identity, rules: &Rules, neighbours: Neighbours) -> Self {
        let (proxies, why) = match &identity.trusted_proxies {
            Some(stated) => (Some(stated.clone()), Why::Stanza),
            None => unstated(rules, neighbours),
        };
        let headers = identity.headers.iter().map(|name| name.as_str().to_owned());
        Self {
            proxies,
            why,
            headers: headers.collect::<Vec<_>>().join(", "),
            mesh: neighbours.mesh,
        }
    }

    fn is_nobody(&self) -> bool {
        self.proxies.as_ref().is_some_and(Vec::is_empty)
    }
}

fn unstated(rules: &Rules, neighbours: Neighbours) -> (Option<Vec<IpNet>>, Why) {
    let olares = rules.trusted_proxies.is_empty() && *rules.olares.borrow();
    let (mut proxies, why) = if olares {
        (PRIVATE.map(network).to_vec(), Why::Olares)
    } else {
        (rules.trusted_proxies.clone(), Why::Operator)
    };
    if neighbours.envoy {
        // It overwrites the header too, and what comes into the pod comes through it.
        proxies.insert(0, network(LOOPBACK));
        return (
            Some(proxies),
            if olares { Why::Olares } else { Why::Operator },
        );
    }
    match (proxies.is_empty(), neighbours.mesh) {
        (true, None) => (None, Why::Default),
        // Whoever comes through it, in TCP at least, looks like the pod itself.
        (true, Some(_)) => (Some(proxies), Why::Default),
        (false, _) => (Some(proxies), why),
    }
}

fn network(text: &str) -> IpNet {
    text.parse().expect("a network")
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers = &self.headers;
        match &self.proxies {
            None => write!(
                f,
                "{headers} is believed from the pod itself only (127.0.0.1, ::1), and from no \
                 proxy: set identity.trustedProxies to the network of an edge that overwrites it"
            )?,
            Some(proxies) if proxies.is_empty() => write!(
                f,
                "{headers} is believed from nobody: set identity.trustedProxies to the network of \
                 a proxy that overwrites it"
            )?,
            Some(proxies) => {
                let proxies: Vec<String> = proxies.iter().map(ToString::to_string).collect();
                write!(f, "{headers} is believed from {}, ", proxies.join(", "))?;
                f.write_str(match self.why {
                    Why::Stanza => "as the stanza says",
                    Why::Operator | Why::Default => "as the operator says",
                    Why::Olares => "as Olares' edge, which overwrites it, is there",
                })?;
                f.write_str(
                    " (identity.trustedProxies); whoever else is there can claim to be anyone",
                )?;
            }
        }
        let Some(Mesh { container, from }) = self.mesh else {
            return Ok(());
        };
        write!(
            f,
            "; clients that come through {container} come from {from}"
        )?;
        if self.is_nobody() {
            f.write_str(
                ", which belongs into the list only where the mesh's ingress overwrites the header",
            )?;
        }
        f.write_str("; an admin token keeps those who come through it in TCP from the admin API")
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ResourceRequirements;
    use serde_json::json;
    use stanza::choice::Expose;
    use tokio::sync::watch;

    use super::super::ExposeRule;
    use super::*;

    fn trust(stated: Option<&[&str]>, operator: &[&str], olares: bool, beside: &[&str]) -> Trust {
        let networks = |all: &[&str]| all.iter().copied().map(network).collect();
        let rules = Rules {
            image: String::new(),
            pull_policy: String::new(),
            pull_secrets: Vec::new(),
            resources: ResourceRequirements::default(),
            trusted_proxies: networks(operator),
            native: true,
            expose: ExposeRule::Always(Expose::Service),
            app_protocol: None,
            olares: watch::channel(olares).1,
        };
        let containers: Vec<_> = beside.iter().map(|name| json!({"name": name})).collect();
        let spec = serde_json::from_value(json!({"containers": [], "initContainers": containers}));
        let identity = Identity {
            trusted_proxies: stated.map(networks),
            ..Identity::default()
        };
        Trust::of(&identity, &rules, Neighbours::of(&spec.unwrap()))
    }

    #[track_caller]
    fn check(trust: &Trust, proxies: Option<&[&str]>, says: &[&str]) {
        let found = trust.proxies.as_ref().map(|all| {
            let all = all.iter().map(ToString::to_string);
            all.collect::<Vec<_>>()
        });
        let wanted = proxies.map(|all| all.iter().map(ToString::to_string).collect());
        assert_eq!(found, wanted);
        let text = trust.to_string();
        for part in says.iter().chain(&["x-bfl-user is believed"]) {
            assert!(text.contains(part), "{part} in: {text}");
        }
    }

    #[test]
    fn the_stanza_has_the_last_word() {
        let stated = trust(
            Some(&["10.1.0.0/16"]),
            &["10.0.0.0/8"],
            true,
            &["istio-proxy"],
        );
        check(
            &stated,
            Some(&["10.1.0.0/16"]),
            &["as the stanza says", "127.0.0.6"],
        );
        check(
            &trust(Some(&[]), &["10.0.0.0/8"], true, &[]),
            Some(&[]),
            &["from nobody"],
        );
    }

    #[test]
    fn then_the_operator_then_olares() {
        let said = trust(None, &["10.0.0.0/8"], true, &[]);
        check(&said, Some(&["10.0.0.0/8"]), &["as the operator says"]);
        let olares = trust(None, &[], true, &[]);
        check(
            &olares,
            Some(&PRIVATE),
            &["Olares' edge", "can claim to be anyone"],
        );
        check(
            &trust(None, &[], false, &[]),
            None,
            &["the pod itself only"],
        );
    }

    #[test]
    fn olares_own_envoy_is_a_named_proxy() {
        let beside = ["olares-envoy-sidecar"];
        check(&trust(None, &[], false, &beside), Some(&[LOOPBACK]), &[]);
        let both = [&[LOOPBACK][..], &PRIVATE].concat();
        check(
            &trust(None, &[], true, &beside),
            Some(&both),
            &["Olares' edge"],
        );
    }

    /// What a mesh carries in looks like the pod itself.
    #[test]
    fn with_a_mesh_in_the_pod_loopback_is_nobody() {
        for (mesh, from) in [
            ("istio-proxy", "127.0.0.6"),
            ("kuma-sidecar", "127.0.0.6"),
            ("linkerd-proxy", "127.0.0.1"),
            ("consul-dataplane", "127.0.0.1"),
        ] {
            let says = [
                "from nobody",
                "identity.trustedProxies",
                mesh,
                from,
                "admin token",
            ];
            check(&trust(None, &[], false, &[mesh]), Some(&[]), &says);
        }
        let named = trust(None, &["10.0.0.0/8"], false, &["linkerd-proxy"]);
        check(&named, Some(&["10.0.0.0/8"]), &["linkerd-proxy"]);
    }
}

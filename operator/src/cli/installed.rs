//! The operator as it is installed, read from its Deployment.

use std::collections::BTreeMap;

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches, Parser};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Container;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use crate::settings::GatewaySettings;

/// Tells the operator's Deployment from others, whatever it is called.
const MARK: &str = "WS_OPERATOR_GATEWAY_IMAGE";
const WEBHOOK_PORT: u16 = 9443;

#[derive(Clone, Debug, Default)]
pub(super) struct Installed {
    pub(super) name: String,
    pub(super) account: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) wanted: i32,
    pub(super) ready: i32,
    pub(super) image: String,
    pub(super) webhook_port: u16,
    pub(super) settings: BTreeMap<String, String>,
}

/// Where it learns of apps.
pub(super) struct Sources {
    pub(super) helm: bool,
    /// None: everywhere.
    pub(super) helm_namespaces: Vec<String>,
    pub(super) pod_labels: bool,
    pub(super) application_managers: bool,
}

/// As `ws-operator run` reads them.
#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    gateway: GatewaySettings,
}

impl Installed {
    /// In that namespace, if it is there.
    pub(super) async fn find(client: &Client, namespace: &str) -> kube::Result<Option<Self>> {
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
        let all = deployments.list(&ListParams::default()).await?;
        Ok(all.iter().find_map(Self::read))
    }

    fn read(deployment: &Deployment) -> Option<Self> {
        let spec = deployment.spec.as_ref()?;
        let pod = spec.template.spec.as_ref()?;
        let container = pod.containers.iter().find(|one| is_operator(one))?;
        let settings = container.env.iter().flatten();
        let settings = settings
            .filter_map(|one| Some((one.name.clone(), one.value.clone()?)))
            .collect();
        let port = container
            .ports
            .iter()
            .flatten()
            .find(|port| port.name.as_deref() == Some("webhook"))
            .and_then(|port| u16::try_from(port.container_port).ok());
        let status = deployment.status.as_ref();
        Some(Self {
            name: deployment.name_any(),
            account: pod.service_account_name.clone().unwrap_or_default(),
            labels: spec.selector.match_labels.clone().unwrap_or_default(),
            wanted: spec.replicas.unwrap_or(1),
            ready: status
                .and_then(|status| status.ready_replicas)
                .unwrap_or_default(),
            image: container.image.clone().unwrap_or_default(),
            webhook_port: port.unwrap_or(WEBHOOK_PORT),
            settings,
        })
    }

    pub(super) fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    /// The name of another object, which is the Deployment's where nothing is said.
    pub(super) fn named(&self, setting: &str) -> &str {
        self.setting(setting).unwrap_or(&self.name)
    }

    /// The image's tag; `None`: it has none, or is named by its digest.
    pub(super) fn version(&self) -> Option<&str> {
        tag(&self.image)
    }

    pub(super) fn gateway_image(&self) -> &str {
        self.setting(MARK).unwrap_or_default()
    }

    /// What it injects: its variables are those of `ws-operator run`.
    pub(super) fn gateway(&self) -> anyhow::Result<GatewaySettings> {
        let command = Flags::command();
        let given = command.get_arguments().filter_map(|argument| {
            let value = self.setting(argument.get_env()?.to_str()?)?;
            Some(format!("--{}={value}", argument.get_long()?))
        });
        let words = std::iter::once("ws-operator".to_owned()).chain(given);
        // Our own variables are no matter here: each that counts is among the words.
        let matches = Flags::command().try_get_matches_from(words);
        let flags = matches.and_then(|matches| Flags::from_arg_matches(&matches));
        let flags = flags.context("the installed operator's settings are not of this version")?;
        Ok(flags.gateway)
    }

    /// The webhook's certificate is made by others.
    pub(super) fn has_foreign_certificates(&self) -> bool {
        self.setting("WS_OPERATOR_CERTIFICATES").is_some()
    }

    pub(super) fn has_foreign_bundle(&self) -> bool {
        self.setting("WS_OPERATOR_CA_BUNDLE_INJECTED") == Some("true")
    }

    pub(super) fn sources(&self) -> Sources {
        let on = |name| self.setting(name) == Some("true");
        let namespaces = self.setting("WS_OPERATOR_HELM_NAMESPACES");
        let namespaces = namespaces.unwrap_or_default().split(',');
        Sources {
            helm: on("WS_OPERATOR_HELM_RELEASES"),
            helm_namespaces: namespaces
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
            pod_labels: on("WS_OPERATOR_POD_LABELS"),
            application_managers: on("WS_OPERATOR_APPLICATION_MANAGERS"),
        }
    }
}

// === impl Sources ===

impl Sources {
    pub(super) fn helm_everywhere(&self) -> bool {
        self.helm && self.helm_namespaces.is_empty()
    }

    /// AppManifests are written in any namespace.
    pub(super) fn write_everywhere(&self) -> bool {
        self.pod_labels || self.application_managers || self.helm_everywhere()
    }
}

fn is_operator(container: &Container) -> bool {
    let mut settings = container.env.iter().flatten();
    settings.any(|variable| variable.name == MARK)
}

fn tag(image: &str) -> Option<&str> {
    if image.contains('@') {
        return None;
    }
    let (_, tag) = image.rsplit('/').next()?.split_once(':')?;
    Some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::ExposeDefault;

    #[test]
    fn a_tag_is_told_from_a_port_and_a_digest() {
        assert_eq!(tag("registry:5000/ws-operator:0.1.0"), Some("0.1.0"));
        assert_eq!(tag("registry:5000/ws-operator"), None);
        assert_eq!(tag("ws-operator:1@sha256:00"), None);
    }

    #[test]
    fn the_operators_own_variables_say_what_it_injects() {
        let settings = [
            (MARK, "gateway:2"),
            ("WS_OPERATOR_EXPOSE", "entrance"),
            ("WS_OPERATOR_LEASE", "no matter here"),
        ];
        let installed = Installed {
            settings: settings
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ..Installed::default()
        };
        let gateway = installed.gateway().unwrap();
        assert_eq!(gateway.gateway_image, "gateway:2");
        assert!(matches!(gateway.expose, ExposeDefault::Entrance));
    }
}

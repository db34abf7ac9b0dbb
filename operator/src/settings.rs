//! The operator's own settings: flags, each with its environment variable. The chart sets them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::ResourceRequirements;
use stanza::choice::Expose;

use tokio::sync::watch;

use crate::injection::{ExposeRule, Rules};

#[derive(Clone, Debug, Args)]
pub struct Settings {
    #[command(flatten)]
    pub gateway: GatewaySettings,
    #[command(flatten)]
    pub webhook: WebhookSettings,
    #[command(flatten)]
    pub sources: SourceSettings,
    /// How long after the API server refused a workload's pods with the gateway it is tried again;
    /// doubled each time, up to 24 times as long. 0s: never
    #[arg(long, env = "WS_OPERATOR_RETRY_REFUSED", default_value = "0s", value_parser = humantime::parse_duration)]
    pub retry_refused: Duration,
    /// Where /healthz, /readyz and /metrics answer
    #[arg(long, env = "WS_OPERATOR_OPS_LISTEN", default_value = "0.0.0.0:8080")]
    pub ops_listen: SocketAddr,
    /// The operator's own namespace
    #[arg(long, env = "POD_NAMESPACE", default_value = "ws-operator")]
    pub namespace: String,
    /// The Lease whose holder controls, made where it is missing; all replicas serve admission
    #[arg(long, env = "WS_OPERATOR_LEASE", default_value = "ws-operator")]
    pub lease: String,
    /// This replica's name
    #[arg(long, env = "POD_NAME", default_value = "ws-operator")]
    pub pod_name: String,
}

/// What is injected where the stanza does not say.
#[derive(Clone, Debug, Args)]
pub struct GatewaySettings {
    /// The gateway's image
    #[arg(
        long,
        env = "WS_OPERATOR_GATEWAY_IMAGE",
        default_value = concat!("ghcr.io/olares-ws/ws-gateway:", env!("CARGO_PKG_VERSION"))
    )]
    pub gateway_image: String,
    #[arg(
        long,
        env = "WS_OPERATOR_GATEWAY_PULL_POLICY",
        default_value = "IfNotPresent"
    )]
    pub gateway_pull_policy: String,
    /// Secrets of the apps' namespaces with which the gateway's image is pulled, comma-separated
    #[arg(long, env = "WS_OPERATOR_GATEWAY_PULL_SECRETS", value_delimiter = ',')]
    pub gateway_pull_secrets: Vec<String>,
    /// The gateway's requests and limits, as JSON
    #[arg(long, env = "WS_OPERATOR_GATEWAY_RESOURCES", default_value = DEFAULT_RESOURCES, value_parser = resources)]
    pub gateway_resources: ResourceRequirements,
    /// Peers whose identity headers count, where the stanza does not say; comma-separated networks.
    /// None: the private ranges on Olares, else the gateway's default
    #[arg(long, env = "WS_OPERATOR_TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Vec<IpNet>,
    /// How clients reach the gateway; auto: entrance on Olares, else service
    #[arg(long, env = "WS_OPERATOR_EXPOSE", default_value = "auto")]
    pub expose: ExposeDefault,
    /// appProtocol of the Services that are made beside entrances; empty: none
    #[arg(
        long,
        env = "WS_OPERATOR_APP_PROTOCOL",
        default_value = "kubernetes.io/ws"
    )]
    pub app_protocol: String,
}

#[derive(Clone, Debug, Args)]
pub struct WebhookSettings {
    #[arg(
        long,
        env = "WS_OPERATOR_WEBHOOK_LISTEN",
        default_value = "0.0.0.0:9443"
    )]
    pub webhook_listen: SocketAddr,
    /// The Service that leads to the webhook
    #[arg(
        long,
        env = "WS_OPERATOR_WEBHOOK_SERVICE",
        default_value = "ws-operator"
    )]
    pub webhook_service: String,
    /// The MutatingWebhookConfiguration whose caBundle and paths are kept
    #[arg(
        long,
        env = "WS_OPERATOR_WEBHOOK_CONFIGURATION",
        default_value = "ws-operator"
    )]
    pub webhook_configuration: String,
    /// The MutatingWebhookConfiguration, empty at first, for namespaces whose entrance leads to gateways
    #[arg(
        long,
        env = "WS_OPERATOR_ENTRANCE_CONFIGURATION",
        default_value = "ws-operator-entrance"
    )]
    pub entrance_configuration: String,
    /// For a TLS handshake, the head of a request after it, and its body: each
    #[arg(long, env = "WS_OPERATOR_WEBHOOK_REQUEST_TIMEOUT", default_value = "10s", value_parser = humantime::parse_duration)]
    pub webhook_request_timeout: Duration,
    /// Namespaces that the webhook configuration leaves out: nothing is restarted there
    #[arg(long, env = "WS_OPERATOR_EXCLUDED_NAMESPACES", value_delimiter = ',')]
    pub excluded_namespaces: Vec<String>,
    /// The operator's Secret: the key of the webhook's paths and the certificate authority; made where
    /// it is missing
    #[arg(long, env = "WS_OPERATOR_CA_SECRET", default_value = "ws-operator-ca")]
    pub ca_secret: String,
    /// The Helm release that the operator is of: what it makes of the release's, Helm takes over
    #[arg(long, env = "WS_OPERATOR_RELEASE")]
    pub release: Option<String>,
    #[arg(long, env = "WS_OPERATOR_CA_LIFETIME", default_value = "365d", value_parser = humantime::parse_duration)]
    pub ca_lifetime: Duration,
    /// A folder with tls.crt, tls.key and ca.crt that others write; without it the operator makes
    /// its own
    #[arg(long, env = "WS_OPERATOR_CERTIFICATES")]
    pub certificates: Option<PathBuf>,
    /// The installed webhook configuration gets its caBundle from somebody else, e.g. cert-manager
    #[arg(long, env = "WS_OPERATOR_CA_BUNDLE_INJECTED", action = clap::ArgAction::Set, default_value_t = false)]
    pub ca_bundle_injected: bool,
    #[arg(long, env = "WS_OPERATOR_CERTIFICATE_LIFETIME", default_value = "14d", value_parser = humantime::parse_duration)]
    pub certificate_lifetime: Duration,
}

#[derive(Clone, Debug, Args)]
pub struct SourceSettings {
    /// Read OlaresManifest.yaml from the Secrets of Helm releases
    #[arg(long, env = "WS_OPERATOR_HELM_RELEASES", action = clap::ArgAction::Set, default_value_t = false)]
    pub helm_releases: bool,
    /// … in these namespaces only, comma-separated
    #[arg(long, env = "WS_OPERATOR_HELM_NAMESPACES", value_delimiter = ',')]
    pub helm_namespaces: Vec<String>,
    /// Read the label ws.olares.com/inject of pod templates
    #[arg(long, env = "WS_OPERATOR_POD_LABELS", action = clap::ArgAction::Set, default_value_t = false)]
    pub pod_labels: bool,
    /// Read Olares' ApplicationManagers, where there are any
    #[arg(long, env = "WS_OPERATOR_APPLICATION_MANAGERS", action = clap::ArgAction::Set, default_value_t = false)]
    pub application_managers: bool,
}

impl GatewaySettings {
    /// `native`: the cluster runs init containers that always restart. `olares`: what `auto` means.
    pub fn rules(&self, native: bool, olares: watch::Receiver<bool>) -> Rules {
        Rules {
            image: self.gateway_image.clone(),
            pull_policy: self.gateway_pull_policy.clone(),
            pull_secrets: self.gateway_pull_secrets.clone(),
            resources: self.gateway_resources.clone(),
            trusted_proxies: self.trusted_proxies.clone(),
            olares: olares.clone(),
            native,
            expose: match self.expose {
                ExposeDefault::Auto => ExposeRule::ByPlatform(olares),
                ExposeDefault::Entrance => ExposeRule::Always(Expose::Entrance),
                ExposeDefault::Service => ExposeRule::Always(Expose::Service),
                ExposeDefault::None => ExposeRule::Always(Expose::None),
            },
            app_protocol: Some(self.app_protocol.clone()).filter(|name| !name.is_empty()),
        }
    }
}

/// Small: a gateway that serves nobody needs a few megabytes; the limit leaves room for
/// thousands of connections.
const DEFAULT_RESOURCES: &str =
    r#"{"requests":{"cpu":"10m","memory":"24Mi"},"limits":{"memory":"256Mi"}}"#;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ExposeDefault {
    Auto,
    Entrance,
    Service,
    None,
}

fn resources(json: &str) -> serde_json::Result<ResourceRequirements> {
    serde_json::from_str(json)
}

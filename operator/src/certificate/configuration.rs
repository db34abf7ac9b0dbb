//! A webhook configuration as far as the API server's trust, and its way to us, go.
//!
//! Several replicas and cert-manager write to it, each from what it has read: so what is written
//! names the version that was read, and of two writers one has to look again. Otherwise the slower
//! one takes away the authority that the faster one has just added, and serves already.

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::Api;
use kube::api::{Patch, PatchParams};
use rustls::pki_types::CertificateDer;
use serde_json::{Value as Json, json};
use tracing::info;

use super::bundle;
use crate::names;
use crate::webhook::door::{self, About, Key};

type Certificate = CertificateDer<'static>;

pub struct Configuration {
    pub api: Api<MutatingWebhookConfiguration>,
    pub name: String,
}

/// What the API server has now.
pub struct Present {
    version: Option<String>,
    pub(super) webhooks: Vec<Webhook>,
}

pub(super) struct Webhook {
    pub(super) name: String,
    pub(super) bundle: Vec<Certificate>,
    pub(super) path: Option<String>,
    pub(super) namespaces: Json,
}

/// How the API server is to find us.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    pub key: &'a Key,
    /// Every replica has had the time to learn of the key. Until then the paths of before stay.
    pub settled: bool,
}

impl Configuration {
    pub async fn read(&self) -> kube::Result<Present> {
        let found = self.api.get(&self.name).await?;
        let webhooks = found.webhooks.unwrap_or_default().into_iter();
        let webhooks = webhooks.map(|webhook| {
            let config = webhook.client_config;
            let bytes = config.ca_bundle;
            Webhook {
                name: webhook.name,
                bundle: bytes.map_or_else(Vec::new, |bytes| bundle::parse(&bytes.0)),
                path: config.service.and_then(|service| service.path),
                namespaces: serde_json::to_value(webhook.namespace_selector).unwrap_or_default(),
            }
        });
        Ok(Present {
            version: found.metadata.resource_version,
            webhooks: webhooks.collect(),
        })
    }

    /// Puts bundle and path into each webhook where they are not there: those fields and no others,
    /// so that whoever installs the configuration keeps everything else.
    pub async fn write(
        &self,
        present: &Present,
        wanted: &[Certificate],
        way: Way<'_>,
    ) -> kube::Result<()> {
        let led = present.is_led(way);
        if led && present.webhooks.iter().all(|one| one.bundle == wanted) {
            return Ok(());
        }
        let encoded = encoded(wanted);
        let webhook = |one: &Webhook| {
            let mut entry = one.led(way);
            entry["clientConfig"]["caBundle"] = json!(encoded);
            entry
        };
        let webhooks = present.webhooks.iter().map(webhook).collect();
        self.apply(webhooks, Some(present)).await?;
        info!(configuration = self.name, "caBundle and paths written");
        Ok(())
    }

    /// The paths alone, where somebody else writes the bundle. Not by server-side apply: what we do
    /// not name we would give up, and with it a bundle that was ours before.
    pub async fn write_paths(&self, present: &Present, way: Way<'_>) -> kube::Result<()> {
        if present.is_led(way) {
            return Ok(());
        }
        let webhooks: Vec<Json> = present.webhooks.iter().map(|one| one.led(way)).collect();
        let body = json!({
            "metadata": {"resourceVersion": present.version},
            "webhooks": webhooks,
        });
        let params = PatchParams {
            field_manager: Some(names::MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Strategic(&body);
        self.api.patch(&self.name, &params, &patch).await?;
        info!(configuration = self.name, "paths written");
        Ok(())
    }

    /// `onto`: what must still be there.
    pub(super) async fn apply(
        &self,
        webhooks: Vec<Json>,
        onto: Option<&Present>,
    ) -> kube::Result<()> {
        let version = onto.and_then(|present| present.version.as_ref());
        let metadata = version.map_or_else(|| json!({}), |one| json!({"resourceVersion": one}));
        let body = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": metadata,
            "webhooks": webhooks,
        });
        let params = PatchParams::apply(names::MANAGER).force();
        let patch = Patch::Apply(&body);
        self.api.patch(&self.name, &params, &patch).await.map(drop)
    }
}

pub(super) fn encoded(bundle: &[Certificate]) -> ByteString {
    ByteString(bundle::to_pem(bundle).into_bytes())
}

// === impl Way ===

impl Way<'_> {
    pub(super) fn path(self, about: About<'_>, present: Option<&str>) -> String {
        match present.filter(|present| !self.settled && door::is_ours(present)) {
            Some(present) => present.to_owned(),
            None => self.key.path(about),
        }
    }
}

// === impl Webhook ===

impl Webhook {
    /// `None`: a webhook that we do not know.
    fn wanted_path(&self, way: Way<'_>) -> Option<String> {
        let about = About::of_webhook(&self.name)?;
        Some(way.path(about, self.path.as_deref()))
    }

    fn led(&self, way: Way<'_>) -> Json {
        let config = match self.wanted_path(way) {
            Some(path) => json!({"service": {"path": path}}),
            None => json!({}),
        };
        json!({"name": self.name, "clientConfig": config})
    }
}

// === impl Present ===

impl Present {
    /// The certificates of any of the webhooks, in their order.
    pub fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.webhooks.iter().flat_map(|webhook| &webhook.bundle)
    }

    /// Where the API server asks.
    pub fn paths(&self) -> impl Iterator<Item = &String> {
        self.webhooks
            .iter()
            .filter_map(|webhook| webhook.path.as_ref())
    }

    /// Whether every webhook is trusted by these.
    pub fn trusts(&self, authorities: &[Certificate]) -> bool {
        self.webhooks
            .iter()
            .all(|webhook| authorities.iter().all(|one| webhook.bundle.contains(one)))
    }

    pub fn is_led(&self, way: Way<'_>) -> bool {
        self.webhooks.iter().all(|webhook| {
            let wanted = webhook.wanted_path(way);
            wanted.is_none() || webhook.path == wanted
        })
    }
}

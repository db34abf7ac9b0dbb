//! A webhook configuration as far as the API server's trust goes.
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
    pub(super) namespaces: Json,
}

impl Configuration {
    pub async fn read(&self) -> kube::Result<Present> {
        let found = self.api.get(&self.name).await?;
        let webhooks = found.webhooks.unwrap_or_default().into_iter();
        let webhooks = webhooks.map(|webhook| {
            let bytes = webhook.client_config.ca_bundle;
            Webhook {
                name: webhook.name,
                bundle: bytes.map_or_else(Vec::new, |bytes| bundle::parse(&bytes.0)),
                namespaces: serde_json::to_value(webhook.namespace_selector).unwrap_or_default(),
            }
        });
        Ok(Present {
            version: found.metadata.resource_version,
            webhooks: webhooks.collect(),
        })
    }

    /// Puts the bundle into each webhook where it is not there: that one field and no other, so
    /// that whoever installs the configuration keeps everything else.
    pub async fn write(&self, present: &Present, wanted: &[Certificate]) -> kube::Result<()> {
        if present.webhooks.iter().all(|one| one.bundle == wanted) {
            return Ok(());
        }
        let encoded = encoded(wanted);
        let webhooks = present
            .webhooks
            .iter()
            .map(|one| json!({"name": one.name, "clientConfig": {"caBundle": encoded}}))
            .collect();
        self.apply(webhooks, Some(present)).await?;
        info!(configuration = self.name, "caBundle written");
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

// === impl Present ===

impl Present {
    /// The certificates of any of the webhooks, in their order.
    pub fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.webhooks.iter().flat_map(|webhook| &webhook.bundle)
    }

    /// Whether every webhook is trusted by these.
    pub fn trusts(&self, authorities: &[Certificate]) -> bool {
        self.webhooks
            .iter()
            .all(|webhook| authorities.iter().all(|one| webhook.bundle.contains(one)))
    }
}

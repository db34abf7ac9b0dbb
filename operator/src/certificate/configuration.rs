//! The caBundle of our webhook configuration: that one field and no other, so that whoever
//! installs the configuration keeps everything else.

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::Api;
use kube::api::{Patch, PatchParams};
use rustls::pki_types::CertificateDer;
use serde_json::json;
use tracing::info;

use super::bundle;
use crate::names;

pub struct Configuration {
    pub api: Api<MutatingWebhookConfiguration>,
    pub name: String,
}

/// What the API server trusts now.
pub struct Present {
    webhooks: Vec<(String, Vec<CertificateDer<'static>>)>,
}

impl Configuration {
    pub async fn read(&self) -> kube::Result<Present> {
        let found = self.api.get(&self.name).await?;
        let webhooks = found.webhooks.unwrap_or_default().into_iter();
        let webhooks = webhooks.map(|webhook| {
            let bytes = webhook.client_config.ca_bundle;
            let bundle = bytes.map(|bytes| bundle::parse(&bytes.0));
            (webhook.name, bundle.unwrap_or_default())
        });
        Ok(Present {
            webhooks: webhooks.collect(),
        })
    }

    /// Puts the bundle into each webhook where it is not there.
    pub async fn write(
        &self,
        present: &Present,
        wanted: &[CertificateDer<'static>],
    ) -> kube::Result<()> {
        if present.webhooks.iter().all(|(_, bundle)| bundle == wanted) {
            return Ok(());
        }
        let encoded = ByteString(bundle::to_pem(wanted).into_bytes());
        let webhooks: Vec<_> = present
            .webhooks
            .iter()
            .map(|(name, _)| json!({"name": name, "clientConfig": {"caBundle": encoded}}))
            .collect();
        let body = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "webhooks": webhooks,
        });
        let params = PatchParams::apply(names::MANAGER).force();
        self.api
            .patch(&self.name, &params, &Patch::Apply(&body))
            .await?;
        info!(configuration = self.name, "caBundle written");
        Ok(())
    }
}

// === impl Present ===

impl Present {
    /// The certificates of any of the webhooks, in their order.
    pub fn certificates(&self) -> Vec<CertificateDer<'static>> {
        let mut all = Vec::new();
        for certificate in self.webhooks.iter().flat_map(|(_, bundle)| bundle) {
            if !all.contains(certificate) {
                all.push(certificate.clone());
            }
        }
        all
    }

    /// Whether every webhook is trusted by these.
    pub fn trusts(&self, authorities: &[CertificateDer<'static>]) -> bool {
        self.webhooks
            .iter()
            .all(|(_, bundle)| authorities.iter().all(|one| bundle.contains(one)))
    }
}

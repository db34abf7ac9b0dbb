//! The webhook entry with `failurePolicy: Fail`, for namespaces with an entrance that leads to
//! gateways and for no others: a pod without a gateway would get no requests there.
//!
//! It stands in a configuration of its own, which whoever installs us leaves empty: so the list
//! of namespaces is ours alone, and no right to label namespaces is needed.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value as Json, json};
use tracing::info;

use crate::cluster::Cluster;
use crate::names;
use crate::webhook;

const ENTRY: &str = "entrance.pods.ws.olares.com";

pub struct Entrances {
    pub configurations: Api<MutatingWebhookConfiguration>,
    pub configuration: String,
    pub cluster: Arc<Cluster>,
    /// Of the Service that leads to the webhook.
    pub namespace: String,
    pub service: String,
}

impl Entrances {
    /// What the API server calls the webhook.
    pub(super) fn names(&self) -> [String; 2] {
        let Self {
            namespace, service, ..
        } = self;
        [
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}.svc.cluster.local"),
        ]
    }

    pub(super) async fn publish(&self, bundle: &str) -> kube::Result<()> {
        // A list that is not complete must not shrink what is there.
        if !self.cluster.services.is_synced() {
            return Ok(());
        }
        let namespaces = self.cluster.routed_namespaces();
        let found = self.configurations.get(&self.configuration).await?;
        let wanted = (!namespaces.is_empty()).then(|| self.entry(&namespaces, bundle));
        if covers(&found, wanted.as_ref()) {
            return Ok(());
        }
        write(&self.configurations, &self.configuration, wanted).await?;
        info!(
            ?namespaces,
            "pods of these namespaces need an answer of ours"
        );
        Ok(())
    }

    fn entry(&self, namespaces: &BTreeSet<String>, bundle: &str) -> Json {
        json!({
            "name": ENTRY,
            "admissionReviewVersions": ["v1"],
            "clientConfig": {
                "caBundle": ByteString(bundle.as_bytes().to_vec()),
                "service": {"name": self.service, "namespace": self.namespace, "path": webhook::PODS, "port": 443},
            },
            "rules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                "resources": ["pods"], "scope": "Namespaced",
            }],
            "failurePolicy": "Fail",
            "timeoutSeconds": 3,
            "reinvocationPolicy": "IfNeeded",
            "sideEffects": "NoneOnDryRun",
            "matchPolicy": "Equivalent",
            "namespaceSelector": {"matchExpressions": [
                {"key": "kubernetes.io/metadata.name", "operator": "In", "values": namespaces},
            ]},
        })
    }
}

/// No pod needs an answer of ours any more.
pub async fn clear(
    configurations: &Api<MutatingWebhookConfiguration>,
    name: &str,
) -> kube::Result<()> {
    write(configurations, name, None).await
}

async fn write(
    configurations: &Api<MutatingWebhookConfiguration>,
    name: &str,
    entry: Option<Json>,
) -> kube::Result<()> {
    let body = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "webhooks": entry.into_iter().collect::<Vec<Json>>(),
    });
    let params = PatchParams::apply(names::MANAGER).force();
    configurations
        .patch(name, &params, &Patch::Apply(&body))
        .await
        .map(drop)
}

/// Whether the entry is there with the wanted bundle and namespaces.
fn covers(found: &MutatingWebhookConfiguration, wanted: Option<&Json>) -> bool {
    let webhooks = serde_json::to_value(&found.webhooks).unwrap_or_default();
    let part = |webhook: &Json, path: &str| webhook.pointer(path).cloned();
    match (webhooks.as_array().map(Vec::as_slice), wanted) {
        (None | Some([]), None) => true,
        (Some([found]), Some(wanted)) => ["/clientConfig/caBundle", "/namespaceSelector"]
            .iter()
            .all(|path| part(found, path) == part(wanted, path)),
        _ => false,
    }
}

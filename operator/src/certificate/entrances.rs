//! The webhook entry with `failurePolicy: Fail`, for namespaces with an entrance that leads to
//! gateways and for no others: a pod without a gateway would get no requests there.
//!
//! It stands in a configuration of its own, which whoever installs us leaves empty: so the list
//! of namespaces is ours alone, and no right to label namespaces is needed.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use serde_json::{Value as Json, json};
use tracing::info;

use super::configuration::{Configuration, Present, encoded};
use crate::cluster::Cluster;
use crate::webhook;

const ENTRY: &str = "entrance.pods.ws.olares.com";

pub struct Entrances {
    pub configuration: Configuration,
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

    /// The list of namespaces as this replica knows it, which has to be complete.
    pub(super) async fn publish(
        &self,
        present: &Present,
        bundle: &[CertificateDer<'static>],
    ) -> kube::Result<()> {
        let namespaces = self.cluster.routed_namespaces();
        let wanted = (!namespaces.is_empty()).then(|| self.entry(&namespaces, bundle));
        if covers(present, wanted.as_ref(), bundle) {
            return Ok(());
        }
        let webhooks = wanted.into_iter().collect();
        self.configuration.apply(webhooks, Some(present)).await?;
        info!(
            ?namespaces,
            "pods of these namespaces need an answer of ours"
        );
        Ok(())
    }

    fn entry(&self, namespaces: &BTreeSet<String>, bundle: &[CertificateDer<'static>]) -> Json {
        json!({
            "name": ENTRY,
            "admissionReviewVersions": ["v1"],
            "clientConfig": {
                "caBundle": encoded(bundle),
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
pub async fn clear(configuration: &Configuration) -> kube::Result<()> {
    configuration.apply(Vec::new(), None).await
}

/// Whether the entry is there with the wanted bundle and namespaces.
fn covers(present: &Present, wanted: Option<&Json>, bundle: &[CertificateDer<'static>]) -> bool {
    match (present.webhooks.as_slice(), wanted) {
        ([], None) => true,
        ([found], Some(wanted)) => {
            found.bundle == bundle && found.namespaces == wanted["namespaceSelector"]
        }
        _ => false,
    }
}

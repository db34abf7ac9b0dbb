//! What the webhook is installed to do.

use std::sync::atomic::Ordering;

use anyhow::Result;
use serde_json::{Value as Json, json};

use super::{ENVOY, Platform, WEBHOOK};
use crate::admission;
use crate::authority::encode;
use crate::command::kubectl;
use crate::small::{Small, apply};
use crate::wait::{Look, until};

/// Its annotation on what it has been through.
const DONE: &str = "sidecar.bytetrade.io/proxy-uuid";

/// What the webhook does from now on.
#[derive(Clone, Copy, Debug)]
pub struct Sandbox<'a> {
    /// Of the configuration: webhooks are called in the order of these.
    pub name: &'a str,
    /// [`ENVOY`], [`GATEWAY`], or both.
    pub adds: &'a [&'a str],
    /// Whether it asks to be called again, as Olares' does not.
    pub again: bool,
}

impl<'a> Sandbox<'a> {
    /// As on Olares.
    pub fn adding(adds: &'a [&'a str]) -> Self {
        Self {
            name: WEBHOOK,
            adds,
            again: false,
        }
    }
}

impl Platform {
    /// Installed so, in place of what was: from when this returns every new pod is given it.
    pub async fn play(&self, sandbox: Sandbox<'_>) -> Result<()> {
        let mark = self.played.fetch_add(1, Ordering::Relaxed).to_string();
        self.remove()?;
        let part = |name: &&str| if *name == ENVOY { "/envoy" } else { "/gateway" };
        let parts: String = sandbox.adds.iter().map(part).collect();
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": sandbox.name, "labels": {"e2e": self.place.name}},
            "webhooks": [{
                "name": "sandbox-webhook.bytetrade.io",
                "admissionReviewVersions": ["v1"],
                "clientConfig": {
                    "caBundle": encode(&self.authority.certificate()),
                    "service": {
                        "name": WEBHOOK, "namespace": self.place.name, "path": format!("{parts}/{mark}"), "port": 443,
                    },
                },
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.app.name}},
                "failurePolicy": "Fail",
                "reinvocationPolicy": if sandbox.again { "IfNeeded" } else { "Never" },
                "sideEffects": "None",
            }],
        });
        apply(&self.place, &[configuration])?;
        self.shows(Some(&mark)).await
    }

    /// As from 1.12.7: nothing is added any more.
    pub async fn play_nothing(&self) -> Result<()> {
        self.remove()?;
        self.shows(None).await
    }

    pub(super) fn remove(&self) -> Result<()> {
        let label = format!("e2e={}", self.place.name);
        kubectl(["delete", "mutatingwebhookconfigurations", "-l", &label]).map(drop)
    }

    async fn shows(&self, mark: Option<&str>) -> Result<()> {
        let mut pod = Small::deployment("look").template();
        pod["metadata"]["generateName"] = json!("look-");
        until("the API server to know the platform's webhook", || async {
            let (pod, _) = admission::create(&self.app, "pods", &pod).await?;
            let found = pod["metadata"]["annotations"]
                .get(DONE)
                .and_then(Json::as_str);
            Ok(Look::when(found == mark, (), format!("{found:?}")))
        })
        .await
    }
}

//! Asks our own webhook a question by way of the API server: what new pods depend on, shown
//! end to end before anything is restarted on the strength of it.

use std::time::Duration;

use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::api::AppManifest;
use crate::cluster::chain;
use crate::metrics::Metrics;
use crate::webhook::PROBE;

/// Until the first answer, and after it.
const EAGER: Duration = Duration::from_secs(1);
const CALM: Duration = Duration::from_secs(30);

pub struct Probe {
    manifests: Api<AppManifest>,
    up: watch::Sender<bool>,
}

impl Probe {
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            manifests: Api::namespaced(client, namespace),
            up: watch::Sender::new(false),
        }
    }

    pub fn up(&self) -> watch::Receiver<bool> {
        self.up.subscribe()
    }

    /// Works for ever.
    pub async fn run(&self, metrics: &Metrics, on_change: impl Fn(bool)) {
        loop {
            let up = self.ask().await;
            metrics.probed(up);
            if self.up.send_replace(up) != up {
                if up {
                    info!("the API server reaches the webhook");
                } else {
                    warn!("the API server does not reach the webhook");
                }
                on_change(up);
            }
            tokio::time::sleep(if up { CALM } else { EAGER }).await;
        }
    }

    /// Creates an AppManifest for the show only: the webhook marks it, or nobody does.
    pub async fn ask(&self) -> bool {
        let object: AppManifest = match serde_json::from_value(json!({
            "metadata": {"generateName": "probe-", "annotations": {PROBE: "asked"}},
            "spec": {},
        })) {
            Ok(object) => object,
            Err(error) => {
                warn!(%error, "the webhook probe could not run");
                return false;
            }
        };
        let params = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        match self.manifests.create(&params, &object).await {
            Ok(answer) => answer.metadata.annotations.is_some_and(|annotations| {
                annotations
                    .get(PROBE)
                    .is_some_and(|mark| mark == "answered")
            }),
            Err(error) => {
                warn!(error = %chain(&error), "the probe could not be sent");
                false
            }
        }
    }
}

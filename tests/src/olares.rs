//! Olares as an app meets it: its record of the app, and up to 1.12.6 its `sandbox-webhook`, a real
//! mutating webhook in a pod of the cluster (`olares/webhook.py`), which puts Envoy
//! (`olares/envoy.py`, behind real iptables) and a gateway into every pod of the app's namespace.

mod captured;
mod play;
mod record;

use std::sync::atomic::AtomicU32;

use anyhow::Result;
use serde_json::json;

use crate::authority::Authority;
use crate::cluster::Namespace;
use crate::command::kubectl;
use crate::small::{Small, apply};
use crate::{chart, operator};

pub use captured::captured;
pub use play::Sandbox;
pub use record::{CRD, record};

/// The platform's Envoy and its gateway, by their containers' names.
pub const ENVOY: &str = "olares-envoy-sidecar";
pub const GATEWAY: &str = "olares-ws-sidecar";

/// The name of Olares' webhook configuration: it sorts before ours.
pub const WEBHOOK: &str = "sandbox-webhook";

/// The pod of the webhook, in a namespace of its own.
pub struct Platform {
    place: Namespace,
    authority: Authority,
    /// The namespace whose pods it is asked about.
    app: Namespace,
    /// Counts what was played, so that each can be told from the one before.
    played: AtomicU32,
}

impl Platform {
    /// Its pod runs; nothing is added yet.
    pub async fn start(app: &Namespace) -> Result<Self> {
        // Who redirects a pod's traffic is nothing that PodSecurity's restricted admits.
        let label = "pod-security.kubernetes.io/enforce=privileged";
        kubectl(["label", "namespace", &app.name, label, "--overwrite"])?;
        let place = Namespace::create("olares").await?;
        let authority = Authority::new("olares")?;
        let app = Namespace::of(&app.name).await?;
        let platform = Self {
            place,
            authority,
            app,
            played: AtomicU32::new(0),
        };
        platform.serve()?;
        Ok(platform)
    }

    fn serve(&self) -> Result<()> {
        let name = format!("{WEBHOOK}.{}.svc", self.place.name);
        let (certificate, key) = self.authority.sign(&name, 2099)?;
        let files = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": WEBHOOK},
            "stringData": {
                "webhook.py": include_str!("olares/webhook.py"), "envoy.py": include_str!("olares/envoy.py"),
                "tls.crt": certificate, "tls.key": key,
            },
        });
        let small = Small::new("Deployment", WEBHOOK)
            .pod(json!({"volumes": [{"name": "files", "secret": {"secretName": WEBHOOK}}]}))
            .container(json!({
                "command": ["python3", "/files/webhook.py"],
                "env": [
                    {"name": "ENVOY_IMAGE", "value": chart::image()},
                    {"name": "GATEWAY_IMAGE", "value": operator::gateway_image()?},
                    {"name": "INIT_IMAGE", "value": init_image()},
                ],
                "readinessProbe": {"tcpSocket": {"port": 8443}, "periodSeconds": 1},
                "volumeMounts": [{"name": "files", "mountPath": "/files"}],
            }));
        let mut service = small.service();
        service["spec"]["ports"] = json!([{"port": 443, "targetPort": 8443}]);
        apply(&self.place, &[files, small.workload(), service])?;
        let deployment = format!("deployment/{WEBHOOK}");
        let place = ["-n", &self.place.name, "rollout", "status", &deployment];
        kubectl(place.into_iter().chain(["--timeout=2m"])).map(drop)
    }

    pub async fn end(self) -> Result<()> {
        self.remove()?;
        self.place.delete().await
    }
}

/// Olares' own image for it is openservicemesh/init.
fn init_image() -> String {
    std::env::var("WS_IMAGE_INIT").unwrap_or_else(|_| "openservicemesh/init:v1.2.3".to_owned())
}

//! Of an app's pods, those behind its entrance get the gateway, and no others.

use std::sync::Arc;

use anyhow::{Result, ensure};
use e2e::cluster::Namespace;
use e2e::wait::{Look, until};
use e2e::{app, chart, manifest};
use k8s_openapi::api::batch::v1::Job;

/// A worker that the entrance's Service does not select, and a Job that it does: with a gateway
/// beside it the Job would never complete.
const BYSTANDERS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: worker}
spec:
  selector: {matchLabels: {part: worker}}
  template:
    metadata: {labels: {part: worker}}
    spec:
      terminationGracePeriodSeconds: 0
      securityContext: {runAsNonRoot: true, runAsUser: 65534, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: main
        image: IMAGE
        command: [python3, -c, "import signal; signal.pause()"]
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: migrate}
spec:
  template:
    metadata: {labels: {app: chat, part: job}}
    spec:
      restartPolicy: Never
      securityContext: {runAsNonRoot: true, runAsUser: 65534, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: main
        image: IMAGE
        command: [python3, -c, pass]
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
"#;

pub(crate) async fn bystanders_of_an_entrance(namespace: Arc<Namespace>) -> Result<()> {
    namespace.apply(&chart::one_file()?)?;
    namespace.apply(&BYSTANDERS.replace("IMAGE", &chart::image()))?;
    manifest::wait_for(&namespace, app::APP, "Injected", "True").await?;

    until("the Job to complete", || async {
        let status = namespace
            .api::<Job>()
            .get("migrate")
            .await?
            .status
            .unwrap_or_default();
        Ok(Look::when(
            status.succeeded == Some(1),
            (),
            format!("{status:?}"),
        ))
    })
    .await?;
    for part in ["worker", "job"] {
        let pods = namespace.all_pods(&format!("part={part}")).await?;
        ensure!(!pods.is_empty(), "no pod of the {part}");
        ensure!(
            pods.iter().all(|pod| app::gateway(pod).is_none()),
            "the {part} got a gateway"
        );
    }
    Ok(())
}

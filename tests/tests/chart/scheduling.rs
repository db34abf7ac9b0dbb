//! Where the operator's replicas run, and how many at least.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::template::{OLDEST, object, render};
use serde_json::json;

pub(crate) fn replicas_are_spread_and_kept(helm: &Path) -> Result<()> {
    let old = render(helm, OLDEST, &[])?;
    let new = render(helm, "1.27.0", &[])?;
    let spread = |objects: &[_]| {
        let deployment = object(objects, "Deployment", "")?;
        let found = deployment.pointer("/spec/template/spec/topologySpreadConstraints/0");
        found.context("not spread").cloned()
    };
    // An API server before 1.27 drops the field, and GitOps tools see a difference for ever.
    ensure!(spread(&old)?["matchLabelKeys"].is_null());
    ensure!(spread(&new)?["matchLabelKeys"] == json!(["pod-template-hash"]));

    let deployment = object(&new, "Deployment", "")?;
    let labels = &deployment["spec"]["selector"]["matchLabels"];
    ensure!(spread(&new)?["labelSelector"]["matchLabels"] == *labels);
    let budget = object(&new, "PodDisruptionBudget", "")?;
    ensure!(budget["spec"]["selector"]["matchLabels"] == *labels);
    ensure!(budget["spec"]["maxUnavailable"] == 1);

    // One replica must not keep its node from being drained.
    let single = render(helm, OLDEST, &["=replicas=1"])?;
    ensure!(object(&single, "PodDisruptionBudget", "").is_err());
    Ok(())
}

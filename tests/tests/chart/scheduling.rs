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

/// GKE's firewall, EKS' overlays, AKS' enforcer.
pub(crate) fn clouds_get_what_they_need(helm: &Path) -> Result<()> {
    let plain = render(helm, OLDEST, &[])?;
    let pod = |objects: &[_]| {
        let deployment = object(objects, "Deployment", "")?;
        Ok::<_, anyhow::Error>(deployment["spec"]["template"]["spec"].clone())
    };
    ensure!(pod(&plain)?["hostNetwork"].is_null());
    let cloud = render(helm, OLDEST, &["=webhook.port=10250,hostNetwork=true"])?;
    let pod = pod(&cloud)?;
    ensure!(pod["hostNetwork"] == true && pod["dnsPolicy"] == "ClusterFirstWithHostNet");
    let container = &pod["containers"][0];
    ensure!(container["ports"][0] == json!({"name": "webhook", "containerPort": 10250}));
    let mut variables = container["env"].as_array().into_iter().flatten();
    let listen = variables.find(|one| one["name"] == "WS_OPERATOR_WEBHOOK_LISTEN");
    ensure!(listen.context("no address")?["value"] == "0.0.0.0:10250");
    for name in ["ws-operator", "ws-operator-entrance"] {
        let found = object(&plain, "MutatingWebhookConfiguration", name)?;
        ensure!(found["metadata"]["labels"]["admissions.enforcer/disabled"] == "true");
    }
    Ok(())
}

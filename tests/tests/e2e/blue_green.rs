//! Two colours of an app behind one Service with `expose: entrance`: whoever asks while the selector
//! moves gets every answer.

use std::sync::Arc;

use anyhow::{Result, ensure};
use e2e::cluster::Namespace;
use e2e::command::kubectl;
use e2e::manifest;
use e2e::small::{Small, apply};
use e2e::wait::{Look, until};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value as Json, json};

use crate::entrance::{Client, address, target};
use crate::rollouts::running;

/// It takes a while to start, and goes on for a moment after it was told to end.
const APP: &str = "import time, http.server; time.sleep(8); http.server.test(http.server.SimpleHTTPRequestHandler, http.server.ThreadingHTTPServer, port=8888)";

pub(crate) async fn a_switch_loses_no_request(namespace: Arc<Namespace>) -> Result<()> {
    let (blue, green) = (colour("blue"), colour("green"));
    let mut service = Small::deployment("chat").service();
    service["spec"]["selector"] = json!({"app": "chat", "version": "blue"});
    apply(&namespace, &[service, blue.workload()])?;
    Small::deployment("chat").ask(&namespace, &json!({"expose": "entrance"}))?;
    leads_to(&namespace, "ws-entrance").await?;
    let before = uids(&running(&namespace, &blue, true).await?);
    apply(&namespace, &[green.workload()])?;
    running(&namespace, &green, false).await?;

    let client = Client::start(address(&namespace).await?);
    select(&namespace, "green")?;
    ensure!(
        target(&namespace).await? == "8888",
        "pods without a gateway, and a port that only it has"
    );
    running(&namespace, &green, true).await?;
    leads_to(&namespace, "ws-entrance").await?;
    let now = uids(&running(&namespace, &blue, true).await?);
    ensure!(before == now, "the colour of before was restarted");

    select(&namespace, "blue")?;
    ensure!(target(&namespace).await? == "ws-entrance", "both have it");
    manifest::wait_for(&namespace, "chat", "Ready", "True").await?;
    let (asked, failures) = client.stop().await?;
    ensure!(
        failures.is_empty(),
        "{} of {asked} requests failed: {failures:#?}",
        failures.len()
    );
    ensure!(asked > 300, "only {asked} requests");
    Ok(())
}

fn colour(name: &str) -> Small {
    let probe = json!({"tcpSocket": {"port": 8888}, "periodSeconds": 1});
    let hold = json!({"preStop": {"sleep": {"seconds": 4}}});
    Small::deployment(name)
        .labels(json!({"app": "chat", "version": name}))
        .pod(json!({"terminationGracePeriodSeconds": 6}))
        .container(json!({
            "command": ["python3", "-c", APP], "readinessProbe": probe, "lifecycle": hold,
        }))
}

fn select(namespace: &Namespace, version: &str) -> Result<()> {
    let patch: Json = json!({"spec": {"selector": {"version": version}}});
    let patch = format!("--patch={patch}");
    kubectl(["-n", &namespace.name, "patch", "service", "chat", &patch]).map(drop)
}

async fn leads_to(namespace: &Namespace, wanted: &str) -> Result<()> {
    until(&format!("the port to lead to {wanted}"), || async {
        let found = target(namespace).await?;
        Ok(Look::when(found == wanted, (), found))
    })
    .await
}

fn uids(pods: &[Pod]) -> Vec<Option<String>> {
    let mut uids: Vec<_> = pods.iter().map(ResourceExt::uid).collect();
    uids.sort();
    uids
}

//! `ws-operator roll`: after another gateway image every gateway is replaced on request, as far as
//! the apps allow.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use e2e::cluster::{Namespace, in_its_network};
use e2e::command::{kubectl, operator as program, run};
use e2e::{app, chart, manifest, operator};
use kube::ResourceExt;
use serde_json::Value as Json;

const BUDGET: &str = r"
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: chat}
spec: {minAvailable: 1, selector: {matchLabels: {app: chat}}}
";

pub(crate) async fn after_another_gateway_image(namespace: Arc<Namespace>) -> Result<()> {
    namespace.apply(&chart::one_file()?)?;
    manifest::wait_for(&namespace, app::APP, "Ready", "True").await?;
    let before = app::ready_pods(&namespace).await?;
    let image = |pod: &_| app::gateway(pod).and_then(|gateway| gateway.image.clone());
    let old = image(&before[0]).context("no gateway")?;
    let new = another(&old)?;
    let (repository, tag) = new.rsplit_once(':').context("no tag")?;
    let set = format!("--set=gateway.image.repository={repository},gateway.image.tag={tag}");
    operator::install_with(&[&set])?;

    // Nothing is restarted by itself; the command knows what is due, and what is in the way.
    // A Deployment that surges disrupts nothing, and no budget would hold it back.
    let strategy = r#"{"spec":{"strategy":{"rollingUpdate":{"maxSurge":0,"maxUnavailable":1}}}}"#;
    kubectl([
        "-n",
        &namespace.name,
        "patch",
        "deployment/chat",
        "--type=merge",
        "--patch",
        strategy,
    ])?;
    namespace.apply(BUDGET)?;
    manifest::wait_until(&namespace, app::APP, "an outdated pod", |object| {
        object
            .data
            .pointer("/status/pods/outdated")
            .and_then(Json::as_u64)
            == Some(1)
    })
    .await?;
    let place = ["-n", namespace.name.as_str()];
    let (code, text) = program(&["roll", "--all", "--dry-run"])?;
    let due = format!(
        "{} Deployment/chat (RollOutdated: 1 pod with another gateway image)",
        namespace.name
    );
    ensure!(code == 0 && text.contains(&due), "{code}: {text}");
    let words = [&["roll", "--wait", "--timeout", "4s"][..], &place].concat();
    let (code, text) = program(&words)?;
    ensure!(code == 1 && text.starts_with("waits "), "{code}: {text}");
    ensure!(text.contains("DisruptionBudget"), "{text}");
    let same = app::ready_pods(&namespace).await?;
    ensure!(
        same[0].uid() == before[0].uid(),
        "restarted against the budget"
    );

    kubectl(["-n", &namespace.name, "delete", "pdb", "chat"])?;
    kubectl(["-n", &namespace.name, "rollout", "pause", "deployment/chat"])?;
    let words = [&["roll", "deploy/chat", "--wait"][..], &place].concat();
    let (code, text) = program(&words)?;
    ensure!(code == 1 && text.starts_with("skipped "), "{code}: {text}");
    ensure!(text.contains("RolloutPaused"), "{text}");

    kubectl([
        "-n",
        &namespace.name,
        "rollout",
        "resume",
        "deployment/chat",
    ])?;
    let words = [&["roll", "app/chat", "--wait", "-o", "json"][..], &place].concat();
    let (code, text) = program(&words)?;
    ensure!(code == 0, "{code}: {text}");
    let found: Json = serde_json::from_str(&text).with_context(|| text.clone())?;
    ensure!(
        found[0]["state"] == "done" && found[0]["reason"] == "RollOutdated",
        "{found}"
    );
    let after = app::ready_pods(&namespace).await?;
    ensure!(
        after
            .iter()
            .all(|pod| image(pod).as_deref() == Some(new.as_str()))
    );

    let (code, text) = program(&[&["roll"][..], &place].concat())?;
    ensure!(
        code == 0 && text.starts_with("nothing to restart"),
        "{code}: {text}"
    );
    let (code, text) = program(&[&["roll", "app/chatt"][..], &place].concat())?;
    ensure!(
        code == 1 && text.contains("no AppManifest"),
        "{code}: {text}"
    );
    operator::install()
}

/// The gateway's image by another name, as an upgrade brings one.
fn another(image: &str) -> Result<String> {
    if !in_its_network() {
        let name = "WS_IMAGE_WS_GATEWAY_NEXT";
        return std::env::var(name)
            .with_context(|| format!("{name} names no second tag of the gateway's image"));
    }
    let new = format!("{image}-next");
    run("ctr", ["images", "tag", "--force", image, &new])?;
    Ok(new)
}

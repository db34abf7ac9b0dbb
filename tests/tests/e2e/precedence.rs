//! Several sources tell of the same pods: one gateway, and the one that lost says who won.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use e2e::cluster::Namespace;
use e2e::command::kubectl;
use e2e::wait::{Look, until};
use e2e::{app, chart, manifest};
use serde_json::Value as Json;
use stanza::env;

const MINE: &str = r#"
apiVersion: ws.olares.com/v1alpha1
kind: AppManifest
metadata: {name: mine}
spec:
  entrances: [{name: chat, host: chat, port: 80}]
  options:
    websocket:
      url: /ws/message
      port: 8888
      heartbeat: {timeout: 7m}
      identity: {trustedProxies: "127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"}
"#;

/// A Helm release, then an AppManifest by hand for the same Service, then that one goes again.
pub(crate) async fn by_hand_wins_over_helm(namespace: Arc<Namespace>) -> Result<()> {
    chart::install(&namespace, &chart::example())?;
    manifest::wait_for(&namespace, app::APP, "Ready", "True").await?;

    namespace.apply(MINE)?;
    let won = manifest::wait_for(&namespace, "mine", "Ready", "True").await?;
    let lost = manifest::wait_for(&namespace, app::APP, "Accepted", "False").await?;
    let condition = manifest::condition(&lost, "Accepted").context("no condition")?;
    ensure!(condition["reason"] == "Superseded", "{condition}");
    let message = condition["message"].as_str().unwrap_or_default();
    ensure!(message.contains("mine"), "{message}");
    gateways(&namespace, |options| options.contains(r#""timeout":"7m""#)).await?;
    let url = won.data.pointer("/status/url").and_then(Json::as_str);
    app::converse(&namespace, url.context("no url")?).await?;

    kubectl(["-n", &namespace.name, "delete", "appmanifest", "mine"])?;
    let back = manifest::wait_for(&namespace, app::APP, "Ready", "True").await?;
    gateways(&namespace, |options| !options.contains("7m")).await?;
    let url = back.data.pointer("/status/url").and_then(Json::as_str);
    app::converse(&namespace, url.context("no url")?).await
}

/// Every pod has one gateway, whose options are such.
async fn gateways(namespace: &Namespace, wanted: impl Fn(&str) -> bool) -> Result<()> {
    until("pods with the gateway of who won", || async {
        let pods = app::pods(namespace).await?;
        let options: Vec<Option<String>> = pods
            .iter()
            .map(|pod| app::variable(app::gateway(pod)?, env::OPTIONS).map(str::to_owned))
            .collect();
        let all = options
            .iter()
            .all(|options| options.as_deref().is_some_and(&wanted));
        let seen = format!("{options:?}");
        Ok(Look::when(!pods.is_empty() && all, (), seen))
    })
    .await
}

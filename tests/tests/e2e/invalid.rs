//! A stanza that is wrong injects nothing, and whoever wrote it learns what is wrong.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use e2e::cluster::Namespace;
use e2e::{app, chart, events, manifest};
use serde_json::Value as Json;

/// What the message must name: the field, what was found, and what is allowed.
const TOLD: [&str; 3] = ["options.websocket.port", "70000", "1 to 65535"];

pub(crate) async fn a_wrong_port_in_an_app_manifest(namespace: Arc<Namespace>) -> Result<()> {
    namespace.apply(&chart::one_file()?.replace("port: 8888\n", "port: 70000\n"))?;
    is_refused(&namespace).await?;
    // And it is no dead end.
    namespace.apply(&chart::one_file()?)?;
    let object = manifest::wait_for(&namespace, app::APP, "Ready", "True").await?;
    let url = object
        .data
        .pointer("/status/url")
        .and_then(Json::as_str)
        .context("no url")?;
    app::converse(&namespace, url).await
}

pub(crate) async fn a_wrong_port_in_a_chart(namespace: Arc<Namespace>) -> Result<()> {
    let wrong = chart::edited(|manifest| manifest.replace("port: 8888\n", "port: 70000\n"))?;
    chart::install(&namespace, wrong.path())?;
    is_refused(&namespace).await
}

async fn is_refused(namespace: &Namespace) -> Result<()> {
    let object = manifest::wait_for(namespace, app::APP, "Accepted", "False").await?;
    let condition = manifest::condition(&object, "Accepted").context("no condition")?;
    ensure!(condition["reason"] == "InvalidStanza", "{condition}");
    let message = condition["message"].as_str().unwrap_or_default();
    ensure!(
        TOLD.iter().all(|word| message.contains(word)),
        "the condition says {message:?}"
    );

    events::wait_until(namespace, "that says what is wrong", |event| {
        event.type_.as_deref() == Some("Warning") && events::says(event, &TOLD)
    })
    .await?;

    let pods = app::ready_pods(namespace).await?;
    ensure!(
        pods.iter().all(|pod| app::gateway(pod).is_none()),
        "a gateway all the same"
    );
    Ok(())
}

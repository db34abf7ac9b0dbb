//! What Prometheus finds when it asks the operator and a gateway.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use e2e::cluster::{Namespace, root};
use e2e::scrape::{self, Samples, scrape};
use e2e::wait::{Look, until};
use e2e::{app, chart, manifest};
use kube::ResourceExt;

pub(crate) async fn operator_and_gateway_are_scraped(namespace: Arc<Namespace>) -> Result<()> {
    chart::install(&namespace, &chart::example())?;
    let object = manifest::wait_for(&namespace, app::APP, "Ready", "True").await?;
    let url = object
        .data
        .pointer("/status/url")
        .and_then(|url| url.as_str());
    app::converse(&namespace, url.context("no url")?).await?;

    // Another replica may have admitted the pod, so all of them together.
    let all = until("the operator's numbers", || async {
        let scraped = scrape::operators()?;
        let leaders: f64 = scraped
            .iter()
            .filter_map(|one| one.get("ws_operator_leader"))
            .sum();
        let injected = r#"ws_operator_admissions_total{decision="inject",reason="injected"}"#;
        let injected: f64 = scraped.iter().filter_map(|one| one.get(injected)).sum();
        let seen = format!("{leaders} leaders, {injected} injected");
        Ok(Look::when(
            (leaders - 1.0).abs() < 0.1 && injected >= 1.0,
            scraped,
            seen,
        ))
    })
    .await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
    for one in &all {
        let value = |name: &str| one.get(name).copied().with_context(|| name.to_owned());
        ensure!(value(r#"ws_operator_apps{ready="True",reason="ready"}"#)? >= 1.0);
        ensure!(value(r#"ws_operator_pods{state="current"}"#)? >= 1.0);
        ensure!(value("ws_operator_webhook_probe_success")? >= 1.0);
        let probed = now - value("ws_operator_webhook_probe_last_success_timestamp_seconds")?;
        ensure!(probed < 60.0, "probed {probed} s ago");
        for certificate in ["authority", "leaf"] {
            let name = format!(
                r#"ws_operator_certificate_expiry_timestamp_seconds{{certificate="{certificate}"}}"#
            );
            ensure!(value(&name)? > now + 3600.0, "{certificate}");
        }
        ensure!(one.contains_key(r#"ws_operator_admission_duration_seconds_bucket{le="0.01"}"#));
        ensure!(
            one.keys()
                .any(|name| name.starts_with("ws_operator_build_info{version="))
        );
    }
    let reconciled = r#"ws_operator_reconciles_total{result="ok"}"#;
    ensure!(
        all.iter()
            .any(|one| one.get(reconciled).is_some_and(|count| *count >= 1.0))
    );
    let took = r#"ws_operator_reconcile_duration_seconds_count{result="ok"}"#;
    ensure!(all.iter().any(|one| one.contains_key(took)));

    let pod = app::ready_pods(&namespace).await?.remove(0);
    let ports = app::gateway(&pod).and_then(|gateway| gateway.ports.clone());
    // The name that the chart's PodMonitor looks for.
    let port = ports
        .iter()
        .flatten()
        .find(|port| port.name.as_deref() == Some("olares-ws-ops"))
        .context("no port olares-ws-ops")?;
    let place = format!("{}:{}", pod.name_any(), port.container_port);
    let gateway = scrape(&namespace.name, &place)?;
    let opened = gateway.get("ws_gateway_connections_opened_total");
    ensure!(opened.is_some_and(|count| *count >= 1.0), "{opened:?}");
    is_listed(all.iter().chain([&gateway]))
}

/// What is exported is on the page, labels and all.
fn is_listed<'a>(scraped: impl Iterator<Item = &'a Samples>) -> Result<()> {
    let page = std::fs::read_to_string(root().join("docs/operator/observability.md"))?;
    for sample in scraped.flat_map(BTreeMap::keys) {
        let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
        let name = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name);
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| `{name}` |")))
            .with_context(|| format!("{name} is not on the page"))?;
        for label in labels.split(',').filter_map(|pair| pair.split_once('=')) {
            let known = label.0 == "le" || row.contains(&format!("`{}`", label.0));
            ensure!(known, "the label {} of {name} is not on the page", label.0);
        }
    }
    Ok(())
}

//! An app whose manifest has the stanza: its pods get the gateway, its clients talk to it.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use e2e::cluster::Namespace;
use e2e::wait::{Look, until};
use e2e::{app, chart, manifest};
use kube::ResourceExt;
use kube::api::DynamicObject;
use serde_json::Value as Json;
use stanza::env;

pub(crate) async fn helm_install_of_the_example(namespace: Arc<Namespace>) -> Result<()> {
    chart::install(&namespace, &chart::example())?;
    is_served(&namespace).await
}

/// A quarter of the published manifests are Helm templates; most of those are no YAML before.
pub(crate) async fn a_manifest_that_is_a_template(namespace: Arc<Namespace>) -> Result<()> {
    let chart = chart::edited(|manifest| {
        let manifest = manifest
            .replace(
                "port: 8888\n",
                "port: {{ .Values.callbackPort | default 8888 }}\n",
            )
            .replace("host: chat", "host: {{ .Release.Name }}");
        format!(
            "{{{{- $who := .Values.admin -}}}}\n{manifest}\n{{{{ if .Values.isAdmin }}}}\nmore: {{{{ $who }}}}: {{ no YAML\n{{{{ end }}}}\n"
        )
    })?;
    chart::install(&namespace, chart.path())?;
    is_served(&namespace).await
}

pub(crate) async fn kubectl_apply_of_the_one_file(namespace: Arc<Namespace>) -> Result<()> {
    namespace.apply(&chart::one_file()?)?;
    is_served(&namespace).await
}

pub(crate) async fn an_app_manifest_beside_a_running_app(namespace: Arc<Namespace>) -> Result<()> {
    let (app_manifest, rest) = chart::one_file_parts()?;
    namespace.apply(&rest)?;
    let before = app::ready_pods(&namespace).await?;
    ensure!(
        before.iter().all(|pod| app::gateway(pod).is_none()),
        "a gateway without an AppManifest"
    );

    namespace.apply(&app_manifest)?;
    is_served(&namespace).await?;
    let after = app::pods(&namespace).await?;
    ensure!(
        after
            .iter()
            .all(|pod| before.iter().all(|old| old.uid() != pod.uid())),
        "the old pods are still there"
    );
    Ok(())
}

pub(crate) async fn a_changed_stanza(namespace: Arc<Namespace>) -> Result<()> {
    chart::install(&namespace, &chart::example())?;
    is_served(&namespace).await?;
    let patient = chart::edited(|manifest| {
        manifest.replace("port: 8888\n", "port: 8888\n    heartbeat: {timeout: 7m}\n")
    })?;
    chart::upgrade(&namespace, patient.path())?;
    until("pods with the changed stanza", || async {
        let pods = app::pods(&namespace).await?;
        let options = |pod| Some(app::variable(app::gateway(pod)?, env::OPTIONS)?.to_owned());
        let found: Vec<Option<String>> = pods.iter().map(options).collect();
        let changed = |text: &Option<String>| {
            text.as_ref()
                .is_some_and(|text| text.contains(r#""timeout":"7m""#))
        };
        Ok(Look::when(
            !found.is_empty() && found.iter().all(changed),
            (),
            format!("{found:?}"),
        ))
    })
    .await?;
    is_served(&namespace).await
}

pub(crate) async fn a_removed_stanza(namespace: Arc<Namespace>) -> Result<()> {
    chart::install(&namespace, &chart::example())?;
    manifest::wait_for(&namespace, app::APP, "Ready", "True").await?;
    let plain = chart::edited(chart::without_stanza)?;
    chart::upgrade(&namespace, plain.path())?;
    until("pods without a gateway", || async {
        let pods = app::pods(&namespace).await?;
        let bare = !pods.is_empty() && pods.iter().all(|pod| app::gateway(pod).is_none());
        Ok(Look::when(
            bare,
            (),
            format!("{} pods, some with a gateway", pods.len()),
        ))
    })
    .await?;
    app::ready_pods(&namespace).await.map(drop)
}

/// The operator says that it is ready, the pods are as the stanza says, and a client that
/// connects where the operator says is served.
async fn is_served(namespace: &Namespace) -> Result<()> {
    let object = manifest::wait_for(namespace, app::APP, "Ready", "True").await?;
    for pod in app::ready_pods(namespace).await? {
        let gateway =
            app::gateway(&pod).with_context(|| format!("{} has no gateway", pod.name_any()))?;
        ensure!(
            app::variable(gateway, env::PORT) == Some("8888"),
            "{:?}",
            gateway.env
        );
        ensure!(
            app::variable(gateway, env::URL) == Some("/ws/message"),
            "{:?}",
            gateway.env
        );
    }
    app::converse(namespace, url(&object)?).await
}

fn url(object: &DynamicObject) -> Result<&str> {
    let url = object.data.pointer("/status/url").and_then(Json::as_str);
    url.context("the status does not say where clients connect")
}

//! Every kind of workload that an app may be: injected, rolled when the stanza changes, and without
//! a gateway again when the AppManifest goes.

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use e2e::client::Client;
use e2e::cluster::Namespace;
use e2e::wait::{Look, until};
use e2e::{app, chart, manifest};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::Value as Json;
use stanza::env;

pub(crate) async fn a_stateful_set(namespace: Arc<Namespace>) -> Result<()> {
    comes_and_goes(&namespace, "kind: StatefulSet", "  serviceName: chat\n", "").await
}

pub(crate) async fn a_daemon_set(namespace: Arc<Namespace>) -> Result<()> {
    comes_and_goes(&namespace, "kind: DaemonSet", "", "").await
}

/// Kubernetes calls it a sidecar: an init container that always restarts. The namespace enforces
/// PodSecurity restricted, as those of all tests do.
pub(crate) async fn a_native_sidecar(namespace: Arc<Namespace>) -> Result<()> {
    let native = "      sidecar: native\n";
    comes_and_goes(&namespace, "kind: Deployment", "  replicas: 1\n", native).await
}

async fn comes_and_goes(
    namespace: &Namespace,
    kind: &str,
    line: &str,
    setting: &str,
) -> Result<()> {
    let (app_manifest, rest) = chart::one_file_parts()?;
    let rest = rest
        .replace("kind: Deployment", kind)
        .replace("  replicas: 1\n", line);
    ensure!(rest.contains(kind), "the example is no Deployment any more");
    let first = app_manifest.replace("port: 8888\n", &format!("port: 8888\n{setting}"));
    let native = !setting.is_empty();

    namespace.apply(&rest)?;
    let bare = app::ready_pods(namespace).await?;
    namespace.apply(&first)?;
    let injected = renewed(namespace, &bare, |pod| app::gateway(pod).is_some()).await?;
    ensure!(
        injected.iter().all(|pod| is_native(pod) == native),
        "the gateway stands elsewhere"
    );
    served(namespace).await?;

    let patient = first.replace(
        "port: 8888\n",
        "port: 8888\n      heartbeat: {timeout: 7m}\n",
    );
    namespace.apply(&patient)?;
    let changed = renewed(namespace, &injected, |pod| {
        app::gateway(pod)
            .and_then(|gateway| app::variable(gateway, env::OPTIONS))
            .is_some_and(|options| options.contains("7m"))
    })
    .await?;
    served(namespace).await?;

    namespace.begin_delete("appmanifest", app::APP)?;
    renewed(namespace, &changed, |pod| app::gateway(pod).is_none())
        .await
        .map(drop)
}

/// Waits until all pods are others than those before, ready, and as they should be.
async fn renewed(
    namespace: &Namespace,
    before: &[Pod],
    wanted: impl Fn(&Pod) -> bool,
) -> Result<Vec<Pod>> {
    let old: HashSet<_> = before.iter().filter_map(ResourceExt::uid).collect();
    until("the app's pods to be others", || async {
        let pods = app::pods(namespace).await?;
        let is_new = |pod: &Pod| pod.uid().is_some_and(|uid| !old.contains(&uid));
        let all = !pods.is_empty()
            && pods
                .iter()
                .all(|pod| is_new(pod) && app::is_ready(pod) && wanted(pod));
        let seen: Vec<_> = pods.iter().map(ResourceExt::name_any).collect();
        Ok(Look::when(all, pods, format!("{seen:?}")))
    })
    .await
}

async fn served(namespace: &Namespace) -> Result<()> {
    let object = manifest::wait_for(namespace, app::APP, "Ready", "True").await?;
    let url = object.data.pointer("/status/url").and_then(Json::as_str);
    app::converse(namespace, url.context("no url")?).await
}

fn is_native(pod: &Pod) -> bool {
    let spec = pod.spec.as_ref();
    spec.and_then(|spec| spec.init_containers.as_ref())
        .into_iter()
        .flatten()
        .any(|container| {
            container.name == env::CONTAINER
                && container.restart_policy.as_deref() == Some("Always")
        })
}

/// Kubernetes ends a native sidecar after the app, so its clients have to be sent away before:
/// by preStop, while the app still hears of it.
pub(crate) async fn a_native_sidecar_drains_before_the_app_ends(
    namespace: Arc<Namespace>,
) -> Result<()> {
    let native = "port: 8888\n      sidecar: native\n      drain: {holdApp: true, code: 1012}\n";
    namespace.apply(&chart::one_file()?.replace("port: 8888\n", native))?;
    let object = manifest::wait_for(&namespace, app::APP, "Ready", "True").await?;
    let url = object.data.pointer("/status/url").and_then(Json::as_str);
    let pods = app::ready_pods(&namespace).await?;
    let pod = pods.first().context("no pod")?;
    let log = app::follow(&namespace, pod).await?;

    let mut ann = Client::connect(url.context("no url")?, "ann", "nick=Annie").await?;
    ensure!(ann.event("hello").await?["data"] == "hello, Annie");
    let name = pod.name_any();
    namespace.begin_delete("pod", &name)?;
    ensure!(ann.closed().await? == (1012, "shutting down".to_owned()));

    // The log ends with the app.
    let heard = log.to_end().await?;
    let closes: Vec<_> = heard
        .iter()
        .filter(|line| line["action"] == "close" && line["user_name"] == "ann")
        .collect();
    ensure!(closes.len() == 1, "the app heard {heard:?}");
    Ok(())
}

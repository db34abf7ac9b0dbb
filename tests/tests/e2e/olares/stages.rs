//! One age each, as an app and its clients see it.

use anyhow::{Context, Result, ensure};
use e2e::cluster::Namespace;
use e2e::command::kubectl;
use e2e::olares::{self, ENVOY, GATEWAY, Platform};
use e2e::small::{Small, apply};
use e2e::wait::{Look, until};
use e2e::{admission, app, events, manifest, operator};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value as Json, json};

use super::looks::{all_have, condition, greets, leads_to, no_restart};

/// On the pods whose gateway is ours.
const OURS: &str = "ws.olares.com/injected";

/// Up to 1.12.6: we stand down and say so; the platform goes on serving.
pub(super) async fn the_platforms_gateway(namespace: &Namespace, revision: i64) -> Result<()> {
    let pod = all_have(namespace, revision, &[app::APP, ENVOY, GATEWAY]).await?;
    ensure!(!pod.annotations().contains_key(OURS), "the gateway is ours");
    let object = condition(namespace, "Injected", "PlatformInjected").await?;
    ensure!(object.labels()["ws.olares.com/source"] == "application-manager");
    condition(namespace, "Routed", "ExposeNone").await?;
    leads_to(namespace, "http").await?;

    events::wait_for(
        namespace,
        ("Deployment", app::APP),
        "PlatformInjected",
        "Normal",
    )
    .await?;
    // The first pod may have come before the record; the next one does not.
    let mut next = admission::anew(&pod);
    next.metadata.annotations = None;
    if let Some(spec) = &mut next.spec {
        spec.containers.retain(|one| one.name == "chat");
        spec.init_containers = None;
    }
    admission::warnings(namespace, &next).await?;
    ensure!(operator::admissions("skip", "platform-injected")? > 0.0);
    for target in [
        format!("pod/{}", pod.name_any()),
        format!("deploy/{}", app::APP),
    ] {
        let explained = operator::explain(&namespace.name, &target)?;
        ensure!(
            explained["reason"] == "PlatformInjected",
            "{target}: {explained}"
        );
    }
    greets(&format!("ws://{}.{}.svc/ws", app::APP, namespace.name)).await?;
    no_restart(namespace, revision).await
}

/// A Job behind the entrance gets nothing from us, and is told. The platform's gateway, which it
/// gets all the same, keeps it from ever completing.
pub(super) async fn a_job(namespace: &Namespace) -> Result<()> {
    let pod = job(namespace, "kept").await?;
    manifest::waits_with(namespace, app::APP, "Job").await?;
    let explained = operator::explain(&namespace.name, &format!("pod/{}", pod.name_any()))?;
    ensure!(explained["reason"] == "Job", "{explained}");
    let words = ["delete", "job", "kept", "--cascade=foreground"];
    kubectl(["-n", &namespace.name].into_iter().chain(words)).map(drop)
}

/// The pod of a Job that has nothing to do.
async fn job(namespace: &Namespace, name: &str) -> Result<Pod> {
    let small = Small::deployment(name)
        .labels(json!({"app": app::APP}))
        .container(json!({"command": ["true"]}));
    let mut template = small.template();
    template["spec"]["restartPolicy"] = json!("Never");
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"template": template},
    });
    apply(namespace, &[job])?;
    events::wait_for(namespace, ("Job", name), "Job", "Normal").await?;
    let pod = small.pods(namespace).await?.pop();
    let pod = pod.context("a Job without a pod")?;
    ensure!(!pod.annotations().contains_key(OURS), "it got our gateway");
    Ok(pod)
}

/// The entrance leads to our gateway, as the edge knows nothing else.
pub(super) async fn from_1_12_7(namespace: &Namespace, revision: i64) -> Result<()> {
    let pod = all_have(namespace, revision, &[app::APP, GATEWAY]).await?;
    ensure!(
        pod.annotations().contains_key(OURS),
        "the gateway is not ours"
    );
    let object = condition(namespace, "Routed", "EntranceRouted").await?;
    leads_to(namespace, "ws-entrance").await?;
    let url = object.data.pointer("/status/url").and_then(Json::as_str);
    greets(url.context("no url")?).await?;
    job(namespace, "done").await?;
    until("the Job to complete", || async {
        let status = namespace.api::<Job>().get("done").await?.status;
        let done = status.as_ref().and_then(|status| status.succeeded) == Some(1);
        Ok(Look::when(done, (), format!("{status:?}")))
    })
    .await?;
    no_restart(namespace, revision).await
}

/// Envoy captures what comes in and knows no WebSockets: the gateway is injected, and reached through
/// it. A captured request comes from inside the pod, and is a stranger's all the same.
pub(super) async fn envoy_alone(
    namespace: &Namespace,
    platform: &Platform,
    revision: i64,
) -> Result<()> {
    let pod = all_have(namespace, revision, &[app::APP, ENVOY, GATEWAY]).await?;
    ensure!(
        pod.annotations().contains_key(OURS),
        "the gateway is not ours"
    );
    condition(namespace, "Ready", "Ready").await?;
    condition(namespace, "Routed", "ExposeNone").await?;
    leads_to(namespace, "http").await?;
    let seen = olares::captured(namespace, &pod).await?;
    let of_gateway = |(port, _): &&(u64, _)| (40010..=40012).contains(port);
    ensure!(
        seen.contains(&(8888, Some("/".to_owned()))),
        "the app's probe is not captured: {seen:?}"
    );
    ensure!(
        !seen.iter().any(|one| of_gateway(&one)),
        "the gateway's probes are: {seen:?}"
    );

    let address = pod.status.as_ref().and_then(|status| status.pod_ip.clone());
    let address = format!("{}:40010", address.context("no address")?);
    let list = format!("http://{address}/tapr/ws/conn/list");
    for host in [&address, "localhost:40010"] {
        // 404 is for those who come from elsewhere.
        let answer = platform.asks(&list, host)?;
        ensure!(answer == "403", "Host: {host}: {answer}");
    }
    let seen = olares::captured(namespace, &pod).await?;
    ensure!(
        seen.iter().filter(of_gateway).count() == 2,
        "not captured: {seen:?}"
    );
    app::Talk::to(namespace, &pod).admin("list", None)?;

    greets(&format!("ws://{address}/ws")).await?;
    no_restart(namespace, revision).await
}

//! People who never heard of Olares write a label and an annotation on their pods.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use e2e::cluster::Namespace;
use e2e::command::kubectl;
use e2e::small::{Small, apply};
use e2e::wait::{Look, until};
use e2e::{app, chart, events, manifest, operator};
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use serde_json::{Value as Json, json};

const PLAIN: &str = "      labels: {app: chat}\n      annotations:\n";
const LABELLED: &str = r#"      labels: {app: chat, ws.olares.com/inject: "true"}
      annotations:
        ws.olares.com/callback: 8888/ws/message
        ws.olares.com/identity.trustedProxies: 127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16
"#;

pub(crate) async fn a_labelled_deployment(namespace: Arc<Namespace>) -> Result<()> {
    let plain = plain()?;
    namespace.apply(&labelled(&plain)?)?;
    let object = manifest::wait_for(&namespace, app::APP, "Ready", "True").await?;
    ensure!(object.labels()["ws.olares.com/source"] == "label");
    // The first pods have it; on a machine that is busier than admission is patient they are
    // repaired, once.
    let first = revision(&namespace).await?;
    if first > 1 {
        eprintln!("e2e: the label was read too late for the first pod");
    }
    ensure!(first <= 2, "restarted: revision {first}");
    let url = object.data.pointer("/status/url").and_then(Json::as_str);
    app::converse(&namespace, url.context("no url")?).await?;

    namespace.apply(&plain)?;
    until("pods without a gateway, and no AppManifest", || async {
        let pods = app::pods(&namespace).await?;
        let bare = !pods.is_empty() && pods.iter().all(|pod| app::gateway(pod).is_none());
        let left = manifest::get(&namespace, app::APP).await.is_ok();
        let seen = format!("bare: {bare}, an AppManifest: {left}");
        Ok(Look::when(bare && !left, (), seen))
    })
    .await?;
    // By the person's own change alone.
    let last = revision(&namespace).await?;
    ensure!(
        last == first + 1,
        "restarted: revision {last}, after {first}"
    );
    Ok(())
}

pub(crate) async fn a_wrong_callback(namespace: Arc<Namespace>) -> Result<()> {
    let right = labelled(&plain()?)?;
    namespace.apply(&right.replace("8888/ws/message\n", "70000/ws/message\n"))?;
    let object = manifest::wait_for(&namespace, app::APP, "Accepted", "False").await?;
    let condition = manifest::condition(&object, "Accepted").context("no condition")?;
    ensure!(condition["reason"] == "InvalidStanza", "{condition}");
    let message = condition["message"].as_str().unwrap_or_default();
    let told = [
        "Deployment/chat",
        "annotation ws.olares.com/callback",
        "70000/ws/message",
    ];
    ensure!(told.iter().all(|word| message.contains(word)), "{message}");
    events::wait_until(&namespace, "on the Deployment", |event| {
        event.involved_object.kind.as_deref() == Some("Deployment") && events::says(event, &told)
    })
    .await?;
    let pods = app::ready_pods(&namespace).await?;
    ensure!(
        pods.iter().all(|pod| app::gateway(pod).is_none()),
        "a gateway all the same"
    );

    namespace.apply(&right)?;
    let object = manifest::wait_for(&namespace, app::APP, "Ready", "True").await?;
    let url = object.data.pointer("/status/url").and_then(Json::as_str);
    app::converse(&namespace, url.context("no url")?).await
}

/// Two Deployments behind one Service, of which one asks; a StatefulSet that asks by the name of
/// that one; and a person who edits what the label says.
pub(crate) async fn among_others(namespace: Arc<Namespace>) -> Result<()> {
    let small = Small::deployment("small")
        .labels(json!({"ws.olares.com/inject": "true", "entrance": "shared"}))
        .annotations(json!({"ws.olares.com/callback": "8888/ws/message"}));
    let plain = Small::deployment("plain").labels(json!({"entrance": "shared"}));
    let mut service = small.service();
    service["spec"]["selector"] = json!({"entrance": "shared"});
    apply(
        &namespace,
        &[small.workload(), plain.workload(), service.clone()],
    )?;
    let object = manifest::wait_for(&namespace, "small", "Ready", "True").await?;
    let condition = manifest::condition(&object, "Injected").context("no condition")?;
    ensure!(condition["message"] == "1 of 1 pods have the gateway");
    manifest::waits_with(&namespace, "small", "NotLabelled").await?;

    let mut twin = Small::new("StatefulSet", "small").workload();
    twin["spec"]["selector"] = json!({"matchLabels": {"twin": "small"}});
    twin["spec"]["template"]["metadata"]["labels"] =
        json!({"ws.olares.com/inject": "true", "twin": "small"});
    twin["spec"]["template"]["metadata"]["annotations"] =
        json!({"ws.olares.com/callback": "8888/ws/message"});
    apply(&namespace, &[twin])?;
    let twin = ("StatefulSet", "small");
    events::wait_for(&namespace, twin, "NameTaken", "Warning").await?;
    ensure!(operator::admissions("skip", "name-taken")? > 0.0);
    let explained = operator::explain(&namespace.name, "statefulset/small")?;
    ensure!(explained["reason"] == "NameTaken", "{explained}");

    let before = manifest::get(&namespace, "small").await?.data["spec"].clone();
    let change = r#"{"spec": {"options": {"websocket": {"port": 9999}}}}"#;
    let words = [
        "patch",
        "appmanifest",
        "small",
        "--type=merge",
        "-p",
        change,
    ];
    kubectl(["-n", &namespace.name].into_iter().chain(words))?;
    let manifest = ("AppManifest", "small");
    events::wait_for(&namespace, manifest, "SourceOwned", "Warning").await?;
    manifest::wait_until(&namespace, "small", "as the label says", |object| {
        object.data["spec"] == before
    })
    .await?;
    Ok(())
}

/// How many templates the Deployment has had.
async fn revision(namespace: &Namespace) -> Result<u32> {
    let deployment: Deployment = namespace.api().get(app::APP).await?;
    let revision = &deployment.annotations()["deployment.kubernetes.io/revision"];
    Ok(revision.parse()?)
}

/// The example without its manifest.
fn plain() -> Result<String> {
    let (_, rest) = chart::one_file_parts()?;
    Ok(rest)
}

fn labelled(plain: &str) -> Result<String> {
    ensure!(plain.contains(PLAIN), "the example is not what it was");
    Ok(plain.replace(PLAIN, LABELLED))
}

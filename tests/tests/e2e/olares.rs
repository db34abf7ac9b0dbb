//! Olares before and after 1.12.7. Its CRD and the shapes of its pods are made here as Olares
//! makes them: up to 1.12.6 its webhook puts a gateway and Envoy into every pod of an app; from
//! 1.12.7 it puts none, and nothing leads `/ws` anywhere.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use e2e::client::Client;
use e2e::cluster::Namespace;
use e2e::command::kubectl;
use e2e::wait::{Look, until};
use e2e::{app, chart, manifest};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use serde_json::{Value as Json, json};

const CRD: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: applicationmanagers.app.bytetrade.io}
spec:
  group: app.bytetrade.io
  scope: Cluster
  names: {kind: ApplicationManager, listKind: ApplicationManagerList, plural: applicationmanagers, singular: applicationmanager}
  versions:
  - name: v1alpha1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}
";

/// What the platform's webhook adds, but for what the containers do.
const CONTAINERS: &str = "      containers:\n";
const SIDECAR: &str = r#"      - name: NAME
        image: IMAGE
        command: [python3, -c, "import signal; signal.pause()"]
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
"#;

pub(crate) async fn both_ages(namespace: Arc<Namespace>) -> Result<()> {
    namespace.apply(CRD)?;
    let outcome = ages(&namespace).await;
    let removed = kubectl(["delete", "crd", "applicationmanagers.app.bytetrade.io"]);
    outcome?;
    removed?;
    until("no AppManifest without its record", || async {
        let left = manifest::get(&namespace, app::APP).await.is_ok();
        Ok(Look::when(!left, (), "still there"))
    })
    .await?;
    until(
        "pods without a gateway, and the Service led back",
        || async {
            let pods = app::pods(&namespace).await?;
            let bare = !pods.is_empty() && pods.iter().all(|pod| app::gateway(pod).is_none());
            let target = target(&namespace).await?;
            Ok(Look::when(
                bare && target == "http",
                (),
                format!("bare: {bare}, {target}"),
            ))
        },
    )
    .await
}

async fn ages(namespace: &Namespace) -> Result<()> {
    let (_, plain) = chart::one_file_parts()?;
    until("the kind to be served", || async {
        kubectl(["get", "applicationmanagers"]).map(Look::Found)
    })
    .await?;

    // Up to 1.12.6: the platform's gateway and Envoy are in the pod. We stand down and say so.
    namespace.apply(&with(
        &plain,
        &["olares-ws-sidecar", "olares-envoy-sidecar"],
    )?)?;
    app::ready_pods(namespace).await?;
    namespace.apply(&record(&namespace.name))?;
    let object = condition(namespace, "Injected", "platform-injected").await?;
    ensure!(object.labels()["ws.olares.com/source"] == "application-manager");
    condition(namespace, "Routed", "expose-none").await?;
    ensure!(target(namespace).await? == "http");
    ensure!(revision(namespace).await? == "1", "restarted");

    // Envoy alone, as for an app that the platform does not know to want WebSockets: the gateway
    // is injected, and the platform goes on routing.
    namespace.apply(&with(&plain, &["olares-envoy-sidecar"])?)?;
    condition(namespace, "Ready", "ready").await?;
    condition(namespace, "Routed", "expose-none").await?;
    ensure!(target(namespace).await? == "http");
    ensure!(revision(namespace).await? == "2", "restarted");

    // From 1.12.7: none of them. The entrance leads to our gateway, as the edge knows nothing else.
    namespace.apply(&plain)?;
    let object = condition(namespace, "Routed", "entrance-routed").await?;
    ensure!(target(namespace).await? == "ws-entrance");
    ensure!(revision(namespace).await? == "3", "restarted");
    let url = object.data.pointer("/status/url").and_then(Json::as_str);
    let mut ann = Client::connect(url.context("no url")?, "ann", "nick=Annie").await?;
    ensure!(ann.event("hello").await?["data"] == "hello, Annie");
    Ok(())
}

/// The record of the app, with the names of Olares' Go types.
fn record(namespace: &str) -> String {
    let config = json!({
        "AppID": "chat", "AppName": "chat", "OwnerName": "alice", "Namespace": namespace,
        "Entrances": [{"name": "chat", "host": "chat", "port": 80, "title": "Chat", "authLevel": "private"}],
        "WsConfig": {"port": 8888, "url": "/ws/message"},
    });
    let object = json!({
        "apiVersion": "app.bytetrade.io/v1alpha1", "kind": "ApplicationManager",
        "metadata": {"name": format!("{namespace}-chat")},
        "spec": {
            "appName": "chat", "appNamespace": namespace, "appOwner": "alice",
            "source": "market", "type": "app", "config": config.to_string(),
        },
    });
    object.to_string()
}

fn with(plain: &str, sidecars: &[&str]) -> Result<String> {
    ensure!(plain.contains(CONTAINERS), "the example is not what it was");
    let sidecars: String = sidecars
        .iter()
        .map(|name| SIDECAR.replace("NAME", name))
        .collect();
    let sidecars = sidecars.replace("IMAGE", &chart::image());
    Ok(plain.replace(CONTAINERS, &format!("{CONTAINERS}{sidecars}")))
}

async fn condition(
    namespace: &Namespace,
    kind: &str,
    reason: &str,
) -> Result<kube::api::DynamicObject> {
    until(&format!("{kind} to be {reason}"), || async {
        let object = manifest::get(namespace, app::APP).await?;
        let found = manifest::condition(&object, kind).context("no condition")?;
        let seen = found.to_string();
        Ok(Look::when(found["reason"] == reason, object, seen))
    })
    .await
}

async fn target(namespace: &Namespace) -> Result<String> {
    let service: Service = namespace.api().get(app::APP).await?;
    let port = service.spec.and_then(|spec| spec.ports?.into_iter().next());
    let target = port
        .and_then(|port| port.target_port)
        .context("no targetPort")?;
    Ok(serde_json::to_value(target)?
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

async fn revision(namespace: &Namespace) -> Result<String> {
    let deployment: Deployment = namespace.api().get(app::APP).await?;
    Ok(deployment.annotations()["deployment.kubernetes.io/revision"].clone())
}

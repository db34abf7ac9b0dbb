//! The Service's selector moves, or labels of pods do: whoever asks meanwhile gets every answer, and
//! pods that nobody restarts are named.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use e2e::cluster::Namespace;
use e2e::command::kubectl;
use e2e::manifest;
use e2e::small::{Small, apply};
use e2e::wait::{Look, until};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::entrance::{Client, address, target};
use crate::rollouts::running;

/// It takes a while to start, and goes on for a moment after it was told to end.
const APP: &str = "import time, http.server; time.sleep(START); http.server.test(http.server.SimpleHTTPRequestHandler, http.server.ThreadingHTTPServer, port=8888)";
/// What Argo Rollouts writes to pods and to the Service's selector.
const HASH: &str = "rollouts-pod-template-hash";
const ASKS: &str = "ws.olares.com/inject";

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
    select(&namespace, &json!({"version": "green"}))?;
    ensure!(
        target(&namespace).await? == "8888",
        "pods without a gateway, and a port that only it has"
    );
    running(&namespace, &green, true).await?;
    leads_to(&namespace, "ws-entrance").await?;
    let now = uids(&running(&namespace, &blue, true).await?);
    ensure!(before == now, "the colour of before was restarted");

    select(&namespace, &json!({"version": "blue"}))?;
    ensure!(target(&namespace).await? == "ws-entrance", "both have it");
    manifest::wait_for(&namespace, "chat", "Ready", "True").await?;
    lost_none(client, 300)
}

/// With `expose: service`: clients of `chat-ws` are sent to the colour of before until the other one
/// serves, or at once where it asked for the gateway.
pub(crate) async fn a_switch_loses_no_handshake(namespace: Arc<Namespace>) -> Result<()> {
    let (blue, green) = (colour("blue"), colour("green"));
    let mut service = Small::deployment("chat").service();
    service["spec"]["selector"] = json!({"app": "chat", "version": "blue"});
    apply(&namespace, &[service, blue.workload(), green.workload()])?;
    Small::deployment("chat").ask(&namespace, &json!({"expose": "service"}))?;
    manifest::wait_for(&namespace, "chat", "Ready", "True").await?;
    let before = uids(&running(&namespace, &blue, true).await?);
    running(&namespace, &green, false).await?;
    let companion = companion(&namespace).await?;
    until("a first handshake", || async {
        shake_hands(companion.clone()).await.map(Look::Found)
    })
    .await?;

    let client = Client::asking(companion, shake_hands);
    select(&namespace, &json!({"version": "green"}))?;
    let waits = "of pods that the entrance no longer selects";
    routed(&namespace, waits).await?;
    running(&namespace, &green, true).await?;
    manifest::wait_for(&namespace, "chat", "Ready", "True").await?;
    until("the companion to follow", || async {
        let version = selector(&namespace, "chat-ws").await?["version"].clone();
        Ok(Look::when(version == "green", (), version))
    })
    .await?;
    select(&namespace, &json!({"version": "blue"}))?;
    until("the companion to follow back", || async {
        let version = selector(&namespace, "chat-ws").await?["version"].clone();
        Ok(Look::when(version == "blue", (), version))
    })
    .await?;
    let now = uids(&running(&namespace, &blue, true).await?);
    ensure!(before == now, "the colour of before was restarted");
    lost_none(client, 100)
}

/// Their ReplicaSets belong to a Rollout, which no part of us knows; the hash in the selector moves.
pub(crate) async fn argo_rollouts_promotes(namespace: Arc<Namespace>) -> Result<()> {
    let outcome = promotes(&namespace).await;
    kubectl(["delete", "crd", "rollouts.argoproj.io", "--wait=false"])?;
    outcome
}

async fn promotes(namespace: &Namespace) -> Result<()> {
    let owner = rollout(namespace).await?;
    let replica_set = |hash: &str, asks: bool| {
        let mut labels = json!({"app": "chat", HASH: hash});
        if asks {
            labels[ASKS] = json!("true");
        }
        owned(&format!("chat-{hash}"), labels, &owner)
    };
    let start = |set: &(Small, Json)| apply(namespace, std::slice::from_ref(&set.1));
    let first = replica_set("1", false);
    let mut service = Small::deployment("chat").service();
    service["spec"]["selector"] = json!({"app": "chat", HASH: "1"});
    apply(namespace, &[service])?;
    start(&first)?;
    let bare = running(namespace, &first.0, false).await?;

    // Nobody restarts it: it is named, and so is what ends it.
    Small::deployment("chat").ask(namespace, &json!({"expose": "entrance"}))?;
    let name = bare[0].name_any();
    let words = format!("nothing of ours restarts the pod {name}: delete");
    routed(namespace, &words).await?;
    manifest::waits_with(namespace, "chat", "ReplaceByHand").await?;
    ensure!(target(namespace).await? == "8888");
    namespace.begin_delete("pod", &name)?;
    running(namespace, &first.0, true).await?;
    let object = manifest::wait_for(namespace, "chat", "Ready", "True").await?;
    let counts = &object.data["status"]["pods"];
    ensure!(counts["wanted"] == 1 && counts["ready"] == 1, "{counts}");
    ensure!(target(namespace).await? == "ws-entrance");

    // One asks by label, and has the gateway before it is promoted.
    let (asks, silent) = (replica_set("2", true), replica_set("3", false));
    start(&asks)?;
    start(&silent)?;
    running(namespace, &asks.0, true).await?;
    running(namespace, &silent.0, false).await?;
    let client = Client::start(address(namespace).await?);
    // Within the request that moves the selector.
    for (hash, port) in [("2", "ws-entrance"), ("3", "8888")] {
        select(namespace, &json!({HASH: hash}))?;
        let found = target(namespace).await?;
        ensure!(found == port, "{hash} is selected, and {found} led to");
        client.goes_on(20).await?;
    }
    let name = silent.0.pods(namespace).await?[0].name_any();
    routed(namespace, &format!("the pod {name}: delete")).await?;
    select(namespace, &json!({HASH: "2"}))?;
    leads_to(namespace, "ws-entrance").await?;
    manifest::wait_for(namespace, "chat", "Ready", "True").await?;
    client.goes_on(20).await?;
    lost_none(client, 60)
}

/// As Spinnaker does it: the selector stays, and the pods' labels move.
pub(crate) async fn a_pod_that_gets_the_label(namespace: Arc<Namespace>) -> Result<()> {
    const BALANCED: &str = "load-balancer-chat";
    let set = |name: &str, labels: Json| owned(name, labels, &Json::Null);
    let first = set("first", json!({"app": "chat", BALANCED: "true"}));
    let labels = json!({"app": "chat", BALANCED: "false", ASKS: "true"});
    let asks = set("asks", labels);
    let silent = set("silent", json!({"app": "chat", BALANCED: "false"}));
    let mut service = Small::deployment("chat").service();
    service["spec"]["selector"] = json!({"app": "chat", BALANCED: "true"});
    apply(&namespace, &[service])?;
    Small::deployment("chat").ask(&namespace, &json!({"expose": "entrance"}))?;
    manifest::wait_for(&namespace, "chat", "Accepted", "True").await?;
    apply(&namespace, &[first.1, asks.1, silent.1])?;
    for (small, gateway) in [(&first.0, true), (&asks.0, true), (&silent.0, false)] {
        running(&namespace, small, gateway).await?;
    }
    manifest::wait_for(&namespace, "chat", "Ready", "True").await?;
    leads_to(&namespace, "ws-entrance").await?;
    let balance = |small: &Small, value: &str| {
        let (which, label) = (
            format!("small={}", small.name),
            format!("{BALANCED}={value}"),
        );
        let place = ["-n", &namespace.name, "label", "pod", "--overwrite"];
        kubectl(place.into_iter().chain(["-l", &which, &label])).map(drop)
    };

    let client = Client::start(address(&namespace).await?);
    balance(&silent.0, "true")?;
    leads_to(&namespace, "8888").await?;
    client.goes_on(20).await?;
    let name = silent.0.pods(&namespace).await?[0].name_any();
    routed(&namespace, &format!("the pod {name}: delete")).await?;
    balance(&silent.0, "false")?;
    leads_to(&namespace, "ws-entrance").await?;
    balance(&asks.0, "true")?;
    balance(&first.0, "false")?;
    manifest::wait_for(&namespace, "chat", "Ready", "True").await?;
    leads_to(&namespace, "ws-entrance").await?;
    client.goes_on(20).await?;
    lost_none(client, 40)
}

/// A Rollout of the cluster, as an owner.
async fn rollout(namespace: &Namespace) -> Result<Json> {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let version = json!({"name": "v1alpha1", "served": true, "storage": true, "schema": schema});
    let names = json!({"kind": "Rollout", "plural": "rollouts", "singular": "rollout"});
    apply(
        namespace,
        &[json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "rollouts.argoproj.io"},
            "spec": {"group": "argoproj.io", "scope": "Namespaced", "names": names, "versions": [version]},
        })],
    )?;
    let object = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "chat"},
    });
    until("a Rollout", || async {
        apply(namespace, std::slice::from_ref(&object)).map(Look::Found)
    })
    .await?;
    let path = "jsonpath={.metadata.uid}";
    let uid = kubectl([
        "-n",
        &namespace.name,
        "get",
        "rollouts.argoproj.io",
        "chat",
        "-o",
        path,
    ])?;
    Ok(json!([{
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "chat", "uid": uid,
        "controller": true, "blockOwnerDeletion": true,
    }]))
}

/// A ReplicaSet without a Deployment. Labels that may move on pods are none of its selector.
fn owned(name: &str, labels: Json, owners: &Json) -> (Small, Json) {
    let small = app(Small::new("ReplicaSet", name), 0).labels(labels);
    let mut object = small.workload();
    object["metadata"]["ownerReferences"] = owners.clone();
    (small, object)
}

fn colour(name: &str) -> Small {
    app(Small::deployment(name), 8).labels(json!({"app": "chat", "version": name}))
}

fn app(small: Small, seconds: u32) -> Small {
    let probe = json!({"tcpSocket": {"port": 8888}, "periodSeconds": 1});
    let hold = json!({"preStop": {"sleep": {"seconds": 4}}});
    let program = APP.replace("START", &seconds.to_string());
    small
        .pod(json!({"terminationGracePeriodSeconds": 6}))
        .container(json!({
            "command": ["python3", "-c", program], "readinessProbe": probe, "lifecycle": hold,
        }))
}

fn lost_none(client: Client, least: usize) -> Result<()> {
    let (asked, failures) = client.stop()?;
    ensure!(
        failures.is_empty(),
        "{} of {asked} requests failed: {failures:#?}",
        failures.len()
    );
    ensure!(asked > least, "only {asked} requests");
    Ok(())
}

/// Waits until the condition Routed says so.
async fn routed(namespace: &Namespace, words: &str) -> Result<()> {
    manifest::wait_until(namespace, "chat", &format!("routed: {words}"), |object| {
        let routed = manifest::condition(object, "Routed");
        let said = routed.and_then(|routed| routed["message"].as_str());
        said.is_some_and(|said| said.contains(words))
    })
    .await
    .map(drop)
}

async fn selector(namespace: &Namespace, service: &str) -> Result<Json> {
    let service = namespace.api::<Service>().get(service).await?;
    Ok(serde_json::to_value(
        service.spec.and_then(|spec| spec.selector),
    )?)
}

async fn companion(namespace: &Namespace) -> Result<String> {
    let spec = namespace.api::<Service>().get("chat-ws").await?.spec;
    let address = spec.and_then(|spec| spec.cluster_ip);
    Ok(format!("{}:40010", address.context("no address")?))
}

/// One handshake, whose connection ends at once.
async fn shake_hands(address: String) -> Result<()> {
    let mut stream = TcpStream::connect(&address).await.context("connect")?;
    let request = "GET /ws HTTP/1.1\r\nHost: chat.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.context("read")?;
    ensure!(
        head == *b"HTTP/1.1 101",
        "{}",
        String::from_utf8_lossy(&head)
    );
    Ok(())
}

fn select(namespace: &Namespace, labels: &Json) -> Result<()> {
    let patch: Json = json!({"spec": {"selector": labels}});
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

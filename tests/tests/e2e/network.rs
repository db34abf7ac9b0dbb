//! NetworkPolicies, where something enforces them. Each test first shows that the same connections
//! succeed without.

use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use e2e::cluster::{Namespace, Skipped, in_its_network, root};
use e2e::command::{helm, kubectl, operator as program};
use e2e::network::{self, Asker, DENY, Outsider};
use e2e::{app, chart, manifest, operator};
use serde_json::json;

use crate::alone::operator_ready;

/// Pods that start now, where there are some of before: those nothing would keep from anybody.
const PODS: &str = "--set=podAnnotations.network=enforced,crds.keep=false";

/// A machine beside the node that could be another API server's.
const LISTED: &str = "10.212.0.3";

/// What an app's author writes who knows of the app's own port only.
const OF_THE_APP: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: chat}
spec:
  podSelector: {matchLabels: {app: chat}}
  policyTypes: [Ingress]
  ingress: [{ports: [{port: 8888}], from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: CLIENTS}}}]}]
";

/// Ingress and egress are closed but for what the page says: the gateway needs nothing else.
pub(crate) async fn clients_of_an_app_in_a_closed_namespace(
    namespace: Arc<Namespace>,
) -> Result<()> {
    prepare().await?;
    let others = (
        Namespace::create("e2e-clients").await?,
        Namespace::create("e2e-strangers").await?,
    );
    let outcome = closed(&namespace, &others.0, &others.1).await;
    others.0.delete().await?;
    others.1.delete().await?;
    outcome
}

async fn closed(app: &Namespace, clients: &Namespace, strangers: &Namespace) -> Result<()> {
    app.apply(&chart::one_file()?)?;
    let (client, stranger) = (Asker::start(clients).await?, Asker::start(strangers).await?);
    manifest::wait_for(app, app::APP, "Ready", "True").await?;
    let page = format!("http://chat.{}:80/", app.name);
    let socket = format!("ws://chat-ws.{}:40010/ws", app.name);
    let both =
        |page_says, socket_says| [(page.as_str(), page_says), (socket.as_str(), socket_says)];
    let open = both("200", "hello");
    client.hears("the app, without policies", &open).await?;
    stranger.hears("the app, without policies", &open).await?;

    let named = |policy: &str, placeholder| policy.replace(placeholder, &clients.name);
    app.apply(DENY)?;
    app.apply(&named(OF_THE_APP, "CLIENTS"))?;
    let half = both("200", "silence");
    client.hears("the app and not the gateway", &half).await?;
    let said = |text: &str| text.contains(&format!("warning  network: {}/chat-", app.name));
    let (_, text) = program(&["doctor"])?;
    ensure!(said(&text), "{text}");
    app.apply(&named(&of_the_page()?, "ingress-nginx"))?;
    client.hears("app and gateway", &open).await?;
    let (_, text) = program(&["doctor"])?;
    ensure!(!said(&text), "{text}");
    let ops = format!("tcp://{}:40011", address(app).await?);
    client.hears("no numbers", &[(&ops, "silence")]).await?;
    let none = both("silence", "silence");
    stranger.hears("nothing", &none).await?;

    // The entrance's Service leads to the gateway, and that to the app, from inside the pod.
    let entrance = json!({"spec": {"options": {"websocket": {"expose": "entrance"}}}}).to_string();
    let patch = ["patch", "appmanifest/chat", "--type=merge", "-p", &entrance];
    kubectl(["-n", &app.name].iter().chain(&patch))?;
    let socket = format!("ws://chat.{}:80/ws", app.name);
    let there = [(socket.as_str(), "hello")];
    client
        .hears("the gateway behind the entrance", &there)
        .await?;
    manifest::wait_for(app, app::APP, "Ready", "True").await?;
    kubectl(["-n", &app.name, "delete", "networkpolicy", "chat"])?;
    let open = [(page.as_str(), "200"), (socket.as_str(), "hello")];
    client
        .hears("all of it by the gateway's port", &open)
        .await?;
    let own = format!("tcp://{}:8888", address(app).await?);
    client.hears("no app's port", &[(&own, "silence")]).await?;
    stranger.hears("nothing", &[(&page, "silence")]).await
}

pub(crate) async fn the_operators_own_policy(namespace: Arc<Namespace>) -> Result<()> {
    prepare().await?;
    let strangers = Namespace::create("e2e-strangers").await?;
    let outcome = own_policy(&namespace, &strangers).await;
    strangers.delete().await?;
    outcome
}

/// `namespace` may read the metrics.
async fn own_policy(namespace: &Namespace, strangers: &Namespace) -> Result<()> {
    let (reader, stranger) = (
        Asker::start(namespace).await?,
        Asker::start(strangers).await?,
    );
    let replicas = replicas()?;
    ensure!(replicas.len() == 2, "{replicas:?}");
    let webhooks: Vec<String> = replicas
        .iter()
        .map(|ip| format!("tcp://{ip}:9443"))
        .collect();
    let metrics: Vec<String> = replicas
        .iter()
        .map(|ip| format!("http://{ip}:8080/metrics"))
        .collect();
    let all = |webhook, numbers| {
        let webhooks = webhooks
            .iter()
            .map(move |target| (target.as_str(), webhook));
        let metrics = metrics.iter().map(move |target| (target.as_str(), numbers));
        webhooks.chain(metrics).collect::<Vec<_>>()
    };
    for asker in [&reader, &stranger] {
        asker
            .hears("all, without a policy", &all("open", "200"))
            .await?;
    }

    let path = "jsonpath={.endpoints[*].addresses[*]}";
    let place = ["-n", "default", "get", "endpointslice", "kubernetes"];
    let servers = kubectl(place.iter().chain(&["-o", path]))?;
    let servers = servers.split_whitespace().chain([LISTED]);
    let servers: Vec<String> = servers.map(|ip| format!("{ip}/32")).collect();
    let api = format!("--set=networkPolicy.apiServer={{{}}}", servers.join(","));
    let from = json!([{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace.name}}}]);
    let from = format!("--set-json=networkPolicy.metricsFrom={from}");
    operator::install_with(&[PODS, "--set=networkPolicy.enabled=true", &api, &from])?;
    reader
        .hears("the metrics only", &all("silence", "200"))
        .await?;
    stranger
        .hears("nothing", &all("silence", "silence"))
        .await?;
    if in_its_network() {
        // The API server is on the pods' node, from which no network keeps anybody; so two more.
        let (listed, other) = (Outsider::at(LISTED)?, Outsider::at("10.212.0.4")?);
        listed
            .hears("the webhook only", &all("open", "silence"))
            .await?;
        other.hears("nothing", &all("silence", "silence")).await?;
    }

    // The API server reaches the webhook: the first pods have the gateway, none was restarted.
    namespace.apply(&chart::one_file()?)?;
    manifest::wait_for(namespace, app::APP, "Ready", "True").await?;
    let place = ["-n", &namespace.name, "get", "replicasets"];
    let sets = kubectl(place.iter().chain(&["-l", "app=chat", "-o", "name"]))?;
    ensure!(sets.lines().count() == 1, "restarted: {sets}");
    // And so does the kubelet: another replica gets ready.
    let place = [
        "-n",
        operator::NAMESPACE,
        "delete",
        "pod",
        &operator::pods()?[0],
    ];
    kubectl(place)?;
    operator_ready()?;
    uninstall()
}

/// Has policies enforced, and then the operator installed; skips the test where nobody enforces them.
async fn prepare() -> Result<()> {
    if let Some(why) = network::unenforced().await? {
        bail!(Skipped(why));
    }
    operator::install_with(&[PODS])
}

/// The policy that docs/operator/network-policies.md tells people to write.
fn of_the_page() -> Result<String> {
    let page = std::fs::read_to_string(root().join("docs/operator/network-policies.md"))?;
    let section = page.split("# NetworkPolicies\n").nth(1);
    let policy = section.and_then(|rest| rest.split("```").nth(1));
    let policy = policy.context("no section NetworkPolicies with a policy")?;
    let policy = policy.strip_prefix("yaml").context("no YAML")?;
    Ok(policy.replace(", namespace: chat}", "}"))
}

/// The address of the app's one pod.
async fn address(app: &Namespace) -> Result<String> {
    let pod = app::ready_pods(app).await?.remove(0);
    let status = pod.status.and_then(|status| status.pod_ip);
    status.context("no address")
}

/// The addresses of the operator's replicas, those that are going left out.
fn replicas() -> Result<Vec<String>> {
    let address = |name: String| {
        let path = "jsonpath={.status.podIP}";
        kubectl(["-n", operator::NAMESPACE, "get", "pod", &name, "-o", path])
    };
    operator::pods()?.into_iter().map(address).collect()
}

/// Nothing of the operator is left in a cluster that stays.
fn uninstall() -> Result<()> {
    if in_its_network() {
        return Ok(());
    }
    let place = ["--namespace", operator::NAMESPACE, "--wait"];
    helm(["uninstall", "ws-operator"].iter().chain(&place)).map(drop)
}

//! What is done to the operator itself: one test after the other, when all others are through.
//! The last one uninstalls it.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use e2e::cluster::Namespace;
use e2e::command::{helm, kubectl};
use e2e::wait::{Look, until};
use e2e::{app, chart, manifest, operator};
use kube::ResourceExt;

use crate::entrance;

pub(crate) async fn the_leader_is_killed(namespace: Arc<Namespace>) -> Result<()> {
    let before = leader()?;
    ensure!(!before.is_empty(), "nobody leads");
    let place = ["-n", operator::NAMESPACE, "delete", "pod", &before];
    kubectl(
        place
            .into_iter()
            .chain(["--force", "--grace-period=0", "--wait=false"]),
    )?;
    // Admission goes on meanwhile: the other replica answers.
    namespace.apply(&chart::one_file()?)?;
    let pods = app::ready_pods(&namespace).await?;
    ensure!(
        pods.iter().all(|pod| app::gateway(pod).is_some()),
        "a pod without a gateway"
    );
    until("another leader", || async {
        let now = leader()?;
        Ok(Look::when(!now.is_empty() && now != before, (), now))
    })
    .await?;
    manifest::wait_for(&namespace, app::APP, "Ready", "True").await?;
    operator_ready()
}

pub(crate) async fn pods_start_without_an_operator(namespace: Arc<Namespace>) -> Result<()> {
    scale("0")?;
    until("no operator", || async {
        let pods = kubectl([
            "-n",
            operator::NAMESPACE,
            "get",
            "pods",
            "-l",
            operator::LABELS,
            "-o",
            "name",
        ])?;
        Ok(Look::when(pods.trim().is_empty(), (), pods))
    })
    .await?;
    namespace.apply(&chart::one_file()?)?;
    let bare = app::ready_pods(&namespace).await?;
    ensure!(
        bare.iter().all(|pod| app::gateway(pod).is_none()),
        "a gateway without an operator"
    );
    scale("2")?;
    manifest::wait_for(&namespace, app::APP, "Ready", "True").await?;
    let repaired = app::ready_pods(&namespace).await?;
    ensure!(
        repaired.iter().all(|pod| app::gateway(pod).is_some()
            && bare.iter().all(|old| old.uid() != pod.uid())),
        "not repaired"
    );
    operator_ready()
}

/// The apps go on answering, and nothing of the operator is left but what was asked to stay.
pub(crate) async fn uninstalling_leaves_nothing(namespace: Arc<Namespace>) -> Result<()> {
    let entrance = entrance::clean_rolling(|text| entrance::with(text, "expose: entrance"))?;
    chart::install(&namespace, entrance.path())?;
    entrance::is_fronted(&namespace).await?;
    until("the entry for routed namespaces", || async {
        let path = "jsonpath={.webhooks[*].failurePolicy} {.webhooks[*].namespaceSelector}";
        let found = kubectl([
            "get",
            "mutatingwebhookconfiguration",
            "ws-operator-entrance",
            "-o",
            path,
        ])?;
        let there = found.starts_with("Fail") && found.contains(&namespace.name);
        Ok(Look::when(there, (), found))
    })
    .await?;
    let client = entrance::Client::start(entrance::address(&namespace).await?);
    tokio::task::spawn_blocking(|| {
        helm([
            "uninstall",
            "ws-operator",
            "--namespace",
            operator::NAMESPACE,
            "--wait",
        ])
    })
    .await??;
    ensure!(
        entrance::target(&namespace).await? == "http",
        "still led to the gateway"
    );
    let (asked, failures) = client.stop().await?;
    ensure!(
        failures.is_empty(),
        "of {asked} requests failed: {failures:#?}"
    );

    let kinds = kubectl(["api-resources", "--verbs=list", "-o", "name"])?;
    let kinds: Vec<&str> = kinds
        .lines()
        .filter(|kind| !kind.starts_with("events") && !kind.starts_with("componentstatuses"))
        .collect();
    let instance = "app.kubernetes.io/instance=ws-operator";
    until("nothing of the operator", || async {
        let left = kubectl(["get", &kinds.join(","), "-A", "-l", instance, "-o", "name"])?;
        // `crds.keep` is the default.
        let left: Vec<&str> = left
            .lines()
            .filter(|name| !name.contains("appmanifests.ws.olares.com"))
            .collect();
        Ok(Look::when(left.is_empty(), (), format!("{left:?}")))
    })
    .await?;
    let labels = kubectl([
        "-n",
        &namespace.name,
        "get",
        "service",
        app::APP,
        "-o",
        "json",
    ])?;
    ensure!(!labels.contains("ws.olares.com/"), "{labels}");
    Ok(())
}

fn leader() -> Result<String> {
    let path = "jsonpath={.spec.holderIdentity}";
    kubectl([
        "-n",
        operator::NAMESPACE,
        "get",
        "lease",
        "ws-operator",
        "-o",
        path,
    ])
}

fn scale(replicas: &str) -> Result<()> {
    let replicas = format!("--replicas={replicas}");
    kubectl([
        "-n",
        operator::NAMESPACE,
        "scale",
        "deployment/ws-operator",
        &replicas,
    ])
    .map(drop)
}

fn operator_ready() -> Result<()> {
    let place = [
        "-n",
        operator::NAMESPACE,
        "rollout",
        "status",
        "--timeout=60s",
    ];
    kubectl(place.into_iter().chain(["deployment/ws-operator"]))
        .map(drop)
        .context("the operator did not come back")
}

//! What is done to the operator itself: one test after the other, when all others are through.
//! The last one uninstalls it.

use std::cell::Cell;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use e2e::cluster::Namespace;
use e2e::command::{helm, kubectl};
use e2e::small::{Small, apply};
use e2e::wait::{Look, until};
use e2e::{app, chart, manifest, operator};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::{Value as Json, json};

use crate::entrance;
use crate::rollouts::{ROLLED_FOR, rollout, running};

pub(crate) async fn the_leader_is_killed(namespace: Arc<Namespace>) -> Result<()> {
    let before = leader()?;
    kill(&before)?;
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

/// Whoever takes over finishes what was begun, and begins nothing anew.
pub(crate) async fn the_leader_is_killed_in_the_middle_of_a_rollout(
    namespace: Arc<Namespace>,
) -> Result<()> {
    let small = Small::deployment("small").replicas(3);
    small.start(&namespace)?;
    running(&namespace, &small, false).await?;
    small.ask(&namespace, &json!({}))?;
    until("the first pod with a gateway", || async {
        let pods = small.pods(&namespace).await?;
        let injected = pods
            .iter()
            .filter(|pod| app::gateway(pod).is_some())
            .count();
        Ok(Look::when(injected > 0, (), format!("{} pods", pods.len())))
    })
    .await?;
    kill(&leader()?)?;
    // The API server may ask the killed replica about one of the new pods: that one is bare, and
    // has to be restarted.
    let missed = Cell::new(false);
    until("all three with a gateway", || async {
        let pods = small.pods(&namespace).await?;
        let has = |pod: &&Pod| app::gateway(pod).is_some();
        let mut bare = pods.iter().filter(|pod| !has(pod));
        if bare.any(|pod| pod.annotations().contains_key(ROLLED_FOR)) {
            missed.set(true);
        }
        let ready = pods.iter().filter(has).filter(|pod| app::is_ready(pod));
        let (ready, all) = (ready.count(), pods.len());
        let seen = format!("{ready} of {all}");
        Ok(Look::when((ready, all) == (3, 3), (), seen))
    })
    .await?;
    manifest::wait_for(&namespace, "small", "Ready", "True").await?;
    let rolled = rollout(&namespace).await?;
    ensure!(
        missed.get() || !rolled.contains('.'),
        "begun anew: {rolled}"
    );
    operator_ready()
}

/// Ten people install the example at once.
pub(crate) async fn ten_installs_in_a_row(namespace: Arc<Namespace>) -> Result<()> {
    const INSTALLS: usize = 10;
    let mut namespaces = Vec::new();
    for _ in 0..INSTALLS {
        let namespace = Namespace::create("e2e-install").await?;
        chart::begin(&namespace, &chart::example())?;
        namespaces.push(namespace);
    }
    let mut at_once = 0;
    for namespace in &namespaces {
        manifest::wait_for(namespace, app::APP, "Ready", "True").await?;
        let pods = app::ready_pods(namespace).await?;
        ensure!(
            pods.iter().all(|pod| app::gateway(pod).is_some()),
            "a pod without a gateway in {}",
            namespace.name
        );
        let object = namespace.api::<Deployment>().get(app::APP).await?;
        let template = object.spec.and_then(|spec| spec.template.metadata);
        let rolled = template
            .and_then(|metadata| metadata.annotations)
            .is_some_and(|annotations| annotations.contains_key(ROLLED_FOR));
        at_once += usize::from(!rolled);
        namespace.delete().await?;
    }
    eprintln!("\ne2e: of {INSTALLS} installs {at_once} had the gateway in their first pod");
    drop(namespace);
    Ok(())
}

/// Pods that no node takes: they need no kubelet, and nothing disturbs the count.
pub(crate) async fn only_so_many_restarts_begin_at_once(namespace: Arc<Namespace>) -> Result<()> {
    const APPS: usize = 16;
    let nowhere = json!({"nodeSelector": {"nowhere": "at-all"}});
    let all: Vec<Small> = (0..APPS)
        .map(|index| Small::deployment(&format!("small-{index}")).pod(nowhere.clone()))
        .collect();
    let objects = all
        .iter()
        .flat_map(|small| [small.workload(), small.service()]);
    apply(&namespace, &objects.collect::<Vec<_>>())?;
    let count = |gateway: bool| {
        let namespace = Arc::clone(&namespace);
        async move {
            let pods = namespace.api::<Pod>().list(&ListParams::default()).await?;
            let fits = |pod: &&Pod| app::gateway(pod).is_some() == gateway;
            anyhow::Ok(pods.iter().filter(fits).count())
        }
    };
    until("bare pods", || async {
        let bare = count(false).await?;
        Ok(Look::when(bare == APPS, (), bare))
    })
    .await?;
    let manifests: Vec<_> = all.iter().map(|small| small.manifest(&json!({}))).collect();
    apply(&namespace, &manifests)?;
    // The last ones wait for their turn, and get it.
    until("a workload that waits for its turn", || async {
        let all = manifest::all(&namespace).await?;
        let waits = |status: &&Json| status.to_string().contains("\"RateLimited\"");
        let waiting = all.iter().filter(waits).count();
        Ok(Look::when((1..APPS).contains(&waiting), (), waiting))
    })
    .await?;
    until("a gateway in every pod", || async {
        let injected = count(true).await?;
        Ok(Look::when(injected == APPS, (), injected))
    })
    .await
}

pub(crate) async fn pods_start_without_an_operator(namespace: Arc<Namespace>) -> Result<()> {
    operator::scale(0).await?;
    namespace.apply(&chart::one_file()?)?;
    let bare = app::ready_pods(&namespace).await?;
    ensure!(
        bare.iter().all(|pod| app::gateway(pod).is_none()),
        "a gateway without an operator"
    );
    operator::scale(2).await?;
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
    let (asked, failures) = client.stop()?;
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

/// Without a word of warning.
pub(crate) fn kill(replica: &str) -> Result<()> {
    ensure!(!replica.is_empty(), "nobody leads");
    let place = ["-n", operator::NAMESPACE, "delete", "pod", replica];
    let at_once = ["--force", "--grace-period=0", "--wait=false"];
    kubectl(place.into_iter().chain(at_once)).map(drop)
}

pub(crate) fn leader() -> Result<String> {
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

pub(crate) fn operator_ready() -> Result<()> {
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

//! What new pods depend on, while it changes: no pod is admitted without its gateway.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::cluster::Namespace;
use e2e::command::kubectl;
use e2e::small::{Small, apply};
use e2e::wait::{Look, PATIENCE, until, within};
use e2e::{admission, manifest, operator};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use serde_json::json;
use tokio::task::{JoinHandle, spawn_blocking};

/// The operator's own, one after the other.
const ROLLOUTS: usize = 3;
const CREATORS: usize = 4;
/// New authorities after the first.
const ROTATIONS: usize = 3;
const PAUSE: Duration = Duration::from_millis(25);

/// Three replicas, each with a leaf of its own, and one Secret and caBundle between them.
pub(crate) async fn certificates_that_live_for_seconds(namespace: Arc<Namespace>) -> Result<()> {
    let small = Small::deployment("small");
    apply(&namespace, &[small.service(), small.manifest(&json!({}))])?;
    manifest::wait_for(&namespace, "small", "Accepted", "True").await?;
    of_seconds()?;

    let creating = Creating::start(&namespace, &small).await?;
    let outcome = rotations(&namespace).await;
    let created = creating.stop().await?;
    outcome?;
    operator::install()?;
    created.all_with_a_gateway(300, &format!("{ROTATIONS} rotations"))
}

/// As an upgrade does it: replicas go while the API server asks them all the time.
pub(crate) async fn rollouts_of_the_operator(namespace: Arc<Namespace>) -> Result<()> {
    let small = Small::deployment("small");
    apply(&namespace, &[small.service(), small.manifest(&json!({}))])?;
    manifest::wait_for(&namespace, "small", "Accepted", "True").await?;
    let mut creating = Vec::new();
    for _ in 0..CREATORS {
        creating.push(Creating::start(&namespace, &small).await?);
    }
    let outcome = rollouts().await;
    let mut all = Created::default();
    for one in creating {
        let Created { asked, bare } = one.stop().await?;
        all.asked += asked;
        all.bare.extend(bare);
    }
    outcome?;
    all.all_with_a_gateway(300, &format!("{ROLLOUTS} rollouts"))
}

/// Until the last pod of before is gone.
async fn rollouts() -> Result<()> {
    for _ in 0..ROLLOUTS {
        let before = operator::pods()?;
        spawn_blocking(|| {
            let place = ["-n", operator::NAMESPACE, "rollout"];
            kubectl(
                place
                    .into_iter()
                    .chain(["restart", "deployment/ws-operator"]),
            )?;
            let patience = ["status", "deployment/ws-operator", "--timeout=2m"];
            kubectl(place.into_iter().chain(patience))
        })
        .await??;
        until("the pods of before to be gone", || async {
            let place = ["-n", operator::NAMESPACE, "get", "pods", "-o", "name"];
            let now = spawn_blocking(move || kubectl(place)).await??;
            let gone = !before.iter().any(|pod| now.contains(pod));
            Ok(Look::when(gone, (), now))
        })
        .await?;
    }
    Ok(())
}

/// Three replicas whose certificates live for seconds, from a new authority on.
pub(crate) fn of_seconds() -> Result<()> {
    operator::install_with(&[
        "--set=replicas=3",
        "--set=certificates.caLifetime=20s",
        "--set=certificates.lifetime=8s",
    ])?;
    let place = ["-n", operator::NAMESPACE, "patch", "secret"];
    let patch = [
        "ws-operator-ca",
        "--type=merge",
        r#"--patch={"data": null}"#,
    ];
    kubectl(place.into_iter().chain(patch)).map(drop)
}

/// Until so many authorities have signed, one after the other.
async fn rotations(namespace: &Namespace) -> Result<()> {
    let secrets: Api<Secret> = Api::namespaced(namespace.client.clone(), operator::NAMESPACE);
    let seen = std::sync::Mutex::new(BTreeSet::new());
    within(
        PATIENCE,
        "rotations of the certificate authority",
        || async {
            let secret = secrets.get("ws-operator-ca").await?;
            let name = secret
                .data
                .and_then(|mut data| data.remove("signing.name"))
                .map(|ByteString(bytes)| bytes);
            let mut seen = seen.lock().ok().context("a poisoned lock")?;
            seen.extend(name);
            let count = seen.len();
            Ok(Look::when(
                count > ROTATIONS,
                (),
                format!("{count} authorities"),
            ))
        },
    )
    .await
}

/// Creates the app's pods without end, as dry runs.
pub(crate) struct Creating {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Created>,
}

#[derive(Default)]
pub(crate) struct Created {
    pub(crate) asked: usize,
    /// What became of those without a gateway.
    pub(crate) bare: Vec<String>,
}

impl Created {
    /// And more than so many, while that happened.
    pub(crate) fn all_with_a_gateway(&self, count: usize, what: &str) -> Result<()> {
        let Self { asked, bare } = self;
        ensure!(
            bare.is_empty(),
            "of {asked} pods {} were refused or had no gateway: {bare:#?}",
            bare.len()
        );
        ensure!(*asked > count, "only {asked} pods");
        eprintln!("\ne2e: {asked} pods over {what}, each with a gateway");
        Ok(())
    }
}

impl Creating {
    /// Once a good number of pods in a row got a gateway.
    pub(crate) async fn start(namespace: &Namespace, small: &Small) -> Result<Self> {
        const IN_A_ROW: usize = 20;
        let pod = of_a_replica_set(small)?;
        until("admission by all replicas", || async {
            for _ in 0..IN_A_ROW {
                let answer = create(namespace, &pod).await?;
                if !answer.is_injected() {
                    return Ok(Look::NotYet(answer.0));
                }
            }
            Ok(Look::Found(()))
        })
        .await?;

        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let namespace = Namespace::of(&namespace.name).await?;
        let started = Instant::now();
        let task = tokio::spawn(async move {
            let mut created = Created::default();
            while !stopped.load(Ordering::Relaxed) {
                created.asked += 1;
                let words = match create(&namespace, &pod).await {
                    Ok(answer) if answer.is_injected() => None,
                    Ok(answer) => Some(answer.0),
                    Err(error) => Some(format!("refused: {error:#}")),
                };
                let line = words.map(|words| format!("{:?}: {words}", started.elapsed()));
                created.bare.extend(line);
                tokio::time::sleep(PAUSE).await;
            }
            created
        });
        Ok(Self { stop, task })
    }

    pub(crate) async fn stop(self) -> Result<Created> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.task.await?)
    }
}

/// The containers of a pod, in words.
struct Answer(String);

impl Answer {
    fn is_injected(&self) -> bool {
        self.0.contains(stanza::env::CONTAINER)
    }
}

async fn create(namespace: &Namespace, pod: &Pod) -> Result<Answer> {
    let (pod, warnings) = admission::create(namespace, "pods", pod).await?;
    let containers = pod
        .pointer("/spec/containers")
        .and_then(|all| all.as_array());
    let names: Vec<_> = containers
        .into_iter()
        .flatten()
        .filter_map(|container| container["name"].as_str())
        .collect();
    Ok(Answer(format!("{names:?} {warnings:?}")))
}

/// As the Deployment's controllers would create it.
pub(crate) fn of_a_replica_set(small: &Small) -> Result<Pod> {
    let mut pod = small.template();
    let replica_set = format!("{}-5d8f", small.name);
    pod["metadata"]["generateName"] = json!(format!("{replica_set}-"));
    pod["metadata"]["labels"]["pod-template-hash"] = json!("5d8f");
    pod["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": replica_set, "uid": "1", "controller": true,
    }]);
    Ok(serde_json::from_value(pod)?)
}

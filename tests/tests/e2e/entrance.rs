//! `expose: entrance`: the entrance's own Service leads to the gateway and back, and whoever asks
//! all the while gets every answer.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use e2e::cluster::Namespace;
use e2e::command::run;
use e2e::wait::{Look, until};
use e2e::{app, chart, manifest};
use k8s_openapi::api::core::v1::Service;
use kube::api::{Patch, PatchParams};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PAUSE: Duration = Duration::from_millis(10);
const ANSWER: Duration = Duration::from_secs(5);

pub(crate) async fn no_request_fails_with_helm_4(namespace: Arc<Namespace>) -> Result<()> {
    no_request_fails(&namespace, "helm").await
}

pub(crate) async fn no_request_fails_with_helm_3(namespace: Arc<Namespace>) -> Result<()> {
    no_request_fails(&namespace, "helm3").await
}

async fn no_request_fails(namespace: &Namespace, program: &str) -> Result<()> {
    let plain = clean_rolling(chart::without_stanza)?;
    let entrance = clean_rolling(|text| with(text, "expose: entrance"))?;
    let patient =
        clean_rolling(|text| with(text, "expose: entrance\n    heartbeat: {timeout: 7m}"))?;

    helm(namespace, program, "install", plain.path()).await?;
    app::ready_pods(namespace).await?;
    let address = address(namespace).await?;
    // The endpoints of a Service reach a node's rules a moment after the pods are ready.
    until("a first answer", || async {
        ask(address.clone()).await.map(Look::Found)
    })
    .await?;
    let client = Client::start(address);

    helm(namespace, program, "upgrade", entrance.path()).await?;
    is_fronted(namespace)
        .await
        .context("after the stanza came")?;

    helm(namespace, program, "upgrade", patient.path()).await?;
    until("a gateway with the changed stanza", || async {
        let pods = app::pods(namespace).await?;
        let changed = |pod| {
            app::gateway(pod)
                .and_then(|gateway| app::variable(gateway, stanza::env::OPTIONS))
                .is_some_and(|options| options.contains("7m"))
        };
        let all = !pods.is_empty() && pods.iter().all(changed);
        Ok(Look::when(all, (), format!("{} pods", pods.len())))
    })
    .await?;
    is_fronted(namespace).await.context("after a change")?;

    let place = [
        "rollback",
        "chat",
        "2",
        "--wait",
        "--namespace",
        &namespace.name,
    ];
    run(program, place).context("rollback")?;
    is_fronted(namespace).await.context("after a rollback")?;

    helm(namespace, program, "upgrade", plain.path()).await?;
    until("pods without a gateway", || async {
        let pods = app::pods(namespace).await?;
        let bare = !pods.is_empty() && pods.iter().all(|pod| app::gateway(pod).is_none());
        let target = target(namespace).await?;
        Ok(Look::when(
            bare && target == "http",
            (),
            format!("{} pods, {target}", pods.len()),
        ))
    })
    .await?;
    app::ready_pods(namespace).await?;

    let (asked, failures) = client.stop()?;
    ensure!(
        failures.is_empty(),
        "{} of {asked} requests failed: {failures:#?}",
        failures.len()
    );
    ensure!(asked > 300, "only {asked} requests");
    Ok(())
}

pub(crate) async fn a_native_sidecar_in_front_of_a_named_port(
    namespace: Arc<Namespace>,
) -> Result<()> {
    in_front_of(&namespace, "targetPort: http").await
}

pub(crate) async fn a_native_sidecar_in_front_of_a_numbered_port(
    namespace: Arc<Namespace>,
) -> Result<()> {
    in_front_of(&namespace, "targetPort: 8888").await
}

async fn in_front_of(namespace: &Namespace, target: &str) -> Result<()> {
    let text = chart::one_file()?;
    ensure!(
        text.contains("targetPort: http"),
        "the example's port has no name any more"
    );
    let native = "port: 8888\n      sidecar: native\n      expose: entrance\n";
    let text = text.replace("port: 8888\n", native);
    namespace.apply(&text.replace("targetPort: http", target))?;
    // Services do not find the names of an init container's ports.
    is_fronted_at(namespace, "40010").await?;
    gives_its_fields_back(namespace).await?;
    ask(address(namespace).await?).await
}

/// A write of the operator that broke off between its halves leaves it among the owners.
async fn gives_its_fields_back(namespace: &Namespace) -> Result<()> {
    let services = namespace.api::<Service>();
    let half = json!({"metadata": {"labels": {"half": "done"}}});
    let params = PatchParams {
        field_manager: Some("ws-operator".to_owned()),
        ..PatchParams::default()
    };
    services
        .patch(app::APP, &params, &Patch::Merge(half))
        .await?;
    until("the fields without an owner", || async {
        let service = services.get(app::APP).await?;
        let owners = serde_json::to_string(&service.metadata.managed_fields)?;
        Ok(Look::when(!owners.contains("ws-operator"), (), owners))
    })
    .await
}

/// The operator says so, the Service is so and still its author's, and a client is served through it.
pub(crate) async fn is_fronted(namespace: &Namespace) -> Result<()> {
    is_fronted_at(namespace, "ws-entrance").await
}

async fn is_fronted_at(namespace: &Namespace, port: &str) -> Result<()> {
    let object = manifest::wait_for(namespace, app::APP, "Ready", "True").await?;
    let routed = manifest::condition(&object, "Routed").context("no condition")?;
    ensure!(routed["reason"] == "EntranceRouted", "{routed}");
    ensure!(target(namespace).await? == port);
    let service = namespace.api::<Service>().get(app::APP).await?;
    let owners = serde_json::to_string(&service.metadata.managed_fields)?;
    ensure!(
        !owners.contains("ws-operator"),
        "the operator owns fields: {owners}"
    );
    let url = object.data.pointer("/status/url").and_then(Json::as_str);
    // The rollout may still be about to end the old pod.
    until("one pod", || async {
        let count = app::pods(namespace).await?.len();
        Ok(Look::when(count == 1, (), count))
    })
    .await?;
    app::converse(namespace, url.context("no url")?).await
}

pub(crate) async fn target(namespace: &Namespace) -> Result<String> {
    let service = serde_json::to_value(namespace.api::<Service>().get(app::APP).await?)?;
    let target = &service["spec"]["ports"][0]["targetPort"];
    Ok(target
        .as_str()
        .map_or_else(|| target.to_string(), str::to_owned))
}

pub(crate) async fn address(namespace: &Namespace) -> Result<String> {
    let spec = namespace.api::<Service>().get(app::APP).await?.spec;
    let address = spec
        .and_then(|spec| spec.cluster_ip)
        .context("no address")?;
    Ok(format!("{address}:80"))
}

pub(crate) fn with(manifest: &str, line: &str) -> String {
    manifest.replace("port: 8888\n", &format!("port: 8888\n    {line}\n"))
}

/// An app that rolls without a failed request by itself: it goes on for a moment after it was
/// told to end.
pub(crate) fn clean_rolling(edit: impl FnOnce(&str) -> String) -> Result<TempDir> {
    let copy = chart::edited(edit)?;
    let file = copy.path().join("templates/deployment.yaml");
    let text = std::fs::read_to_string(&file)?;
    let hold = "        lifecycle: {preStop: {sleep: {seconds: 4}}}\n        readinessProbe:";
    std::fs::write(&file, text.replace("        readinessProbe:", hold))?;
    Ok(copy)
}

async fn helm(namespace: &Namespace, program: &str, verb: &str, chart: &Path) -> Result<()> {
    let chart = chart.to_str().context("a path that is no text")?.to_owned();
    let mut words = vec![verb.to_owned(), "chat".to_owned(), chart];
    words.extend(["--wait", "--timeout", "2m", "--namespace"].map(str::to_owned));
    words.push(namespace.name.clone());
    if let Ok(image) = std::env::var("WS_IMAGE_PYTHON") {
        words.push(format!("--set=image={image}"));
    }
    let program = program.to_owned();
    // The client goes on asking meanwhile.
    tokio::task::spawn_blocking(move || run(&program, words).map(drop)).await?
}

/// Asks every few milliseconds, each time over a new connection; on a thread of its own, as whoever
/// starts a program waits for its end.
pub(crate) struct Client {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    thread: JoinHandle<Result<(usize, Vec<String>)>>,
}

impl Client {
    pub(crate) fn start(address: String) -> Self {
        Self::asking(address, ask)
    }

    pub(crate) fn asking<F, Fut>(address: String, question: F) -> Self
    where
        F: Fn(String) -> Fut + Send + 'static,
        Fut: Future<Output = Result<()>>,
    {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let started = Instant::now();
        let asks = async move || {
            let mut failures = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                count.fetch_add(1, Ordering::Relaxed);
                let answer = tokio::time::timeout(ANSWER, question(address.clone())).await;
                if let Err(error) = answer.context("no answer").flatten() {
                    failures.push(format!("{:?}: {error:#}", started.elapsed()));
                }
                tokio::time::sleep(PAUSE).await;
            }
            Ok((count.load(Ordering::Relaxed), failures))
        };
        let thread = std::thread::spawn(move || crate::block_on(asks()));
        Self {
            stop,
            asked,
            thread,
        }
    }

    /// Waits until it has asked so many times more.
    pub(crate) async fn goes_on(&self, more: usize) -> Result<()> {
        let asked = || self.asked.load(Ordering::Relaxed);
        let wanted = asked() + more;
        until("a client that asks on", || async {
            Ok(Look::when(asked() >= wanted, (), asked()))
        })
        .await
    }

    pub(crate) fn stop(self) -> Result<(usize, Vec<String>)> {
        self.stop.store(true, Ordering::Relaxed);
        let outcome = self.thread.join();
        outcome.map_err(|_| anyhow!("the client panicked"))?
    }
}

async fn ask(address: String) -> Result<()> {
    let mut stream = TcpStream::connect(&address).await.context("connect")?;
    let request = "GET / HTTP/1.1\r\nHost: chat.example\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.context("read")?;
    ensure!(
        answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.0 200"),
        "{answer:?}"
    );
    ensure!(
        answer.contains("<html") || answer.contains("<!doctype"),
        "{answer:?}"
    );
    Ok(())
}

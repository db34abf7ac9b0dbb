//! `ws-operator roll`: restarts the workloads whose gateways are not as new ones would be, above
//! all after an upgrade of the gateway's image, which restarts nothing by itself.

mod progress;

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use kube::Client;
use tokio::time::Instant;

use progress::{Key, Line, Work};

use super::installed::Installed;
use super::target::Target;
use super::{Format, Output, snapshot};
use crate::app::AppId;
use crate::cluster::Cluster;
use crate::controller::{Candidate, candidates, restart};
use crate::injection::Rules;
use crate::platform::Platform;
use crate::probe::Probe;
use crate::run::runs_native;

/// Between two looks while restarts are under way.
const LOOK: Duration = Duration::from_secs(1);

/// Restart workloads whose gateway has outdated settings, or another image than new pods get
///
/// As the operator restarts: one annotation on the pod template, only while the app's
/// PodDisruptionBudget allows it, never a paused Deployment, never amid a Helm release. What
/// `rollout: notify` left alone is restarted.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ws-operator roll --all --dry-run\n  ws-operator roll --all --wait --parallel 4\n  ws-operator roll -n chat\n  ws-operator roll app/chat -n chat --wait -o json"
)]
pub(super) struct Arguments {
    /// app/NAME, deploy/NAME, sts/NAME or ds/NAME; without it all of the namespace
    object: Option<Target>,
    #[arg(long, short)]
    namespace: Option<String>,
    /// In every namespace
    #[arg(long, conflicts_with_all = ["namespace", "object"])]
    all: bool,
    /// Say what would be restarted
    #[arg(long)]
    dry_run: bool,
    /// Go on until everything is restarted that can be
    #[arg(long)]
    wait: bool,
    /// With --wait: give up after so long
    #[arg(long, default_value = "30m", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Workloads to restart at once
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    parallel: u16,
    /// The operator's own namespace, which says what new pods get
    #[arg(long, default_value = "ws-operator")]
    operator_namespace: String,
    #[arg(long, short, default_value = "text")]
    output: Format,
}

/// What is looked at again and again.
struct View<'a> {
    client: &'a Client,
    rules: Rules,
    namespace: Option<String>,
    object: Option<&'a Target>,
    webhook_up: bool,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<Output> {
    let client = Client::try_default()
        .await
        .context("cannot connect to the API server")?;
    let namespace = match (&arguments.namespace, arguments.all) {
        (_, true) => None,
        (Some(namespace), _) => Some(namespace.clone()),
        (None, _) if arguments.object.is_none() => {
            bail!("say what to restart: --all, -n NAMESPACE, or an object such as app/NAME")
        }
        (None, _) => Some(client.default_namespace().to_owned()),
    };
    let own = &arguments.operator_namespace;
    let view = View {
        client: &client,
        rules: rules(&client, own).await?,
        namespace,
        object: arguments.object.as_ref(),
        webhook_up: Probe::new(client.clone(), own).ask().await,
    };
    let (_, found) = view.look().await?;
    let mut work = Work::new(found.clone(), usize::from(arguments.parallel));
    let mut failed = false;
    if !arguments.dry_run {
        view.start(&mut work, &found).await?;
        if arguments.wait {
            let all = tokio::time::timeout(arguments.timeout, view.finish(&mut work)).await;
            if let Ok(outcome) = all {
                outcome?;
            } else {
                eprintln!("gave up after {:?}", arguments.timeout);
            }
            failed = !work.is_over() || !work.succeeded();
        }
    }
    let text = match arguments.output {
        Format::Text => work.text(),
        Format::Json => format!("{:#}\n", work.json()),
    };
    Ok(Output { text, failed })
}

impl View<'_> {
    async fn look(&self) -> anyhow::Result<(Cluster, Vec<Candidate>)> {
        let cluster = snapshot::read(self.client, self.namespace.as_deref()).await?;
        let mut found = Vec::new();
        for app in cluster.apps.all() {
            found.extend(candidates(&cluster, &self.rules, &app.id, self.webhook_up));
        }
        if let Some(target) = self.object {
            let namespace = self.namespace.as_deref().unwrap_or_default();
            exists(&cluster, namespace, target)?;
            found.retain(|one| is_meant(target, one));
        }
        Ok((cluster, found))
    }

    async fn start(&self, work: &mut Work, found: &[Candidate]) -> anyhow::Result<()> {
        for ((namespace, workload), trigger) in work.start(found, Instant::now()) {
            restart(self.client, &namespace, &workload, &trigger)
                .await
                .with_context(|| format!("cannot restart {workload} in {namespace}"))?;
            say(&(namespace, workload), "restarted");
        }
        Ok(())
    }

    async fn finish(&self, work: &mut Work) -> anyhow::Result<()> {
        while !work.is_over() {
            tokio::time::sleep(LOOK).await;
            let (cluster, found) = self.look().await?;
            for Line { key, state } in work.look(&cluster, &found, Instant::now()) {
                let (state, more) = state.words();
                say(&key, &format!("{state}{more}"));
            }
            self.start(work, &found).await?;
        }
        Ok(())
    }
}

/// Progress is for people: it goes to standard error.
fn say((namespace, workload): &Key, words: &str) {
    eprintln!("{namespace} {workload}: {words}");
}

/// What new pods get, as the operator was told.
async fn rules(client: &Client, namespace: &str) -> anyhow::Result<Rules> {
    let installed = Installed::find(client, namespace)
        .await
        .with_context(|| format!("cannot list Deployments in {namespace}"))?;
    let Some(installed) = installed else {
        bail!("there is no operator in {namespace}; --operator-namespace names another one");
    };
    let version = client
        .apiserver_version()
        .await
        .context("the API server does not answer")?;
    let platform = Platform::find(client.clone())
        .await
        .context("the API server does not answer")?;
    let gateway = installed.gateway()?;
    Ok(gateway.rules(runs_native(&version), platform.is_olares()))
}

fn is_meant(target: &Target, candidate: &Candidate) -> bool {
    match target {
        Target::App(name) => candidate.app.name == *name,
        Target::Workload(workload) => candidate.workload == *workload,
        Target::Pod(_) => false,
    }
}

/// A name that is nobody's is no reason to say that all is well.
fn exists(cluster: &Cluster, namespace: &str, target: &Target) -> anyhow::Result<()> {
    let found = match target {
        Target::App(name) => cluster.apps.get(namespace, name).is_some(),
        Target::Workload(workload) => cluster.workload(namespace, workload).is_some(),
        Target::Pod(_) => bail!("pods are not restarted: name their workload"),
    };
    if found {
        return Ok(());
    }
    match target {
        Target::App(name) => bail!("no AppManifest {}", AppId::new(namespace, name)),
        Target::Workload(workload) => bail!("no {workload} in {namespace}"),
        Target::Pod(_) => Ok(()),
    }
}

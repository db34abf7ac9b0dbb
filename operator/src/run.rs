//! Wiring: which task gets what. Every task is owned here; one that ends takes the program
//! with it, and Kubernetes starts it again.

mod tasks;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::apimachinery::pkg::version::Info;
use kube::{Api, Client};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::certificate::Lifetimes;
use crate::certificate::configuration::Configuration;
use crate::certificate::entrances::Entrances;
use crate::certificate::files::Files;
use crate::certificate::keeper::{Keeper, Origin};
use crate::certificate::leaf::Leaf;
use crate::certificate::own::{Own, Safe};
use crate::cluster::{Cluster, chain};
use crate::controller::{Controller, Repairs, Triggers};
use crate::events::{self, Notices};
use crate::injection::Rules;
use crate::lease::Lease;
use crate::metrics::{Metrics, Watched};
use crate::ops::Readiness;
use crate::platform::Platform;
use crate::probe::Probe;
use crate::queue::Queue;
use crate::server::{Ending, Limits};
use crate::settings::{Settings, SourceSettings};
use crate::source::application_manager::{self, ApplicationManagers};
use crate::source::helm_release::{self, HelmReleases};
use crate::source::pod_label::{self, PodLabels};
use crate::source::{Sources, Writer};
use crate::webhook::door::Door;
use crate::webhook::strangers::Strangers;
use crate::webhook::{Bodies, Webhook};
use tasks::Tasks;

/// After SIGTERM admission goes on for so long: the API server may not know yet that we go.
const LAST_CALLS: Duration = Duration::from_secs(3);
/// The first minor version of Kubernetes 1 whose init containers may always restart.
const NATIVE_SINCE: u32 = 29;

pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let client = Client::try_default()
        .await
        .context("cannot connect to the API server")?;
    let cluster = Arc::new(Cluster {
        excluded: settings
            .webhook
            .excluded_namespaces
            .iter()
            .cloned()
            // Whatever it is called since the chart was rendered.
            .chain([settings.namespace.clone()])
            .collect(),
        ..Cluster::default()
    });
    let platform = Platform::find(client.clone())
        .await
        .context("the API server does not answer")?;
    let rules = rules(&client, &settings, &platform).await?;
    let (notices, events) = events::channel(client.clone(), &settings.pod_name);
    let triggers = Triggers {
        cluster: Arc::clone(&cluster),
        queue: Arc::new(Queue::default()),
    };
    let lease = Arc::new(lease(&client, &settings));
    let metrics = Metrics::new(Watched {
        cluster: Arc::clone(&cluster),
        queue: Arc::clone(&triggers.queue),
        notices: notices.clone(),
        leading: lease.leading(),
    });
    let sources = sources(&client, &triggers, &notices, &settings.sources, &platform);
    let ending = Ending::default();
    let mut tasks = Tasks::default();

    tasks.watch(&client, &triggers, &sources);
    tasks.spawn("sources", sources.run(Arc::clone(&cluster)));
    tasks.spawn("events", events.run());

    let (leaf, door) = (Arc::new(Leaf::default()), Arc::new(Door::default()));
    let (of_cluster, of_keeper) = (Arc::clone(&cluster), metrics.clone());
    let shared = (Arc::clone(&leaf), Arc::clone(&door));
    let keeper = keeper(&client, &settings, shared, of_cluster, of_keeper);
    let trusted = keeper.trusted();
    tasks.spawn("certificates", async move { keeper.run().await });

    let webhook = Webhook {
        cluster: Arc::clone(&cluster),
        rules: rules.clone(),
        notices: notices.clone(),
        metrics: metrics.clone(),
        by_label: settings.sources.pod_labels,
        door,
        strangers: Arc::new(Strangers::new(metrics.clone())),
        patience: settings.webhook.webhook_request_timeout,
        bodies: Bodies::default(),
    };
    let listen = settings.webhook.webhook_listen;
    let limits = Limits::new(settings.webhook.webhook_request_timeout);
    let listener = bind(listen).await?;
    tasks.serve_webhook(listener, &leaf, webhook, limits, ending.clone())?;

    let readiness = Readiness {
        cluster: Arc::clone(&cluster),
        trusted,
    };
    let listener = bind(settings.ops_listen).await?;
    tasks.serve_ops(listener, readiness, metrics.clone(), limits, ending.clone());

    let probe = Probe::new(client.clone(), &settings.namespace);
    let controller = Controller {
        client,
        cluster: Arc::clone(&cluster),
        queue: Arc::clone(&triggers.queue),
        rules,
        notices,
        metrics: metrics.clone(),
        repairs: Repairs::default(),
        retry_refused: settings.retry_refused,
        webhook_up: probe.up(),
    };
    let all = triggers.clone();
    tasks.spawn("platform", async move { platform.run(|| all.all()).await });
    tasks.spawn("probe", async move {
        probe.run(&metrics, |_| triggers.all()).await;
    });
    tasks.spawn("controller", control(controller, lease.leading()));
    let leader = Arc::clone(&lease);
    tasks.spawn("lease", async move { leader.run().await });

    let ended = tasks.until(terminated()).await;
    if ended.is_ok() {
        info!("shutting down");
        ending.parting.cancel();
        if let Err(error) = lease.release().await {
            warn!(error = %chain(&error), "the Lease was not given back");
        }
        tokio::time::sleep(LAST_CALLS).await;
    }
    ending.shutdown.cancel();
    tasks.close().await;
    ended
}

/// While this replica leads. The sender lives in the task that keeps the Lease.
async fn control(controller: Controller, mut leading: watch::Receiver<bool>) {
    controller.cluster.synced().await;
    while leading.wait_for(|leading| *leading).await.is_ok() {
        info!("this replica leads: the controller runs");
        tokio::select! {
            () = controller.run() => return,
            _ = leading.wait_for(|leading| !*leading) => info!("this replica no longer leads: the controller stops"),
        }
    }
}

async fn rules(client: &Client, settings: &Settings, platform: &Platform) -> anyhow::Result<Rules> {
    let version = client
        .apiserver_version()
        .await
        .context("the API server does not answer")?;
    info!(kubernetes = version.git_version, "connected");
    Ok(settings
        .gateway
        .rules(runs_native(&version), platform.is_olares()))
}

/// Whether init containers may always restart there.
pub fn runs_native(version: &Info) -> bool {
    let digits = version.minor.chars().take_while(char::is_ascii_digit);
    let minor: u32 = digits.collect::<String>().parse().unwrap_or(0);
    version.major != "1" || minor >= NATIVE_SINCE
}

fn lease(client: &Client, settings: &Settings) -> Lease {
    let Settings {
        namespace,
        lease,
        pod_name,
        ..
    } = settings;
    Lease::new(client.clone(), namespace, lease, pod_name)
}

fn sources(
    client: &Client,
    triggers: &Triggers,
    notices: &Notices,
    settings: &SourceSettings,
    platform: &Platform,
) -> Sources {
    let writer = |source| Writer {
        client: client.clone(),
        triggers: triggers.clone(),
        source,
    };
    Sources {
        helm: settings
            .helm_releases
            .then(|| {
                let writer = writer(helm_release::SOURCE);
                HelmReleases::new(writer, notices.clone(), &settings.helm_namespaces)
            })
            .map(Arc::new),
        labels: settings
            .pod_labels
            .then(|| Arc::new(PodLabels::new(writer(pod_label::SOURCE)))),
        managers: settings.application_managers.then(|| {
            let writer = writer(application_manager::SOURCE);
            Arc::new(ApplicationManagers::new(writer, platform.is_olares()))
        }),
    }
}

fn keeper(
    client: &Client,
    settings: &Settings,
    (leaf, door): (Arc<Leaf>, Arc<Door>),
    cluster: Arc<Cluster>,
    metrics: Metrics,
) -> Keeper {
    let webhook = &settings.webhook;
    let entrances = Entrances {
        configuration: Configuration {
            api: Api::all(client.clone()),
            name: webhook.entrance_configuration.clone(),
        },
        cluster,
        namespace: settings.namespace.clone(),
        service: webhook.webhook_service.clone(),
    };
    let origin = match &webhook.certificates {
        Some(folder) => Origin::Files(Files {
            folder: folder.clone(),
            injected: webhook.ca_bundle_injected,
        }),
        None => Origin::Own(Own {
            lifetimes: Lifetimes {
                authority: webhook.ca_lifetime,
                leaf: webhook.certificate_lifetime,
            },
        }),
    };
    Keeper {
        safe: Safe {
            secrets: Api::namespaced(client.clone(), &settings.namespace),
            name: webhook.ca_secret.clone(),
            release: webhook
                .release
                .clone()
                .map(|release| (release, settings.namespace.clone())),
        },
        origin,
        door,
        configuration: Configuration {
            api: Api::all(client.clone()),
            name: webhook.webhook_configuration.clone(),
        },
        entrances,
        leaf,
        metrics,
        trusted: watch::Sender::new(false),
    }
}

async fn bind(address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))
}

async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        warn!("signals cannot be heard");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

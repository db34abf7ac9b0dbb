//! Tasks that run until the program ends, and servers that end when told to.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use kube::runtime::watcher;
use kube::{Api, Client};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tracing::{error, warn};

use super::LAST_CALLS;
use crate::certificate::leaf::Leaf;
use crate::cluster::UNRETRIEVED;
use crate::controller::Triggers;
use crate::metrics::Metrics;
use crate::ops::{self, Readiness};
use crate::server::{Ending, Limits, Server};
use crate::source::Sources;
use crate::webhook::Webhook;

#[derive(Default)]
pub(super) struct Tasks {
    endless: JoinSet<&'static str>,
    servers: JoinSet<&'static str>,
}

impl Tasks {
    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.endless.spawn(async move {
            task.await;
            name
        });
    }

    pub(super) fn serve_ops(
        &mut self,
        listener: TcpListener,
        readiness: Readiness,
        metrics: Metrics,
        limits: Limits,
        ending: Ending,
    ) {
        let server = Server {
            tls: None,
            handler: move |request| std::future::ready(ops::answer(&request, &readiness, &metrics)),
            limits,
            ending,
            on_turned_away: |_, _| {},
        };
        self.servers.spawn(async move {
            server.serve(listener).await;
            "ops"
        });
    }

    /// On a thread of its own: an admission waits for no reconcile and no long list.
    pub(super) fn serve_webhook(
        &mut self,
        listener: TcpListener,
        leaf: &Arc<Leaf>,
        webhook: Webhook,
        limits: Limits,
        ending: Ending,
    ) -> anyhow::Result<()> {
        let listener = listener.into_std()?;
        let tls = TlsAcceptor::from(Arc::new(leaf.server_config().context("TLS")?));
        let server = Arc::new(webhook).server(tls, limits, ending.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        self.servers.spawn_blocking(move || {
            runtime.block_on(async {
                let listener = match TcpListener::from_std(listener) {
                    Ok(listener) => listener,
                    Err(error) => return error!(%error, "the webhook cannot be served"),
                };
                // Nobody can abort a thread: it has to end by itself.
                let cut = async {
                    ending.shutdown.cancelled().await;
                    tokio::time::sleep(LAST_CALLS).await;
                };
                tokio::select! {
                    () = server.serve(listener) => {}
                    () = cut => {}
                }
            });
            "webhook"
        });
        Ok(())
    }

    pub(super) fn watch(&mut self, client: &Client, triggers: &Triggers, sources: &Sources) {
        /// Who is told of a change: the sources of what they read or wrote, then the controller.
        macro_rules! follow {
            ($store:ident, $config:expr, [$($source:path)?], $trigger:path) => {{
                let (api, triggers) = (Api::all(client.clone()), triggers.clone());
                #[allow(unused_variables, reason = "some stores concern no source")]
                let sources = sources.clone();
                self.spawn(stringify!($store), async move {
                    let cluster = Arc::clone(&triggers.cluster);
                    let on_change = |change: &_| {
                        $($source(&sources, change);)?
                        $trigger(&triggers, change);
                    };
                    cluster.$store.follow(api, $config, on_change).await;
                });
            }};
        }
        let all = watcher::Config::default;
        // Pods that ran to their end are no matter of ours; Jobs leave many.
        let running = all().fields("status.phase!=Succeeded,status.phase!=Failed");
        follow!(apps, all(), [Sources::app], Triggers::app);
        follow!(services, all(), [Sources::service], Triggers::service);
        follow!(pods, running, [], Triggers::pod);
        follow!(deployments, all(), [Sources::workload], Triggers::workload);
        follow!(
            stateful_sets,
            all(),
            [Sources::workload],
            Triggers::workload
        );
        follow!(daemon_sets, all(), [Sources::workload], Triggers::workload);
        follow!(budgets, all(), [], Triggers::budget);
        follow!(ranges, all(), [], Triggers::demand);
        follow!(quotas, all(), [], Triggers::demand);
        let refused = all().fields("reason=FailedCreate");
        follow!(refusals, refused, [], Triggers::refusal);
        let unretrieved = all().fields(&format!("reason={UNRETRIEVED}"));
        follow!(unretrieved, unretrieved, [], Triggers::demand);
        follow!(namespaces, all(), [], Triggers::namespace);
    }

    /// Until `end`, or until a task ends that should not.
    pub(super) async fn until(&mut self, end: impl Future<Output = ()>) -> anyhow::Result<()> {
        let ended = tokio::select! {
            () = end => return Ok(()),
            Some(ended) = self.endless.join_next() => ended,
            Some(ended) = self.servers.join_next() => ended,
        };
        match ended {
            Ok(name) => Err(anyhow!("the task {name} ended")),
            Err(error) => Err(anyhow!(error).context("a task failed")),
        }
    }

    /// Servers finish what they have begun, for as long as a webhook call may take.
    pub(super) async fn close(mut self) {
        self.endless.shutdown().await;
        let finish = async { while self.servers.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_CALLS, finish).await.is_err() {
            warn!("connections were cut");
        }
    }
}

//! Labels on pod templates: a workload that says `ws.olares.com/inject: "true"` gets an
//! AppManifest of its name, which goes with the label or the workload.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use tracing::debug;

use super::{Error, Life, Writer};
use crate::app::{App, AppId};
use crate::cluster::{Change, Cluster, Ticket, WorkloadFacts};
use crate::queue::{Queue, SETTLE};
use crate::shape::{Workload, WorkloadKind};

pub const SOURCE: &str = "label";

/// Each is one small request.
const WORKERS: usize = 2;

pub struct PodLabels {
    /// An AppManifest is named as its workload is.
    queue: Queue<AppId>,
    /// For workloads whose pods are on their way: admission waits for us.
    tickets: Mutex<HashMap<AppId, Ticket>>,
    writer: Writer,
}

impl PodLabels {
    pub fn new(writer: Writer) -> Self {
        Self {
            queue: Queue::default(),
            tickets: Mutex::default(),
            writer,
        }
    }

    /// Works for ever. The cluster's AppManifests must be synced before.
    pub async fn run(self: Arc<Self>) {
        let cluster = self.cluster();
        tokio::join!(
            cluster.services.synced(),
            cluster.deployments.synced(),
            cluster.stateful_sets.synced(),
            cluster.daemon_sets.synced(),
        );
        // Labels that went while we were away.
        for app in self.writer.apps().all() {
            self.app(&app);
        }
        self.queue
            .work(WORKERS, |workload| self.reconcile(workload))
            .await;
    }

    /// Somebody changed or removed what we wrote, or what another wrote in our place.
    pub fn app(&self, app: &App) {
        if app.source.as_deref() == Some(SOURCE) || self.asking(&app.id).is_some() {
            self.queue.add(app.id.clone(), Duration::ZERO);
        }
    }

    /// A Service may be the one that leads to a workload that asks.
    pub fn service(&self, namespace: &str) {
        for workload in self.cluster().asking(namespace) {
            self.queue
                .add(AppId::new(namespace, &workload.name), SETTLE);
        }
    }

    pub fn workload<T: AsRef<WorkloadFacts>>(&self, change: &Change<T>) {
        let ask = |side: &Option<Arc<T>>| {
            side.as_ref()
                .and_then(|facts| (**facts).as_ref().ask.clone())
        };
        if ask(&change.before) == ask(&change.after) {
            return;
        }
        let id = AppId::new(&change.namespace, &change.name);
        let ticket = self.cluster().pending.enter(&change.namespace);
        self.tickets().insert(id.clone(), ticket);
        self.queue.add(id, Duration::ZERO);
    }

    async fn reconcile(&self, id: AppId) -> Result<Option<Duration>, Error> {
        let _until_written = self.tickets().remove(&id);
        let Some(facts) = self.asking(&id) else {
            return self.writer.remove(&id).await;
        };
        let Some(ask) = &facts.ask else {
            return Ok(None);
        };
        let services = self.cluster().services.in_namespace(&id.namespace);
        let document = ask.document(&facts.workload, services.iter().map(AsRef::as_ref));
        let life = Life::Of(owner(&facts));
        self.writer.write(&id, &document, &life).await?;
        debug!(app = %id, workload = %facts.workload, "label read");
        Ok(None)
    }

    /// The workload of that name that asks: of several kinds, the first.
    fn asking(&self, id: &AppId) -> Option<WorkloadFacts> {
        WorkloadKind::ALL.into_iter().find_map(|kind| {
            let name = id.name.clone();
            let workload = Workload { kind, name };
            let facts = self.cluster().workload(&id.namespace, &workload)?;
            facts.ask.is_some().then_some(facts)
        })
    }

    fn cluster(&self) -> &Cluster {
        &self.writer.triggers.cluster
    }

    fn tickets(&self) -> MutexGuard<'_, HashMap<AppId, Ticket>> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn owner(facts: &WorkloadFacts) -> OwnerReference {
    OwnerReference {
        api_version: "apps/v1".to_owned(),
        kind: facts.workload.kind.as_str().to_owned(),
        name: facts.workload.name.clone(),
        uid: facts.uid.clone(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

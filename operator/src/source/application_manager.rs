//! Olares' own record of its apps: an ApplicationManager for each, with the app's rendered
//! configuration. Read only while the API server knows the kind.

mod config;

use std::sync::Arc;
use std::time::Duration;

use kube::api::ListParams;
use kube::runtime::watcher;
use kube::{Api, Client, CustomResource};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tokio::sync::watch;
use tracing::info;

use super::{Document, Error, Life, Writer};
use crate::app::{App, AppId};
use crate::cluster::{Change, Facts, Store};
use crate::queue::Queue;

pub const SOURCE: &str = "application-manager";

/// Each is one small request.
const WORKERS: usize = 2;
/// The app's namespace may come after its record, and go before it.
const NO_NAMESPACE: Duration = Duration::from_mins(1);

/// As much of the kind as is read here. Cluster-scoped, named `<namespace>-<app>`.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize)]
#[kube(
    group = "app.bytetrade.io",
    version = "v1alpha1",
    kind = "ApplicationManager",
    status = "ApplicationManagerStatus",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationManagerSpec {
    #[serde(default)]
    pub app_name: String,
    #[serde(default)]
    pub app_namespace: String,
    /// JSON in a text, with the names of Olares' Go types.
    #[serde(default)]
    pub config: Json,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct ApplicationManagerStatus {
    #[serde(default)]
    pub state: String,
}

/// What is kept of one: the app that wants WebSockets, or none.
#[derive(Clone, Debug, PartialEq)]
struct Record {
    app: AppId,
    document: Document,
}

impl Facts for Record {
    type Object = ApplicationManager;

    fn read(object: ApplicationManager) -> Option<Self> {
        if config::is_gone(&object) {
            return None;
        }
        let (app, document) = config::read(&object.spec)?;
        Some(Self { app, document })
    }

    fn same_as(&self, other: &Self) -> bool {
        self == other
    }
}

pub struct ApplicationManagers {
    client: Client,
    records: Store<Record>,
    queue: Queue<AppId>,
    writer: Writer,
    /// Whether the API server knows the kind.
    served: watch::Receiver<bool>,
}

impl ApplicationManagers {
    pub fn new(writer: Writer, served: watch::Receiver<bool>) -> Self {
        Self {
            client: writer.client.clone(),
            records: Store::default(),
            queue: Queue::default(),
            writer,
            served,
        }
    }

    /// Works for ever. The cluster's AppManifests must be synced before.
    pub async fn run(self: Arc<Self>) {
        let worked = async {
            if *self.served.borrow() {
                self.records.synced().await;
            }
            // Records that went while we were away.
            for app in self.writer.apps().all() {
                self.app(&app);
            }
            self.queue.work(WORKERS, |app| self.reconcile(app)).await;
        };
        tokio::join!(self.follow(), worked);
    }

    /// Watches while there is something to watch.
    async fn follow(&self) {
        let mut served = self.served.clone();
        let mut gone = self.served.clone();
        // The sender lives as long as the program.
        while served.wait_for(|served| *served).await.is_ok() {
            info!("this is Olares: its ApplicationManagers are read");
            let records = Api::all(self.client.clone());
            let config = watcher::Config::default();
            tokio::select! {
                () = self.records.follow(records, config, |change| self.changed(change)) => {}
                _ = gone.wait_for(|served| !*served) => {}
            }
            info!("the kind ApplicationManager is gone from the cluster");
            for change in self.records.clear() {
                self.changed(&change);
            }
        }
    }

    /// Somebody changed or removed what we wrote, or what another wrote in our place.
    pub fn app(&self, app: &App) {
        if app.source.as_deref() == Some(SOURCE) || self.record(&app.id).is_some() {
            self.queue.add(app.id.clone(), Duration::ZERO);
        }
    }

    fn changed(&self, change: &Change<Record>) {
        for record in change.sides() {
            self.queue.add(record.app.clone(), Duration::ZERO);
        }
    }

    async fn reconcile(&self, app: AppId) -> Result<Option<Duration>, Error> {
        let Some(record) = self.record(&app) else {
            if self.is_recorded(&app).await? {
                return Ok(None);
            }
            return self.writer.remove(&app).await;
        };
        match self
            .writer
            .write(&app, &record.document, &Life::Steady)
            .await
        {
            Err(error) if error.has_no_namespace() => Ok(Some(NO_NAMESPACE)),
            outcome => outcome.map(|()| None),
        }
    }

    /// What we have not heard of, another replica may have: it wrote what we would remove. The API
    /// server knows; in the end we hear of the record as well.
    async fn is_recorded(&self, app: &AppId) -> Result<bool, Error> {
        let wrote = |found: &Arc<App>| found.source.as_deref() == Some(SOURCE);
        let found = self.writer.apps().get(&app.namespace, &app.name);
        if !found.as_ref().is_some_and(wrote) {
            return Ok(false);
        }
        let records: Api<ApplicationManager> = Api::all(self.client.clone());
        match records.list(&ListParams::default()).await {
            Ok(list) => {
                let mut records = list.items.into_iter().filter_map(Record::read);
                Ok(records.any(|record| record.app == *app))
            }
            // The kind is not known, so there are none.
            Err(kube::Error::Api(error)) if error.code == 404 => Ok(false),
            Err(source) => Err(Error::Records { source }),
        }
    }

    fn record(&self, app: &AppId) -> Option<Arc<Record>> {
        let records = self.records.all().into_iter();
        records.into_iter().find(|record| record.app == *app)
    }
}

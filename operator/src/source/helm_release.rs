//! Helm releases: an app's chart carries its OlaresManifest.yaml, and Helm keeps the chart in
//! a Secret. Only the Secrets' labels are watched; one Secret is read when it counts.

mod decode;
mod revision;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::runtime::watcher;
use kube::{Api, Client};
use stanza::excerpt::Excerpt;
use tracing::{info, warn};

use super::{Document, Error, Life, Writer};
use crate::app::{App, AppId};
use crate::cluster::{Change, Store, Ticket};
use crate::queue::Queue;
use revision::Revision;

pub const SOURCE: &str = "helm";

/// Releases that are decoded at once: each may be a megabyte, and some more unpacked.
const WORKERS: usize = 2;
/// Only what Helm wrote.
const SELECTOR: &str = "owner=helm";

pub struct HelmReleases {
    client: Client,
    revisions: Store<Revision>,
    /// A release is named by namespace and name, as its AppManifest is.
    queue: Queue<AppId>,
    /// For releases whose pods are on their way: admission waits for us.
    tickets: Mutex<HashMap<AppId, Ticket>>,
    writer: Writer,
}

impl HelmReleases {
    pub fn new(writer: Writer) -> Self {
        Self {
            client: writer.client.clone(),
            revisions: Store::default(),
            queue: Queue::default(),
            tickets: Mutex::default(),
            writer,
        }
    }

    /// Works for ever. The cluster's AppManifests must be synced before.
    pub async fn run(self: Arc<Self>) {
        let watched = async {
            let secrets = Api::all(self.client.clone());
            let config = watcher::Config::default()
                .labels(SELECTOR)
                .fields("type=helm.sh/release.v1");
            self.revisions
                .follow(secrets, config, |change| self.changed(change))
                .await;
        };
        let worked = async {
            self.revisions.synced().await;
            // Releases that went while we were away.
            for app in self.writer.apps().all() {
                self.app(&app);
            }
            self.queue
                .work(WORKERS, |release| self.reconcile(release))
                .await;
        };
        tokio::join!(watched, worked);
    }

    /// Somebody changed or removed what we wrote, or what another wrote in our place.
    pub fn app(&self, app: &App) {
        let ours = app.source.as_deref() == Some(SOURCE)
            || self
                .revisions
                .in_namespace(&app.id.namespace)
                .iter()
                .any(|revision| revision.release == app.id.name);
        if ours {
            self.queue.add(app.id.clone(), Duration::ZERO);
        }
    }

    fn changed(&self, change: &Change<Revision>) {
        let release = |revision: &Revision| AppId::new(&change.namespace, &revision.release);
        if let Some(after) = change.after.as_ref()
            && after.status == revision::Status::Pending
        {
            let ticket = self
                .writer
                .triggers
                .cluster
                .pending
                .enter(&change.namespace);
            self.tickets().insert(release(after), ticket);
        }
        for revision in change.sides() {
            self.queue.add(release(revision), Duration::ZERO);
        }
    }

    fn tickets(&self) -> MutexGuard<'_, HashMap<AppId, Ticket>> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn reconcile(&self, release: AppId) -> Result<Option<Duration>, Error> {
        let _until_read = self.tickets().remove(&release);
        let mut revisions = self.revisions.in_namespace(&release.namespace);
        revisions.retain(|revision| revision.release == release.name);
        let Some(chosen) = revision::choose(&revisions) else {
            self.writer.remove(&release).await?;
            return Ok(None);
        };
        match self.document(&release, &chosen.revision.secret).await? {
            Some(document) => {
                let life = if chosen.held {
                    Life::Held
                } else {
                    Life::Steady
                };
                self.writer.write(&release, &document, &life).await?;
                info!(%release, revision = chosen.revision.version, held = chosen.held, "Helm release read");
            }
            None => self.writer.remove(&release).await?,
        }
        Ok(None)
    }

    /// `None`: the release's chart asks for no WebSocket.
    async fn document(&self, release: &AppId, secret: &str) -> Result<Option<Document>, Error> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &release.namespace);
        let found = secrets
            .get_opt(secret)
            .await
            .map_err(|source| Error::Secret {
                name: secret.to_owned(),
                source,
            })?;
        let payload = found
            .and_then(|secret| secret.data)
            .and_then(|mut data| data.remove("release"));
        let Some(payload) = payload else {
            return Ok(None);
        };
        let manifest = match decode::manifest(&payload.0) {
            Ok(Some(manifest)) => manifest,
            Ok(None) => return Ok(None),
            Err(error) => {
                let error = crate::cluster::chain(&error);
                warn!(%release, error, "the Helm release cannot be read");
                return Ok(None);
            }
        };
        let excerpt = Excerpt::read(manifest.file, &manifest.text, &manifest.context);
        if excerpt.problems.has_errors() {
            let problems = excerpt.problems.to_string();
            warn!(%release, problems, "the manifest in the Helm release cannot be read whole");
        }
        Ok(Document::of_excerpt(&excerpt))
    }
}

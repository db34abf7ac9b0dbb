//! Helm releases: an app's chart carries its OlaresManifest.yaml, and Helm keeps the chart in
//! a Secret. Only the Secrets' labels are watched; one Secret is read when it counts.

mod decode;
mod place;
pub mod reader;
mod revision;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use tracing::{info, warn};

use super::{Error, Life, Writer};
use crate::app::{App, AppId};
use crate::cluster::{Change, ServiceFacts, Store, Ticket, chain};
use crate::events::{Notice, Notices};
use crate::queue::Queue;
use crate::reason::Reason;
use place::{Elsewhere, Word};
use reader::Told;
use revision::{Chosen, Revision};

pub const SOURCE: &str = "helm";

/// Releases that are read at once: each reader may take as much memory as [`reader`] allows.
const WORKERS: usize = 2;
/// After a reader that could not do its work.
const READER_AGAIN: Duration = Duration::from_mins(1);
/// Only what Helm wrote.
const SELECTOR: &str = "owner=helm";

pub struct HelmReleases {
    client: Client,
    watched: Vec<Watched>,
    /// A release is named by its Secret's namespace and its name.
    queue: Queue<AppId>,
    /// For releases whose pods are on their way: admission waits for us.
    tickets: Mutex<HashMap<AppId, Ticket>>,
    /// Secrets that could not be read, by uid and version: each is tried once.
    unreadable: Mutex<HashMap<AppId, String>>,
    /// Releases whose objects are in another namespace.
    elsewhere: Mutex<HashMap<AppId, Elsewhere>>,
    writer: Writer,
    notices: Notices,
}

/// What a release's Secret says.
enum Found {
    Release(Told),
    /// The chart asks for no WebSocket, or the Secret is gone.
    Nothing,
    /// What was made of it before stays as it is.
    Unreadable {
        again: Option<Duration>,
    },
}

/// A namespace's releases, or those of all.
struct Watched {
    /// `None`: all.
    namespace: Option<String>,
    revisions: Store<Revision>,
}

impl HelmReleases {
    /// No `namespaces`: all of them.
    pub fn new(writer: Writer, notices: Notices, namespaces: &[String]) -> Self {
        let watched = |namespace| Watched {
            namespace,
            revisions: Store::default(),
        };
        Self {
            client: writer.client.clone(),
            watched: match namespaces {
                [] => vec![watched(None)],
                some => some.iter().cloned().map(Some).map(watched).collect(),
            },
            queue: Queue::default(),
            tickets: Mutex::default(),
            unreadable: Mutex::default(),
            elsewhere: Mutex::default(),
            writer,
            notices,
        }
    }

    /// Works for ever. The cluster's AppManifests must be synced before.
    pub async fn run(self: Arc<Self>) {
        let watched = join_all(self.watched.iter().map(|watched| self.follow(watched)));
        let worked = async {
            join_all(
                self.watched
                    .iter()
                    .map(|watched| watched.revisions.synced()),
            )
            .await;
            // Where releases whose objects are elsewhere are asked for.
            self.writer.triggers.cluster.services.synced().await;
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

    async fn follow(&self, watched: &Watched) {
        let secrets = match &watched.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let config = watcher::Config::default()
            .labels(SELECTOR)
            .fields("type=helm.sh/release.v1");
        watched
            .revisions
            .follow(secrets, config, |change| self.changed(change))
            .await;
    }

    /// Somebody changed or removed what we wrote, or what another wrote in our place.
    pub fn app(&self, app: &App) {
        if let Some(release) = release(app) {
            self.queue.add(release, Duration::ZERO);
        }
        if !self.revisions(&app.id).is_empty() {
            self.queue.add(app.id.clone(), Duration::ZERO);
        }
        for (release, elsewhere) in self.elsewhere().iter() {
            if elsewhere.app == app.id {
                self.queue.add(release.clone(), Duration::ZERO);
            }
        }
    }

    /// Whether a release of elsewhere may speak for it has changed.
    pub fn service(&self, change: &Change<ServiceFacts>) {
        let word = |side: &Option<Arc<ServiceFacts>>| {
            let service = side.as_ref()?;
            service.release_namespace.clone()
        };
        if word(&change.before) == word(&change.after) && change.before.is_some() {
            return;
        }
        let concerned: Vec<AppId> = self
            .elsewhere()
            .iter()
            .filter(|(_, elsewhere)| elsewhere.hangs_on(&change.namespace, &change.name))
            .map(|(release, _)| release.clone())
            .collect();
        for release in concerned {
            if word(&change.after).as_ref() == Some(&release.namespace) {
                let pending = &self.writer.triggers.cluster.pending;
                let ticket = pending.enter(&change.namespace);
                self.tickets().insert(release.clone(), ticket);
            }
            self.queue.add(release, Duration::ZERO);
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
        let revisions = self.revisions(&release);
        let Some(chosen) = revision::choose(&revisions) else {
            self.unreadable().remove(&release);
            self.elsewhere().remove(&release);
            return match self.remove(&release, None).await {
                // It was written while we read more namespaces.
                Err(error) if !self.reads(&release.namespace) && error.is_forbidden() => {
                    warn!(%release, "the AppManifest has lost its source: Helm releases are no longer read in its namespace");
                    Ok(None)
                }
                outcome => outcome,
            };
        };
        match self.read(&release, &chosen.revision.secret).await? {
            Found::Unreadable { again } => Ok(again),
            Found::Release(told) => {
                let version = chosen.revision.version;
                info!(%release, revision = version, held = chosen.held, "Helm release read");
                self.place(&release, &told, &chosen).await
            }
            Found::Nothing => {
                self.elsewhere().remove(&release);
                self.remove(&release, None).await
            }
        }
    }

    /// Writes the AppManifest where the release's objects are, and removes any other of it.
    async fn place(
        &self,
        release: &AppId,
        told: &Told,
        chosen: &Chosen<'_>,
    ) -> Result<Option<Duration>, Error> {
        let life = if chosen.held {
            Life::Held
        } else {
            Life::Steady
        };
        let Some(elsewhere) = Elsewhere::of(release, told) else {
            self.elsewhere().remove(release);
            self.writer.write(release, &told.document, &life).await?;
            return self.remove(release, Some(release)).await;
        };
        self.elsewhere().insert(release.clone(), elsewhere.clone());
        let app = &elsewhere.app;
        let tell = |why: String| {
            if chosen.held {
                // Helm makes the Service after the release's Secret.
                return;
            }
            warn!(%release, why, "no AppManifest is written for the Helm release");
            self.notices.tell(Notice {
                regarding: chosen.revision.object(&release.namespace),
                reason: Reason::ReleaseElsewhere,
                message: format!("no AppManifest is written for this Helm release: {why}"),
            });
        };
        match elsewhere.word(release, &self.writer.triggers.cluster.services) {
            Word::Given => {}
            Word::Unknown(why) => {
                tell(why);
                return self.remove(release, Some(app)).await;
            }
            Word::Missing(why) => {
                tell(why);
                return self.remove(release, None).await;
            }
        }
        let there = self.writer.apps().get(&app.namespace, &app.name);
        if let Some(other) = there.as_deref().and_then(self::release)
            && other != *release
        {
            tell(format!("{app} is the Helm release {other}'s"));
            return self.remove(release, None).await;
        }
        self.writer
            .write_for(app, &told.document, &life, Some(&release.namespace))
            .await?;
        self.remove(release, Some(app)).await
    }

    /// Removes what was written for a release, but for one.
    async fn remove(
        &self,
        release: &AppId,
        but: Option<&AppId>,
    ) -> Result<Option<Duration>, Error> {
        let mut again = None;
        for app in self.writer.apps().all() {
            if self::release(&app).as_ref() == Some(release) && Some(&app.id) != but {
                again = again.max(self.writer.remove(&app.id).await?);
            }
        }
        Ok(again)
    }

    fn elsewhere(&self) -> MutexGuard<'_, HashMap<AppId, Elsewhere>> {
        self.elsewhere
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn reads(&self, namespace: &str) -> bool {
        let names = |watched: &Watched| {
            watched
                .namespace
                .as_deref()
                .is_none_or(|name| name == namespace)
        };
        self.watched.iter().any(names)
    }

    fn revisions(&self, release: &AppId) -> Vec<Arc<Revision>> {
        let stores = self.watched.iter().map(|watched| &watched.revisions);
        let mut revisions: Vec<_> = stores
            .flat_map(|store| store.in_namespace(&release.namespace))
            .collect();
        revisions.retain(|revision| revision.release == release.name);
        revisions
    }

    async fn read(&self, release: &AppId, secret: &str) -> Result<Found, Error> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &release.namespace);
        let found = secrets
            .get_opt(secret)
            .await
            .map_err(|source| Error::Secret {
                name: secret.to_owned(),
                source,
            })?;
        let Some(mut found) = found else {
            return Ok(Found::Nothing);
        };
        let version = version(&found);
        if self.unreadable().get(release) == Some(&version) {
            return Ok(Found::Unreadable { again: None });
        }
        let payload = found.data.as_mut().and_then(|data| data.remove("release"));
        let Some(payload) = payload else {
            return Ok(Found::Nothing);
        };
        let error = match reader::read(&payload.0).await {
            Ok(None) => return Ok(Found::Nothing),
            Ok(Some(told)) => {
                if let Some(problems) = told.document.problems() {
                    warn!(%release, problems, "the manifest in the Helm release cannot be read whole");
                }
                return Ok(Found::Release(told));
            }
            Err(error) => error,
        };
        let words = chain(&error);
        if !error.is_the_releases() {
            warn!(%release, secret, error = words, "the Helm release could not be read; it will be tried again");
            let again = Some(READER_AGAIN);
            return Ok(Found::Unreadable { again });
        }
        warn!(%release, secret, error = words, "the Helm release cannot be read; it is skipped until it changes");
        self.unreadable().insert(release.clone(), version);
        self.notices.tell(Notice {
            regarding: found.object_ref(&()),
            reason: Reason::ReleaseUnreadable,
            message: format!("this Helm release cannot be read: {words}"),
        });
        Ok(Found::Unreadable { again: None })
    }

    fn unreadable(&self) -> MutexGuard<'_, HashMap<AppId, String>> {
        self.unreadable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of which release that AppManifest is, if of one.
fn release(app: &App) -> Option<AppId> {
    if app.source.as_deref() != Some(SOURCE) {
        return None;
    }
    let namespace = app.release_namespace.as_deref();
    Some(AppId::new(
        namespace.unwrap_or(&app.id.namespace),
        &app.id.name,
    ))
}

fn version(secret: &Secret) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    let metadata = &secret.metadata;
    format!(
        "{}/{}",
        part(&metadata.uid),
        part(&metadata.resource_version)
    )
}

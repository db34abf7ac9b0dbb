//! What the sources have in common: one AppManifest per app, written and removed by its source
//! alone.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, Resource};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use stanza::excerpt::{self, Excerpt};
use stanza::problem::Problems;
use tracing::info;

use crate::api::AppManifest;
use crate::app::{App, AppId};
use crate::cluster::Store;
use crate::controller::Triggers;
use crate::names;
use crate::source::precedence::{rank, winner};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot write the AppManifest {app}")]
    Write { app: AppId, source: kube::Error },
    #[error("cannot remove the AppManifest {app}")]
    Remove { app: AppId, source: kube::Error },
    #[error("cannot read the Secret {name}")]
    Secret { name: String, source: kube::Error },
    #[error("cannot list the ApplicationManagers")]
    Records { source: kube::Error },
}

impl Error {
    /// We may not, as where a source is limited to some namespaces.
    pub fn is_forbidden(&self) -> bool {
        let (Self::Write { source, .. }
        | Self::Remove { source, .. }
        | Self::Secret { source, .. }
        | Self::Records { source }) = self;
        matches!(source, kube::Error::Api(error) if error.code == 403)
    }

    /// The app's namespace is not there, or going.
    pub fn has_no_namespace(&self) -> bool {
        match self {
            Self::Write {
                source: kube::Error::Api(error),
                ..
            } => error.code == 404 || error.code == 403 && error.message.contains("terminated"),
            _ => false,
        }
    }
}

/// What a source found out about one app.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Document {
    spec: Map<String, Json>,
    /// What keeps the stanza from being known, one to a line.
    problems: Option<String>,
}

impl Document {
    pub fn new(spec: Map<String, Json>, problems: &Problems) -> Self {
        let problems = problems.has_errors().then(|| problems.errors());
        Self { spec, problems }
    }

    /// Nothing of it is unknown.
    pub fn known(spec: Map<String, Json>) -> Self {
        let problems = None;
        Self { spec, problems }
    }

    /// `None`: the manifest asks for no WebSocket.
    pub fn of_excerpt(excerpt: &Excerpt) -> Option<Self> {
        if excerpt.root.is_none() && !excerpt.problems.has_errors() {
            return None;
        }
        let spec = excerpt
            .root
            .as_ref()
            .map(excerpt::to_json)
            .unwrap_or_default();
        Some(Self::new(spec, &excerpt.problems))
    }

    pub fn problems(&self) -> Option<&str> {
        self.problems.as_deref()
    }

    /// As an AppManifest of that source.
    pub fn manifest(&self, app: &AppId, source: &str) -> Json {
        let (annotations, spec) = self.parts();
        json!({
            "apiVersion": AppManifest::api_version(&()),
            "kind": AppManifest::kind(&()),
            "metadata": {
                "name": app.name,
                "namespace": app.namespace,
                "labels": {
                    names::SOURCE: source,
                    "app.kubernetes.io/managed-by": names::MANAGER,
                },
                "annotations": annotations,
            },
            "spec": spec,
        })
    }

    /// As the AppManifest's annotations and spec.
    pub fn parts(&self) -> (BTreeMap<String, String>, &Map<String, Json>) {
        let problem = self.problems.clone();
        let annotations = problem.map(|problem| (names::PROBLEM.to_owned(), problem));
        (annotations.into_iter().collect(), &self.spec)
    }
}

/// How long an AppManifest lives, beside its source's word.
#[derive(Debug)]
pub enum Life {
    Steady,
    /// The source is in the middle of a change, so nothing is to be rolled yet.
    Held,
    /// As long as the object that asked for it.
    Of(OwnerReference),
}

/// Another replica may have written it for a reason that we are about to hear of.
const FRESH: SignedDuration = SignedDuration::from_secs(5);

/// For how long an AppManifest of that age is still to be left alone.
fn fresh(created: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
    let age = now.duration_since(created?);
    // A clock that is behind the API server's waits no longer than one that is right.
    let left = (FRESH - age).min(FRESH);
    left.is_positive().then(|| left.unsigned_abs())
}

/// Writes on behalf of one source.
#[derive(Clone)]
pub struct Writer {
    pub client: Client,
    pub triggers: Triggers,
    /// The source label's value.
    pub source: &'static str,
}

impl Writer {
    /// An AppManifest of a source that comes first, or by hand, wins and is left alone.
    pub async fn write(&self, app: &AppId, document: &Document, life: &Life) -> Result<(), Error> {
        self.write_for(app, document, life, None).await
    }

    /// The same, where the source's object is in another namespace.
    pub async fn write_for(
        &self,
        app: &AppId,
        document: &Document,
        life: &Life,
        release_namespace: Option<&str>,
    ) -> Result<(), Error> {
        let found = self.apps().get(&app.namespace, &app.name);
        let source = |found: &App| found.source.clone();
        if let Some(other) = found.as_deref().map(source)
            && rank(other.as_deref()) < rank(Some(self.source))
        {
            let winner = winner(other.as_deref());
            info!(%app, source = self.source, winner, "the AppManifest of another source has precedence and is not changed");
            return Ok(());
        }
        let mut body = document.manifest(app, self.source);
        if let Some(namespace) = release_namespace {
            body["metadata"]["annotations"][names::RELEASE_NAMESPACE] = json!(namespace);
        }
        match life {
            Life::Steady => {}
            Life::Held => body["metadata"]["annotations"][names::HOLD] = json!("true"),
            Life::Of(owner) => body["metadata"]["ownerReferences"] = json!([owner]),
        }
        let params = PatchParams::apply(names::MANAGER).force();
        let written = self
            .manifests(app)
            .patch(&app.name, &params, &Patch::Apply(&body))
            .await
            .map_err(|source| Error::Write {
                app: app.clone(),
                source,
            })?;
        // Admission knows it from now on, before the watch says so.
        let read = App::read(written);
        let change = self.apps().put(&app.namespace, &app.name, Some(read));
        if change.matters() {
            self.triggers.app(&change);
        }
        Ok(())
    }

    /// Removes what this source wrote; anything else stays. `Some`: it is to be asked again after
    /// so long.
    pub async fn remove(&self, app: &AppId) -> Result<Option<Duration>, Error> {
        let found = self.apps().get(&app.namespace, &app.name);
        let Some(found) = found.filter(|found| found.source.as_deref() == Some(self.source)) else {
            return Ok(None);
        };
        if let Some(wait) = fresh(found.created, Timestamp::now()) {
            return Ok(Some(wait));
        }
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(found.uid.clone()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match self.manifests(app).delete(&app.name, &params).await {
            Ok(_) => {
                info!(%app, source = self.source, "AppManifest removed");
                Ok(None)
            }
            Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => Ok(None),
            Err(source) => Err(Error::Remove {
                app: app.clone(),
                source,
            }),
        }
    }

    pub fn apps(&self) -> &Store<App> {
        &self.triggers.cluster.apps
    }

    fn manifests(&self, app: &AppId) -> Api<AppManifest> {
        Api::namespaced(self.client.clone(), &app.namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_just_now_is_left_alone_for_a_while() {
        let now: Timestamp = "2026-01-01T00:00:10Z".parse().unwrap();
        let left = |created: &str| fresh(Some(created.parse().unwrap()), now);
        assert_eq!(left("2026-01-01T00:00:08Z"), Some(Duration::from_secs(3)));
        assert_eq!(left("2026-01-01T00:00:05Z"), None);
        assert_eq!(left("2026-01-01T00:01:00Z"), Some(Duration::from_secs(5)));
        assert_eq!(fresh(None, now), None);
    }
}

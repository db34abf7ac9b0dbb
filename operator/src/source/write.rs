//! What the sources have in common: one AppManifest per app, written and removed by its source
//! alone.

use std::collections::BTreeMap;

use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, Resource};
use serde_json::{Map, Value as Json, json};
use stanza::excerpt::{self, Excerpt};
use tracing::info;

use crate::api::AppManifest;
use crate::app::{App, AppId};
use crate::cluster::Store;
use crate::controller::Triggers;
use crate::names;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot write the AppManifest {app}")]
    Write { app: AppId, source: kube::Error },
    #[error("cannot remove the AppManifest {app}")]
    Remove { app: AppId, source: kube::Error },
    #[error("cannot read the Secret {name}")]
    Secret { name: String, source: kube::Error },
}

/// What a source found out about one app.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    spec: Map<String, Json>,
    /// What keeps the stanza from being known, one to a line.
    problems: Option<String>,
}

impl Document {
    /// `None`: the manifest asks for no WebSocket.
    pub fn of_excerpt(excerpt: &Excerpt) -> Option<Self> {
        let problems = excerpt
            .problems
            .has_errors()
            .then(|| excerpt.problems.errors());
        if excerpt.root.is_none() && problems.is_none() {
            return None;
        }
        let spec = excerpt
            .root
            .as_ref()
            .map(excerpt::to_json)
            .unwrap_or_default();
        Some(Self { spec, problems })
    }

    /// As the AppManifest's annotations and spec.
    pub fn parts(&self) -> (BTreeMap<String, String>, &Map<String, Json>) {
        let problem = self.problems.clone();
        let annotations = problem.map(|problem| (names::PROBLEM.to_owned(), problem));
        (annotations.into_iter().collect(), &self.spec)
    }
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
    /// `held`: the source is in the middle of a change, so nothing is to be rolled yet.
    /// An AppManifest of another source, or by hand, wins and is left alone.
    pub async fn write(&self, app: &AppId, document: &Document, held: bool) -> Result<(), Error> {
        let found = self.apps().get(&app.namespace, &app.name);
        if let Some(other) = found.filter(|found| found.source.as_deref() != Some(self.source)) {
            let winner = other
                .source
                .as_deref()
                .unwrap_or("a hand-written AppManifest");
            info!(%app, source = self.source, winner, "left alone");
            return Ok(());
        }
        let (mut annotations, spec) = document.parts();
        if held {
            annotations.insert(names::HOLD.to_owned(), "true".to_owned());
        }
        let body = json!({
            "apiVersion": AppManifest::api_version(&()),
            "kind": AppManifest::kind(&()),
            "metadata": {
                "name": app.name,
                "namespace": app.namespace,
                "labels": {
                    names::SOURCE: self.source,
                    "app.kubernetes.io/managed-by": names::MANAGER,
                },
                "annotations": annotations,
            },
            "spec": spec,
        });
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

    /// Removes what this source wrote; anything else stays.
    pub async fn remove(&self, app: &AppId) -> Result<(), Error> {
        let found = self.apps().get(&app.namespace, &app.name);
        let Some(found) = found.filter(|found| found.source.as_deref() == Some(self.source)) else {
            return Ok(());
        };
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
                Ok(())
            }
            Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => Ok(()),
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

//! What the sources have in common: one AppManifest per app, written and removed by its source
//! alone.

use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, Resource};
use serde_json::{Map, Value as Json, json};
use stanza::node::Node;
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

/// The parts of an OlaresManifest that are read downstream; its texts and pictures stay behind.
#[derive(Clone, Debug, PartialEq)]
pub struct Document(Map<String, Json>);

impl Document {
    /// `None`: the manifest asks for no WebSocket.
    pub fn of_manifest(root: &Node) -> Option<Self> {
        let options = root.get("options")?;
        let mut stanzas = Map::new();
        for key in ["websocket", "wsConfig"] {
            if let Some(stanza) = options.get(key).map(Node::to_json)
                && !stanza.is_null()
            {
                stanzas.insert(key.to_owned(), stanza);
            }
        }
        if stanzas.is_empty() {
            return None;
        }
        let mut document = Map::new();
        if let Some(metadata) = root.get("metadata") {
            document.insert("metadata".to_owned(), pick(metadata, &["name", "appid"]));
        }
        if let Some(entrances) = root.get("entrances") {
            let entrances = entrances
                .items()
                .map(|entrance| pick(entrance, &["name", "host", "port"]))
                .collect();
            document.insert("entrances".to_owned(), Json::Array(entrances));
        }
        document.insert("options".to_owned(), Json::Object(stanzas));
        Some(Self(document))
    }
}

fn pick(map: &Node, keys: &[&str]) -> Json {
    keys.iter()
        .filter_map(|&key| Some((key.to_owned(), map.get(key)?.to_json())))
        .collect::<Map<_, _>>()
        .into()
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
        let annotations = if held {
            json!({ names::HOLD: "true" })
        } else {
            json!({})
        };
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
            "spec": document.0,
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

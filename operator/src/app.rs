//! An app as everything after the sources sees it: an AppManifest, read once.

use std::fmt;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use serde_json::{Map, Value as Json};
use stanza::problem::{Problems, Report};
use stanza::{Entrance, Manifest, WebSocket};

use crate::api::{AppManifest, AppManifestStatus, LONGEST_SPEC};
use crate::ask;
use crate::names;
use crate::reason::Reason;
use crate::source::{pod_label, precedence};

/// How long the objects of one `apply` or `install` may take to arrive.
const YOUTH: SignedDuration = SignedDuration::from_mins(1);

/// Which AppManifest is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppId {
    pub namespace: String,
    pub name: String,
}

#[derive(Clone, Debug)]
pub struct App {
    pub id: AppId,
    pub uid: String,
    pub generation: i64,
    /// The value of the source label; `None`: written by hand.
    pub source: Option<String>,
    /// Where the Helm release's Secret is, if in another namespace.
    pub release_namespace: Option<String>,
    /// The source is in the middle of a change.
    pub held: bool,
    /// The workload that asked for it by label.
    pub owner: Option<ObjectReference>,
    /// The AppManifest is being deleted.
    pub leaving: bool,
    /// The order of creation decides between two apps that claim one pod.
    pub created: Option<Timestamp>,
    pub stanza: Stanza,
    pub warnings: Problems,
    pub status: AppManifestStatus,
}

/// What the manifest says of WebSockets.
#[derive(Clone, Debug, PartialEq)]
pub enum Stanza {
    Absent,
    /// The entrances are known all the same, so that the pods concerned can be named.
    Invalid {
        problems: Problems,
        service: Option<String>,
    },
    Valid {
        websocket: Box<WebSocket>,
        service: Result<String, Reason>,
        /// The port of that Service that the entrance leads to, if the manifest says.
        port: Option<u16>,
    },
}

impl AppId {
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl App {
    pub fn read(object: AppManifest) -> Self {
        let id = AppId::new(&object.namespace().unwrap_or_default(), &object.name_any());
        let source = object.labels().get(names::SOURCE).cloned();
        let by_label = source.as_deref() == Some(pod_label::SOURCE);
        let (mut stanza, mut warnings) = if object.spec.too_long {
            (Stanza::too_long(&id), Problems::default())
        } else {
            Stanza::read(&id, &object.spec.document)
        };
        if by_label {
            // Who wrote an annotation never saw the AppManifest that was made of it.
            stanza = stanza.places(ask::annotation);
            warnings = warnings.places(ask::annotation);
        }
        if let Some(problem) = object.annotations().get(names::PROBLEM) {
            stanza = stanza.not_known(&id, problem, by_label);
        }
        let owner = by_label.then(|| owner(&object)).flatten();
        Self {
            uid: object.uid().unwrap_or_default(),
            generation: object.metadata.generation.unwrap_or_default(),
            source,
            owner,
            release_namespace: object.annotations().get(names::RELEASE_NAMESPACE).cloned(),
            held: object.annotations().contains_key(names::HOLD),
            leaving: object.metadata.deletion_timestamp.is_some(),
            created: object.creation_timestamp().map(|time| time.0),
            stanza,
            warnings,
            status: object.status.unwrap_or_default(),
            id,
        }
    }

    /// The Service whose pods are meant, if the manifest names one.
    pub fn service(&self) -> Option<&str> {
        match &self.stanza {
            Stanza::Absent => None,
            Stanza::Invalid { service, .. } => service.as_deref(),
            Stanza::Valid { service, .. } => service.as_deref().ok(),
        }
    }

    /// Of two apps that claim one pod the lesser wins.
    pub fn precedence(&self) -> impl Ord + '_ {
        let rank = precedence::rank(self.source.as_deref());
        (rank, self.created, &self.id)
    }

    pub fn is_young(&self, now: Timestamp) -> bool {
        self.created
            .is_some_and(|created| now.duration_since(created) < YOUTH)
    }

    /// Whether a controller has anything to do because `other` became this. The status is ours.
    pub fn same_as(&self, other: &Self) -> bool {
        self.uid == other.uid
            && self.source == other.source
            && self.release_namespace == other.release_namespace
            && self.stanza == other.stanza
            && self.held == other.held
            && self.leaving == other.leaving
            && self.generation == other.generation
    }
}

impl Stanza {
    fn read(id: &AppId, document: &Map<String, Json>) -> (Self, Problems) {
        let read = |document: Map<String, Json>| {
            Manifest::from_json(
                &format!("AppManifest {id}"),
                "spec",
                &Json::Object(document),
            )
        };
        match read(document.clone()) {
            Ok(manifest) => {
                let service = match manifest.entrance() {
                    Some(entrance) => own_service(id, entrance),
                    None => Err(Reason::NoEntrance),
                };
                let port = manifest.entrance().and_then(|entrance| entrance.port);
                let stanza = match manifest.websocket {
                    Some(websocket) => Self::Valid {
                        websocket: Box::new(websocket),
                        service,
                        port,
                    },
                    None => Self::Absent,
                };
                (stanza, manifest.warnings)
            }
            Err(problems) => {
                let mut rest = document.clone();
                rest.remove("options");
                let service = read(rest)
                    .ok()
                    .and_then(|manifest| own_service(id, manifest.entrance()?).ok());
                (Self::Invalid { problems, service }, Problems::default())
            }
        }
    }
}

impl Stanza {
    fn too_long(id: &AppId) -> Self {
        let mut report = Report::new(&format!("AppManifest {id}"));
        let message = format!(
            "it is over {} KiB; metadata, entrances and options.websocket are all that is read",
            LONGEST_SPEC >> 10
        );
        report.error(None, "spec", message);
        Self::Invalid {
            problems: report.finish(),
            service: None,
        }
    }

    /// Problems with their fields called otherwise.
    fn places(self, place: impl Fn(&str) -> Option<String>) -> Self {
        match self {
            Self::Invalid { problems, service } => Self::Invalid {
                problems: problems.places(place),
                service,
            },
            other => other,
        }
    }

    /// The source could not read all of it: what was read counts for nothing but the Service, and
    /// the problems with the rest.
    fn not_known(self, id: &AppId, problem: &str, rest: bool) -> Self {
        let mut report = Report::new(&format!("AppManifest {id}"));
        for line in problem.lines() {
            report.error(None, "", line);
        }
        if let (true, Self::Invalid { problems, .. }) = (rest, &self) {
            // Said already where the annotation was read.
            let callback = format!("annotation {}", names::CALLBACK);
            for known in problems.iter().filter(|known| known.path != callback) {
                report.error(None, &known.path, known.message.clone());
            }
        }
        let service = match self {
            Self::Absent => None,
            Self::Invalid { service, .. } => service,
            Self::Valid { service, .. } => service.ok(),
        };
        Self::Invalid {
            problems: report.finish(),
            service,
        }
    }
}

fn owner(object: &AppManifest) -> Option<ObjectReference> {
    let owner = object.owner_references().first()?;
    Some(ObjectReference {
        api_version: Some(owner.api_version.clone()),
        kind: Some(owner.kind.clone()),
        namespace: object.namespace(),
        name: Some(owner.name.clone()),
        uid: Some(owner.uid.clone()),
        ..ObjectReference::default()
    })
}

/// `chat-svc`, or `chat-svc.<own namespace>[.svc…]`.
fn own_service(id: &AppId, entrance: &Entrance) -> Result<String, Reason> {
    match entrance.host.split_once('.') {
        None => Ok(entrance.host.clone()),
        Some((name, rest)) if rest.split('.').next() == Some(&id.namespace) => Ok(name.to_owned()),
        Some(_) => Err(Reason::ForeignService),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn app(document: &Json) -> App {
        let object: AppManifest = serde_json::from_value(json!({
            "apiVersion": "ws.olares.com/v1alpha1", "kind": "AppManifest",
            "metadata": {"name": "chat", "namespace": "chat-alice"},
            "spec": document,
        }))
        .unwrap();
        App::read(object)
    }

    #[test]
    fn a_valid_stanza_names_its_service() {
        let app = app(&json!({
            "entrances": [{"name": "chat", "host": "chat-svc"}],
            "options": {"websocket": {"url": "/ws/message", "port": 8888}},
        }));
        assert_eq!(app.service(), Some("chat-svc"));
        assert!(matches!(app.stanza, Stanza::Valid { .. }));
    }

    #[test]
    fn an_invalid_stanza_still_names_its_service() {
        let app = app(&json!({
            "entrances": [{"name": "chat", "host": "chat-svc"}],
            "options": {"websocket": {"url": "/ws/message", "port": 70000}},
        }));
        assert_eq!(app.service(), Some("chat-svc"));
        let Stanza::Invalid { problems, .. } = &app.stanza else {
            panic!("{:?}", app.stanza)
        };
        assert!(
            problems.to_string().starts_with(
                "AppManifest chat-alice/chat: error: spec.options.websocket.port: 70000 is not allowed here"
            ),
            "{problems}"
        );
    }

    #[test]
    fn a_service_elsewhere_is_not_ours_to_touch() {
        let host = |host: &str| {
            app(&json!({
                "entrances": [{"name": "chat", "host": host}],
                "options": {"websocket": {"url": "/ws", "port": 80}},
            }))
            .service()
            .map(str::to_owned)
        };
        assert_eq!(host("chat.chat-alice"), Some("chat".to_owned()));
        assert_eq!(
            host("chat.chat-alice.svc.cluster.local"),
            Some("chat".to_owned())
        );
        assert_eq!(host("chat.bob"), None);
    }
}

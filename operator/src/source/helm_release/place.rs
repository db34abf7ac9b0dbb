//! Where a release's AppManifest belongs (pure). Flux may keep a release's Secret in another
//! namespace than its objects. Whoever may write Secrets in the one speaks for the other only where
//! the entrance's Service there says so.

use crate::app::{App, AppId};
use crate::cluster::{ServiceFacts, Store};

use super::SOURCE;
use super::reader::Told;

/// Where the objects of a release are that are not beside its Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Elsewhere {
    pub(super) app: AppId,
    /// The entrance's.
    service: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    Given,
    /// The Service is not there, so nobody knows.
    Unknown(String),
    Missing(String),
}

impl Elsewhere {
    /// `None`: beside the Secret.
    pub(super) fn of(release: &AppId, told: &Told) -> Option<Self> {
        let namespace = told.namespace.as_str();
        if namespace.is_empty() || namespace == release.namespace {
            return None;
        }
        let app = AppId::new(namespace, &release.name);
        let object = serde_json::from_value(told.document.manifest(&app, SOURCE)).ok();
        let service = object.and_then(|object| App::read(object).service().map(str::to_owned));
        Some(Self { app, service })
    }

    /// Whether that namespace lets the release speak for it.
    pub(super) fn word(&self, release: &AppId, services: &Store<ServiceFacts>) -> Word {
        let (from, to) = (&release.namespace, &self.app.namespace);
        let head = format!("its Secret is in {from}, its objects are in {to}");
        let Some(name) = &self.service else {
            return Word::Missing(format!("{head}, and it names no Service there"));
        };
        match services.get(to, name) {
            None => Word::Unknown(format!("{head}, where there is no Service {name}")),
            Some(service) if service.release_namespace.as_ref() == Some(from) => Word::Given,
            Some(_) => Word::Missing(format!(
                "{head}, where the Service {name} does not say that it belongs to it: give it the \
                 annotation ws.olares.com/release-namespace: {from}"
            )),
        }
    }

    /// Whether that Service is the one that gives or withholds the word.
    pub(super) fn hangs_on(&self, namespace: &str, service: &str) -> bool {
        self.app.namespace == namespace && self.service.as_deref() == Some(service)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn release(namespace: &str) -> Told {
        serde_json::from_value(json!({
            "namespace": namespace, "problems": null,
            "spec": {
                "entrances": [{"name": "chat", "host": "web"}],
                "options": {"websocket": {"url": "/ws", "port": 80}},
            },
        }))
        .unwrap()
    }

    fn services(metadata: &serde_json::Value) -> Store<ServiceFacts> {
        let services = Store::default();
        let mut object = json!({"metadata": metadata, "spec": {"selector": {"app": "web"}}});
        object["metadata"]["name"] = json!("web");
        object["metadata"]["namespace"] = json!("target");
        services.put_object(object);
        services
    }

    #[test]
    fn objects_are_looked_for_in_the_releases_own_namespace() {
        let id = AppId::new("flux", "chat");
        let found = Elsewhere::of(&id, &release("target")).unwrap();
        assert_eq!(found.app, AppId::new("target", "chat"));
        assert!(found.hangs_on("target", "web") && !found.hangs_on("flux", "web"));
        assert_eq!(Elsewhere::of(&id, &release("flux")), None);
        assert_eq!(Elsewhere::of(&id, &release("")), None);
    }

    #[test]
    fn nobody_speaks_for_a_namespace_that_does_not_say_so() {
        let id = AppId::new("flux", "chat");
        let found = Elsewhere::of(&id, &release("target")).unwrap();
        let word = |metadata| found.word(&id, &services(&metadata));
        let flux = "helm.toolkit.fluxcd.io/namespace";
        let own = "ws.olares.com/release-namespace";
        assert_eq!(word(json!({"labels": {flux: "flux"}})), Word::Given);
        assert_eq!(word(json!({"annotations": {own: "flux"}})), Word::Given);
        for metadata in [
            json!({}),
            json!({"labels": {flux: "another"}}),
            json!({"labels": {own: "flux"}}),
            json!({"annotations": {own: "another"}, "labels": {flux: "flux"}}),
        ] {
            let Word::Missing(why) = word(metadata) else {
                panic!("let in");
            };
            assert!(why.ends_with("release-namespace: flux"), "{why}");
        }
        let nothing = found.word(&id, &Store::default());
        assert!(matches!(nothing, Word::Unknown(_)), "{nothing:?}");
        let odd = Elsewhere::of(&id, &release("../../x")).unwrap();
        assert!(matches!(odd.word(&id, &Store::default()), Word::Unknown(_)));
    }
}

//! The webhook entries with `failurePolicy: Fail`, for namespaces with an entrance that leads to
//! gateways and for no others: a pod without a gateway would get no requests there.
//!
//! They stand in a configuration of its own, which whoever installs us leaves empty: so the list
//! of namespaces is ours alone, and no right to label namespaces is needed. Each namespace has an
//! entry, as each has a path: whose pod is refused is told the path that was asked.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use serde_json::{Value as Json, json};
use tracing::info;

use super::configuration::{Configuration, Present, Way, encoded};
use crate::cluster::Cluster;
use crate::webhook::door::About;

const ENTRY: &str = "entrance.pods.ws.olares.com";
const NAME_OF_NAMESPACE: &str = "kubernetes.io/metadata.name";
/// The API server looks at every entry for every pod, and keeps no object of more than 1.5 MB: the
/// namespaces after so many share one.
const ENTRIES: usize = 200;

/// One entry.
struct Wanted<'a> {
    name: String,
    path: String,
    namespaces: Vec<&'a String>,
    /// The entry's selector as it is, if there is one.
    found: Json,
}

pub struct Entrances {
    pub configuration: Configuration,
    pub cluster: Arc<Cluster>,
    /// Of the Service that leads to the webhook.
    pub namespace: String,
    pub service: String,
}

impl Entrances {
    /// What the API server calls the webhook.
    pub(super) fn names(&self) -> [String; 2] {
        let Self {
            namespace, service, ..
        } = self;
        [
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}.svc.cluster.local"),
        ]
    }

    /// The list of namespaces as this replica knows it, which has to be complete.
    pub(super) async fn publish(
        &self,
        present: &Present,
        bundle: &[CertificateDer<'static>],
        way: Way<'_>,
    ) -> kube::Result<()> {
        let namespaces = self.cluster.routed_namespaces();
        let wanted = wanted(&namespaces, present, way);
        if covers(present, &wanted, bundle) {
            return Ok(());
        }
        let webhooks = wanted.iter().map(|one| self.entry(one, bundle)).collect();
        self.configuration.apply(webhooks, Some(present)).await?;
        info!(
            ?namespaces,
            "pods of these namespaces need an answer of ours"
        );
        Ok(())
    }

    /// The chart's ValidatingAdmissionPolicy lets us write this and nothing else.
    fn entry(&self, wanted: &Wanted<'_>, bundle: &[CertificateDer<'static>]) -> Json {
        json!({
            "name": wanted.name,
            "admissionReviewVersions": ["v1"],
            "clientConfig": {
                "caBundle": encoded(bundle),
                "service": {
                    "name": self.service, "namespace": self.namespace, "path": wanted.path, "port": 443,
                },
            },
            "rules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                "resources": ["pods"], "scope": "Namespaced",
            }],
            "failurePolicy": "Fail",
            "timeoutSeconds": 3,
            "reinvocationPolicy": "IfNeeded",
            "sideEffects": "NoneOnDryRun",
            "matchPolicy": "Equivalent",
            "namespaceSelector": wanted.selector(),
        })
    }
}

fn wanted<'a>(
    namespaces: &'a BTreeSet<String>,
    present: &Present,
    way: Way<'_>,
) -> Vec<Wanted<'a>> {
    let named = |name: String, about, namespaces| {
        let found = present.webhooks.iter().find(|one| one.name == name);
        let path = way.path(about, found.and_then(|one| one.path.as_deref()));
        Wanted {
            name,
            path,
            namespaces,
            found: found.map(|one| one.namespaces.clone()).unwrap_or_default(),
        }
    };
    let own = namespaces.iter().take(ENTRIES).map(|namespace| {
        let about = About::Entrance(Some(namespace));
        named(format!("{namespace}.{ENTRY}"), about, vec![namespace])
    });
    let mut all: Vec<Wanted<'_>> = own.collect();
    let others: Vec<&String> = namespaces.iter().skip(ENTRIES).collect();
    if !others.is_empty() {
        all.push(named(ENTRY.to_owned(), About::Entrance(None), others));
    }
    all
}

impl Wanted<'_> {
    /// With what others have added: the API server replaces a selector whole.
    fn selector(&self) -> Json {
        let mut selector = match &self.found {
            Json::Object(_) => self.found.clone(),
            _ => json!({}),
        };
        let found = selector["matchExpressions"].as_array();
        let foreign = found.into_iter().flatten().filter(|one| !is_ours(one));
        let all: Json = std::iter::once(&self.expression())
            .chain(foreign)
            .cloned()
            .collect();
        selector["matchExpressions"] = all;
        selector
    }

    fn expression(&self) -> Json {
        json!({"key": NAME_OF_NAMESPACE, "operator": "In", "values": self.namespaces})
    }

    /// With expressions of others beside ours: a cloud that adds them whenever they are missing is
    /// not to be fought.
    fn is_selected_by(&self, selector: &Json) -> bool {
        let expressions = selector["matchExpressions"].as_array();
        expressions.is_some_and(|all| all.contains(&self.expression()))
    }
}

fn is_ours(expression: &Json) -> bool {
    expression["key"] == NAME_OF_NAMESPACE && expression["operator"] == "In"
}

/// No pod needs an answer of ours any more.
pub async fn clear(configuration: &Configuration) -> kube::Result<()> {
    configuration.apply(Vec::new(), None).await
}

/// Whether the entries are there with the wanted bundle, paths and namespaces.
fn covers(present: &Present, wanted: &[Wanted<'_>], bundle: &[CertificateDer<'static>]) -> bool {
    let found = &present.webhooks;
    found.len() == wanted.len()
        && wanted.iter().all(|wanted| {
            found.iter().any(|found| {
                found.name == wanted.name
                    && found.bundle == bundle
                    && found.path.as_deref() == Some(wanted.path.as_str())
                    && wanted.is_selected_by(&found.namespaces)
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_of_others_beside_ours_are_no_difference() {
        let namespace = "rooms".to_owned();
        let wanted = Wanted {
            name: "rooms.entrance".to_owned(),
            path: "/x".to_owned(),
            namespaces: vec![&namespace],
            found: Json::Null,
        };
        assert!(wanted.is_selected_by(&wanted.selector()));
        let mut both = wanted.selector();
        let foreign = json!({"key": "control-plane", "operator": "NotIn", "values": ["true"]});
        let all = both["matchExpressions"].as_array_mut().unwrap();
        all.push(foreign.clone());
        assert!(wanted.is_selected_by(&both));
        assert!(!wanted.is_selected_by(&json!({"matchExpressions": [foreign]})));
        assert!(!wanted.is_selected_by(&Json::Null));
        // What others have added is written again with ours.
        let before = Wanted {
            found: both.clone(),
            ..wanted
        };
        assert_eq!(before.selector(), both);
        let wanted = before;
        let other = "halls".to_owned();
        let namespaces = vec![&namespace, &other];
        let more = Wanted {
            namespaces,
            ..wanted
        };
        assert!(!more.is_selected_by(&both));
        let written = more.selector();
        let all = written["matchExpressions"].as_array().unwrap();
        assert_eq!(*all, [more.expression(), foreign]);
    }
}

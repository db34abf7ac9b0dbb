//! Apps of the files that ask for a gateway, and whether anything among the objects gets theirs.

use std::collections::BTreeSet;

use super::document::Document;
use super::{Said, object};
use crate::app::AppId;
use crate::cluster::Cluster;
use crate::controller::accept;
use crate::names;
use crate::reason::Reason;

/// The apps of which something was said already.
#[derive(Default)]
pub(super) struct Answered(BTreeSet<AppId>);

impl Answered {
    pub(super) fn add(&mut self, namespace: &str, app: &str) {
        self.0.insert(AppId::new(namespace, app));
    }

    /// Tells of the others, as where a chart's workloads are in charts within it, in another namespace,
    /// or of a kind that makes no pods by itself.
    pub(super) fn tell_of_the_rest(
        &self,
        cluster: &Cluster,
        documents: &[Document],
        default: &str,
        said: &mut Said,
    ) {
        for document in documents {
            for object in document.objects() {
                if !object::is(object, names::GROUP, "AppManifest") {
                    continue;
                }
                let id = AppId::new(object::namespace(object, default), object::name(object));
                if self.0.contains(&id) {
                    continue;
                }
                if let Some(why) = why(cluster, &id) {
                    let AppId { namespace, name } = &id;
                    said.wrong(format!(
                        "{}: AppManifest/{name} in {namespace}: asks for a gateway, and nothing here gets one: {why}",
                        document.place([])
                    ));
                }
            }
        }
    }
}

fn why(cluster: &Cluster, id: &AppId) -> Option<String> {
    let app = cluster.apps.get(&id.namespace, &id.name)?;
    let service = app
        .service()
        .and_then(|name| cluster.services.get(&id.namespace, name));
    let verdict = accept(Some(&app), service.as_deref());
    match (verdict.reason, service) {
        // It does not ask.
        (Reason::NoStanza, _) => None,
        (Reason::Accepted, Some(service)) => Some(format!(
            "no object here makes pods that the Service {} selects",
            service.name
        )),
        (reason, _) => Some(format!("{reason}: {}", verdict.message)),
    }
}

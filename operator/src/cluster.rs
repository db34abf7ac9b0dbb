//! What the operator knows of the cluster, for every reader the same.

mod believed;
mod facts;
mod ground;
mod pending;
mod progress;
mod refusals;
mod store;
mod unpulled;
mod written;

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use crate::app::{App, AppId};
use crate::injection::Claim;
use crate::shape::{Shape, Workload, WorkloadKind};
use crate::source::precedence::{self, Overruled};

pub use facts::{
    Budget, DaemonSetFacts, DeploymentFacts, Disruptions, NamespaceFacts, PodFacts, Port, Protocol,
    Reach, Refused, Routed, ServiceFacts, StatefulSetFacts, WorkloadFacts,
};
pub use ground::{Ground, Quota, Ranges};
pub use pending::{Pending, Ticket};
pub use progress::Progress;
pub use refusals::{Failure, Refusal, anew};
pub use store::{Change, Facts, Store, chain};
pub use unpulled::{UNRETRIEVED, Unpulled, Unretrieved};

#[derive(Default)]
pub struct Cluster {
    pub apps: Store<App>,
    pub services: Store<ServiceFacts>,
    pub pods: Store<PodFacts>,
    pub deployments: Store<DeploymentFacts>,
    pub stateful_sets: Store<StatefulSetFacts>,
    pub daemon_sets: Store<DaemonSetFacts>,
    pub budgets: Store<Budget>,
    pub ranges: Store<Ranges>,
    pub quotas: Store<Quota>,
    pub refusals: Store<Refusal>,
    pub unretrieved: Store<Unretrieved>,
    /// By name; they themselves are in none.
    pub namespaces: Store<NamespaceFacts>,
    /// Namespaces that the webhook is installed not to look at.
    pub excluded: BTreeSet<String>,
    /// Namespaces whose apps a source is about to tell.
    pub pending: Pending,
}

/// The apps of one namespace with their entrance Services, as they were when asked for.
pub struct Claims {
    claiming: Vec<(Arc<App>, Option<Arc<ServiceFacts>>)>,
    ground: Ground,
    /// Apps whose pods another one has.
    overruled: Vec<Overruled>,
}

impl Cluster {
    /// Whether admission can decide.
    pub fn knows_claims(&self) -> bool {
        self.apps.is_synced() && self.services.is_synced()
    }

    /// Until everything that the controller reads is complete.
    pub async fn synced(&self) {
        tokio::join!(
            self.apps.synced(),
            self.services.synced(),
            self.pods.synced(),
            self.deployments.synced(),
            self.stateful_sets.synced(),
            self.daemon_sets.synced(),
            self.budgets.synced(),
            self.ranges.synced(),
            self.quotas.synced(),
            self.refusals.synced(),
            self.unretrieved.synced(),
            self.namespaces.synced(),
        );
    }

    /// Who comes first wins a pod that two claim: by source, then by age.
    pub fn claims(&self, namespace: &str) -> Claims {
        let settled = precedence::settle(self.apps.in_namespace(namespace));
        let with_service = settled.claiming.into_iter().map(|app| {
            let service = app
                .service()
                .and_then(|name| self.services.get(namespace, name));
            (app, service)
        });
        Claims {
            claiming: with_service.collect(),
            ground: self.ground(namespace),
            overruled: settled.overruled,
        }
    }

    /// What the namespace demands of containers.
    pub fn ground(&self, namespace: &str) -> Ground {
        let facts = self.namespaces.get("", namespace);
        Ground {
            ranges: self.ranges.in_namespace(namespace),
            quotas: self.quotas.in_namespace(namespace),
            gives_user: facts.is_some_and(|facts| facts.gives_user),
        }
    }

    pub fn workload(&self, namespace: &str, workload: &Workload) -> Option<WorkloadFacts> {
        let name = &workload.name;
        match workload.kind {
            WorkloadKind::Deployment => {
                Some(self.deployments.get(namespace, name)?.as_ref().0.clone())
            }
            WorkloadKind::StatefulSet => {
                Some(self.stateful_sets.get(namespace, name)?.as_ref().0.clone())
            }
            WorkloadKind::DaemonSet => {
                Some(self.daemon_sets.get(namespace, name)?.as_ref().0.clone())
            }
        }
    }

    pub fn workloads(&self, namespace: &str) -> Vec<WorkloadFacts> {
        fn facts<T: AsRef<WorkloadFacts>>(all: Vec<Arc<T>>) -> impl Iterator<Item = WorkloadFacts> {
            all.into_iter()
                .map(|object| object.as_ref().as_ref().clone())
        }
        facts(self.deployments.in_namespace(namespace))
            .chain(facts(self.stateful_sets.in_namespace(namespace)))
            .chain(facts(self.daemon_sets.in_namespace(namespace)))
            .collect()
    }

    /// The workloads whose label asks for a gateway.
    pub fn asking(&self, namespace: &str) -> Vec<Workload> {
        fn asking<T: AsRef<WorkloadFacts>>(all: Vec<Arc<T>>) -> impl Iterator<Item = Workload> {
            all.into_iter().filter_map(|object| {
                let facts = object.as_ref().as_ref();
                facts.ask.is_some().then(|| facts.workload.clone())
            })
        }
        asking(self.deployments.in_namespace(namespace))
            .chain(asking(self.stateful_sets.in_namespace(namespace)))
            .chain(asking(self.daemon_sets.in_namespace(namespace)))
            .collect()
    }

    /// The apps that pods of this shape are, or were, a matter of.
    pub fn apps_of_shape(&self, namespace: &str, shape: &Shape) -> BTreeSet<AppId> {
        let mut apps: BTreeSet<AppId> = self
            .claims(namespace)
            .claiming
            .into_iter()
            .filter(|(_, service)| {
                service
                    .as_ref()
                    .is_some_and(|service| shape.is_selected_by(&service.selector))
            })
            .map(|(app, _)| app.id.clone())
            .collect();
        if let crate::shape::Gateway::Ours { app, .. } = &shape.gateway {
            apps.insert(AppId::new(namespace, app));
        }
        apps
    }

    /// The apps whose entrance or companion Service this is, or was.
    pub fn apps_of_service(&self, namespace: &str, service: &ServiceFacts) -> BTreeSet<AppId> {
        let routed = service.routed.as_ref();
        let mut apps = self.apps_by_service(namespace, service);
        apps.extend(routed.map(|routed| AppId::new(namespace, &routed.app)));
        apps
    }

    /// Whether the API server does not ask us about new pods there.
    pub fn is_disabled(&self, namespace: &str) -> bool {
        let labelled = self.namespaces.get("", namespace);
        labelled.is_some_and(|facts| facts.disabled) || self.excluded.contains(namespace)
    }

    /// Namespaces with a Service whose port we led to a gateway.
    pub fn routed_namespaces(&self) -> BTreeSet<String> {
        self.services
            .namespaces_where(|service| service.routed.is_some())
    }

    fn apps_by_service(&self, namespace: &str, service: &ServiceFacts) -> BTreeSet<AppId> {
        self.apps
            .in_namespace(namespace)
            .into_iter()
            .filter(|app| {
                app.service() == Some(&service.name)
                    || service.owners.contains(&app.uid)
                    || (service.entrance.is_some() && service.entrance.as_deref() == app.service())
            })
            .map(|app| app.id.clone())
            .collect()
    }

    pub fn apps_of_namespace(&self, namespace: &str) -> BTreeSet<AppId> {
        self.apps
            .in_namespace(namespace)
            .iter()
            .map(|app| app.id.clone())
            .collect()
    }
}

impl Claims {
    /// A young app whose Service is not there: most likely it comes with the same `apply`.
    pub fn awaits_service(&self, now: Timestamp) -> bool {
        self.claiming
            .iter()
            .any(|(app, service)| service.is_none() && app.service().is_some() && app.is_young(now))
    }

    /// The app that has the pods of `id` in its place.
    pub fn overruling(&self, id: &AppId) -> Option<&App> {
        let lost = self.overruled.iter().find(|lost| lost.app.id == *id)?;
        Some(&lost.by)
    }

    /// The uids of the apps whose pods `id` has.
    pub fn overruled_by<'a>(&'a self, id: &'a AppId) -> impl Iterator<Item = &'a String> {
        let lost = self.overruled.iter().filter(|lost| lost.by.id == *id);
        lost.map(|lost| &lost.app.uid)
    }

    pub fn borrow(&self) -> Vec<Claim<'_>> {
        self.claiming
            .iter()
            .map(|(app, service)| Claim {
                app,
                service: service.as_deref(),
                ground: &self.ground,
            })
            .collect()
    }
}

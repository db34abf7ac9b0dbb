//! Which apps have to be looked at because something changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::app::{App, AppId};
use crate::cluster::{
    Budget, Change, Cluster, NamespaceFacts, PodFacts, Refusal, ServiceFacts, WorkloadFacts,
};
use crate::queue::{Queue, SETTLE};

#[derive(Clone)]
pub struct Triggers {
    pub cluster: Arc<Cluster>,
    pub queue: Arc<Queue<AppId>>,
}

impl Triggers {
    /// Another app of the namespace may win or lose pods by it.
    pub fn app(&self, change: &Change<App>) {
        let mut apps = self.cluster.apps_of_namespace(&change.namespace);
        apps.insert(AppId::new(&change.namespace, &change.name));
        self.add(apps);
    }

    pub fn service(&self, change: &Change<ServiceFacts>) {
        for service in change.sides() {
            self.add(self.cluster.apps_of_service(&change.namespace, service));
        }
    }

    pub fn pod(&self, change: &Change<PodFacts>) {
        for pod in change.sides() {
            self.add(self.cluster.apps_of_shape(&change.namespace, &pod.shape));
        }
    }

    pub fn workload<T: AsRef<WorkloadFacts>>(&self, change: &Change<T>) {
        for object in change.sides() {
            let shape = &object.as_ref().shape;
            self.add(self.cluster.apps_of_shape(&change.namespace, shape));
        }
    }

    pub fn budget(&self, change: &Change<Budget>) {
        self.add(self.cluster.apps_of_namespace(&change.namespace));
    }

    /// What its namespace demands of pods is another thing now, or lacks for them.
    pub fn demand<T>(&self, change: &Change<T>) {
        self.add(self.cluster.apps_of_namespace(&change.namespace));
    }

    /// A pod that is let in without the gateway says why by itself.
    pub fn refusal(&self, change: &Change<Refusal>) {
        self.add(self.cluster.apps_of_namespace(&change.namespace));
    }

    pub fn namespace(&self, change: &Change<NamespaceFacts>) {
        self.add(self.cluster.apps_of_namespace(&change.name));
    }

    /// Something changed that concerns everybody.
    pub fn all(&self) {
        self.add(
            self.cluster
                .apps
                .all()
                .iter()
                .map(|app| app.id.clone())
                .collect(),
        );
    }

    fn add(&self, apps: BTreeSet<AppId>) {
        for app in apps {
            self.queue.add(app, SETTLE);
        }
    }
}

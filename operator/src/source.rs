//! Sources: what writes AppManifests besides people. Each owns those that carry its label and
//! removes them when the app goes.

pub mod application_manager;
pub mod helm_release;
pub mod pod_label;
pub mod precedence;
mod write;

use std::sync::Arc;

use crate::app::App;
use crate::cluster::{Change, Cluster, ServiceFacts, WorkloadFacts};
use application_manager::ApplicationManagers;
use helm_release::HelmReleases;
use pod_label::PodLabels;

pub use write::{Document, Error, Life, Writer};

/// The sources that are switched on.
#[derive(Clone, Default)]
pub struct Sources {
    pub helm: Option<Arc<HelmReleases>>,
    pub labels: Option<Arc<PodLabels>>,
    pub managers: Option<Arc<ApplicationManagers>>,
}

impl Sources {
    /// Works for ever. The cluster's AppManifests must be synced before.
    pub async fn run(self, cluster: Arc<Cluster>) {
        cluster.apps.synced().await;
        let helm = async {
            match self.helm {
                Some(helm) => helm.run().await,
                None => std::future::pending().await,
            }
        };
        let labels = async {
            match self.labels {
                Some(labels) => labels.run().await,
                None => std::future::pending().await,
            }
        };
        let managers = async {
            match self.managers {
                Some(managers) => managers.run().await,
                None => std::future::pending().await,
            }
        };
        tokio::join!(helm, labels, managers);
    }

    pub fn app(&self, change: &Change<App>) {
        for app in change.sides() {
            if let Some(helm) = &self.helm {
                helm.app(app);
            }
            if let Some(labels) = &self.labels {
                labels.app(app);
            }
            if let Some(managers) = &self.managers {
                managers.app(app);
            }
        }
    }

    pub fn service(&self, change: &Change<ServiceFacts>) {
        if let Some(helm) = &self.helm {
            helm.service(change);
        }
        if let Some(labels) = &self.labels {
            labels.service(&change.namespace);
        }
    }

    pub fn workload<T: AsRef<WorkloadFacts>>(&self, change: &Change<T>) {
        if let Some(labels) = &self.labels {
            labels.workload(change);
        }
    }
}

//! Step 1 (reads the stores): everything that concerns one app, as it is now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::app::{App, AppId};
use crate::cluster::{Budget, Claims, Cluster, Ground, PodFacts, ServiceFacts, WorkloadFacts};
use crate::shape::{Owner, Workload};

pub(super) struct Observed {
    pub(super) id: AppId,
    /// `None`: the AppManifest is gone.
    pub(super) app: Option<Arc<App>>,
    /// All apps of the namespace: another one may claim the same pods.
    pub(super) claims: Claims,
    pub(super) entrance: Option<Arc<ServiceFacts>>,
    pub(super) members: Vec<Member>,
    /// Pods of the entrance that no workload of ours to roll made.
    pub(super) strays: Vec<Arc<PodFacts>>,
    /// All Services of the namespace: the companion is found or missed among them.
    pub(super) services: Vec<Arc<ServiceFacts>>,
    pub(super) budgets: Vec<Arc<Budget>>,
    pub(super) ground: Ground,
    /// New pods of the namespace do not come to us.
    pub(super) disabled: bool,
}

/// A workload that is, or was, the app's.
pub(super) struct Member {
    pub(super) workload: WorkloadFacts,
    pub(super) pods: Vec<Arc<PodFacts>>,
    /// What one of them waits for that does not get the gateway's image.
    pub(super) unpulled: Option<String>,
}

pub(super) fn dereference(cluster: &Cluster, id: &AppId) -> Observed {
    let namespace = id.namespace.as_str();
    let app = cluster
        .apps
        .get(namespace, &id.name)
        .filter(|app| !app.leaving);
    let entrance = app
        .as_ref()
        .and_then(|app| app.service())
        .and_then(|name| cluster.services.get(namespace, name));
    let concerned = |shape: &crate::shape::Shape| {
        shape.gateway.is_for(&id.name)
            || entrance
                .as_ref()
                .is_some_and(|service| shape.is_selected_by(&service.selector))
    };

    let mut pods: BTreeMap<Workload, Vec<Arc<PodFacts>>> = BTreeMap::new();
    let mut strays = Vec::new();
    let mut names = BTreeSet::new();
    for pod in cluster.pods.in_namespace(namespace) {
        if pod.leaving {
            continue;
        }
        let ours = concerned(&pod.shape);
        match &pod.shape.owner {
            Owner::Workload(workload) => {
                if ours {
                    names.insert(workload.clone());
                }
                pods.entry(workload.clone()).or_default().push(pod);
            }
            _ if ours => strays.push(pod),
            _ => {}
        }
    }
    let members: Vec<Member> = cluster
        .workloads(namespace)
        .into_iter()
        .filter(|facts| names.contains(&facts.workload) || concerned(&facts.shape))
        .map(|workload| {
            let pods = pods.remove(&workload.workload).unwrap_or_default();
            let mut waiting = pods.iter();
            Member {
                unpulled: waiting.find_map(|pod| cluster.unpulled(namespace, pod)),
                pods,
                workload,
            }
        })
        .collect();
    // Their Deployment is not there: deleted without them, or another's of the same name.
    let orphans = pods.into_values().flatten();
    strays.extend(orphans.filter(|pod| concerned(&pod.shape)));

    Observed {
        id: id.clone(),
        app,
        claims: cluster.claims(namespace),
        entrance,
        members,
        strays,
        services: cluster.services.in_namespace(namespace),
        budgets: cluster.budgets.in_namespace(namespace),
        ground: cluster.ground(namespace),
        disabled: cluster.is_disabled(namespace),
    }
}

//! Which refusals are believed: anybody who may write Events in a namespace may write these.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;

use super::refusals::maker;
use super::{Cluster, Progress, WorkloadFacts};
use crate::shape::{Owner, WorkloadKind};

impl Cluster {
    /// Why the API server refused the last pod of the owner of this one; `None`: it took it, or nobody
    /// says so whom we believe.
    pub fn refusal(&self, namespace: &str, pod: &ObjectMeta, now: Timestamp) -> Option<String> {
        // Of a ReplicaSet without a Deployment, nothing but its Events tells.
        if let Owner::Workload(workload) = Owner::of(pod) {
            let facts = self.workload(namespace, &workload)?;
            let words = facts
                .failure
                .as_ref()
                .and_then(|failure| failure.words(pod));
            if let Some(words) = words {
                return Some(words.to_owned());
            }
            if !self.may_be_refused(namespace, &facts) || !is_its_own(pod, &facts) {
                return None;
            }
        }
        let refusals = self.refusals.in_namespace(namespace);
        let concerning = refusals.iter().filter(|refusal| refusal.concerns(pod, now));
        let last = concerning.max_by_key(|refusal| refusal.at)?;
        Some(last.words.clone())
    }

    /// Whether what the API server itself says of the workload speaks for a refusal.
    fn may_be_refused(&self, namespace: &str, facts: &WorkloadFacts) -> bool {
        // While a Deployment is paused, nobody keeps that condition.
        let has_condition =
            facts.workload.kind == WorkloadKind::Deployment && facts.progress != Progress::Paused;
        if has_condition {
            return facts.failure.is_some();
        }
        // Some versions of Kubernetes keep the status of before while a pod is refused.
        let pods = self.pods.in_namespace(namespace);
        let owner = Owner::Workload(facts.workload.clone());
        let there = pods
            .iter()
            .filter(|pod| !pod.leaving && pod.shape.owner == owner);
        let wanted = usize::try_from(facts.pods).unwrap_or_default();
        facts.progress != Progress::Settled || there.count() < wanted
    }
}

/// A Deployment's pods have a ReplicaSet as their owner.
fn is_its_own(pod: &ObjectMeta, facts: &WorkloadFacts) -> bool {
    facts.workload.kind == WorkloadKind::Deployment
        || maker(pod).is_some_and(|owner| owner.uid == facts.uid)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    const AT: &str = "2026-11-25T10:00:00Z";
    const FORBIDDEN: &str = "pods \"chat-5d8f-\" is forbidden: no";

    /// A pod that the workload makes now, and an Event of its owner.
    fn told(kind: &str, event: bool, workload: &Json) -> (Cluster, ObjectMeta) {
        let cluster = Cluster::default();
        let (owner, name, uid, author) = match kind {
            "Deployment" => ("ReplicaSet", "chat-5d8f", "7", "replicaset-controller"),
            _ => ("StatefulSet", "chat", "8", "statefulset-controller"),
        };
        if event {
            cluster.refusals.put_object(json!({
                "metadata": {"name": "chat.1", "namespace": "a"}, "reason": "FailedCreate",
                "involvedObject": {"apiVersion": "apps/v1", "kind": owner, "name": name, "uid": uid},
                "source": {"component": author}, "message": FORBIDDEN, "lastTimestamp": AT,
            }));
        }
        let mut object = json!({
            "metadata": {"name": "chat", "namespace": "a", "uid": "8"},
            "spec": {"replicas": 1, "selector": {}, "template": {}, "serviceName": "chat"},
        });
        object["status"] = workload["status"].clone();
        object["spec"]["paused"] = workload["paused"].clone();
        match kind {
            "Deployment" => cluster.deployments.put_object(object),
            _ => cluster.stateful_sets.put_object(object),
        }
        let pod = serde_json::from_value(json!({
            "labels": {"pod-template-hash": "5d8f"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": owner, "name": name, "uid": uid, "controller": true}],
        }));
        (cluster, pod.unwrap())
    }

    fn is_believed((cluster, pod): &(Cluster, ObjectMeta)) -> bool {
        cluster.refusal("a", pod, AT.parse().unwrap()).is_some()
    }

    fn failing(message: &str) -> Json {
        json!({"status": {"replicas": 1, "conditions": [{
            "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
            "message": message, "lastTransitionTime": "2026-11-25T09:00:00Z",
        }]}})
    }

    #[test]
    fn a_deployments_condition_tells_where_its_events_are_gone() {
        let told = told("Deployment", false, &failing(FORBIDDEN));
        let words = told.0.refusal("a", &told.1, AT.parse().unwrap());
        assert_eq!(words.as_deref(), Some("no"));
        let other = "pods \"chat-\" is forbidden: error looking up service account a/b";
        assert!(!is_believed(&self::told(
            "Deployment",
            false,
            &failing(other)
        )));
        let mut over = failing(FORBIDDEN);
        over["status"]["conditions"][0]["status"] = json!("False");
        assert!(!is_believed(&self::told("Deployment", false, &over)));
    }

    #[test]
    fn a_condition_of_before_a_restart_counts_no_more() {
        let (cluster, mut pod) = told("Deployment", false, &failing(FORBIDDEN));
        let restarted = |time: &str| {
            (
                "kubectl.kubernetes.io/restartedAt".to_owned(),
                time.to_owned(),
            )
        };
        pod.annotations = Some([restarted("2026-11-25T08:59:59Z")].into());
        assert!(cluster.refusal("a", &pod, AT.parse().unwrap()).is_some());
        pod.annotations = Some([restarted("2026-11-25T09:00:01Z")].into());
        assert!(cluster.refusal("a", &pod, AT.parse().unwrap()).is_none());
        // The condition stays as it was while the refusals go on, and their Events are new.
        let (cluster, mut pod) = told("Deployment", true, &failing(FORBIDDEN));
        pod.annotations = Some([restarted("2026-11-25T09:00:01Z")].into());
        assert!(cluster.refusal("a", &pod, AT.parse().unwrap()).is_some());
    }

    #[test]
    fn an_event_is_believed_where_the_workload_itself_bears_it_out() {
        let settled = || json!({"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1});
        let healthy = json!({"status": settled()});
        assert!(!is_believed(&told("Deployment", true, &healthy)));
        assert!(is_believed(&told(
            "Deployment",
            true,
            &failing("gone wrong")
        )));
        let paused = json!({"status": settled(), "paused": true});
        assert!(
            is_believed(&told("Deployment", true, &paused)),
            "nobody keeps its condition"
        );

        let starting = json!({"status": {"replicas": 0}});
        assert!(is_believed(&told("StatefulSet", true, &starting)));
        let lagging = told("StatefulSet", true, &healthy);
        assert!(
            is_believed(&lagging),
            "its pod is gone, whatever its status says"
        );
        lagging.0.pods.put_object(json!({
            "metadata": {"name": "chat-0", "namespace": "a", "ownerReferences": lagging.1.owner_references},
            "spec": {"containers": []},
        }));
        assert!(!is_believed(&lagging), "it has all its pods");
    }

    #[test]
    fn the_owner_has_to_be_there() {
        let starting = json!({"status": {"replicas": 0}});
        let (cluster, pod) = told("StatefulSet", true, &starting);
        let known = cluster.stateful_sets.get("a", "chat").unwrap();
        assert_eq!(known.as_ref().0.uid, "8");
        cluster.stateful_sets.put("a", "chat", None);
        assert!(!is_believed(&(cluster, pod)));
    }
}

//! How far a workload is with rolling out its present template.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Every pod is of the present template and available.
    Settled,
    /// Every pod is of the present template; some are not available yet.
    Starting,
    /// Pods of an older template are still there.
    Mixed,
    /// A Deployment that rolls nothing out until it is resumed.
    Paused,
    /// Pods are replaced only when somebody deletes them, some or all.
    OnDelete,
    /// The progress deadline passed.
    Failed,
}

impl From<&Deployment> for Progress {
    fn from(object: &Deployment) -> Self {
        let (Some(spec), Some(status)) = (&object.spec, &object.status) else {
            return Self::Mixed;
        };
        if spec.paused.unwrap_or_default() {
            return Self::Paused;
        }
        if status.observed_generation < object.metadata.generation {
            return Self::Mixed;
        }
        let failed = status.conditions.iter().flatten().any(|condition| {
            condition.type_ == "Progressing"
                && condition.status == "False"
                && condition.reason.as_deref() == Some("ProgressDeadlineExceeded")
        });
        if failed {
            return Self::Failed;
        }
        let wanted = spec.replicas.unwrap_or(1);
        let updated = status.updated_replicas.unwrap_or_default();
        Self::by_counts(
            wanted,
            status.replicas.unwrap_or_default(),
            updated,
            status.available_replicas.unwrap_or_default(),
        )
    }
}

/// Whether all its pods stay until others are ready: the strategy's percentages are of the replicas,
/// rounded down.
pub(super) fn surges(object: &Deployment) -> bool {
    let Some(spec) = &object.spec else {
        return false;
    };
    let strategy = spec.strategy.as_ref();
    if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate") {
        return false;
    }
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.clone());
    match unavailable.unwrap_or(IntOrString::String("25%".to_owned())) {
        IntOrString::Int(pods) => pods == 0,
        IntOrString::String(share) => {
            let percent: i32 = share.trim_end_matches('%').parse().unwrap_or(100);
            percent * spec.replicas.unwrap_or(1) < 100
        }
    }
}

impl From<&StatefulSet> for Progress {
    fn from(object: &StatefulSet) -> Self {
        let (Some(spec), Some(status)) = (&object.spec, &object.status) else {
            return Self::Mixed;
        };
        if let Some(strategy) = &spec.update_strategy {
            let partition = strategy
                .rolling_update
                .as_ref()
                .and_then(|rolling| rolling.partition)
                .unwrap_or_default();
            if strategy.type_.as_deref() == Some("OnDelete") || partition > 0 {
                return Self::OnDelete;
            }
        }
        if status.observed_generation < object.metadata.generation {
            return Self::Mixed;
        }
        let wanted = spec.replicas.unwrap_or(1);
        // Where both revisions are the same, the counts may lag behind or be left out.
        let updated = if status.update_revision == status.current_revision {
            status.replicas
        } else {
            status.updated_replicas.unwrap_or_default()
        };
        let available = status.available_replicas.unwrap_or_default();
        Self::by_counts(wanted, status.replicas, updated, available)
    }
}

impl From<&DaemonSet> for Progress {
    fn from(object: &DaemonSet) -> Self {
        let (Some(spec), Some(status)) = (&object.spec, &object.status) else {
            return Self::Mixed;
        };
        let strategy = spec.update_strategy.as_ref();
        if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
            return Self::OnDelete;
        }
        if status.observed_generation < object.metadata.generation {
            return Self::Mixed;
        }
        Self::by_counts(
            status.desired_number_scheduled,
            status.current_number_scheduled,
            status.updated_number_scheduled.unwrap_or_default(),
            status.number_available.unwrap_or_default(),
        )
    }
}

impl Progress {
    fn by_counts(wanted: i32, all: i32, updated: i32, available: i32) -> Self {
        if updated < all {
            Self::Mixed
        } else if all < wanted || available < wanted {
            Self::Starting
        } else {
            Self::Settled
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn deployment(status: &Json) -> Progress {
        let object: Deployment = serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"generation": 2},
            "spec": {"replicas": 2, "selector": {}, "template": {}},
            "status": status,
        }))
        .unwrap();
        Progress::from(&object)
    }

    #[test]
    fn a_deployment_is_settled_when_all_pods_are_new_and_available() {
        let status = json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2});
        assert_eq!(deployment(&status), Progress::Settled);
    }

    #[test]
    fn a_deployment_surges_where_no_pod_may_be_missing() {
        let surges = |replicas: u32, strategy: Json| {
            let object = json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {},
                "spec": {"replicas": replicas, "selector": {}, "template": {}, "strategy": strategy},
            });
            surges(&serde_json::from_value(object).unwrap())
        };
        let unavailable = |value: Json| json!({"rollingUpdate": {"maxUnavailable": value}});
        assert!(surges(3, json!({})));
        assert!(!surges(4, json!({})));
        assert!(surges(9, unavailable(json!("10%"))));
        assert!(surges(9, unavailable(json!(0))));
        assert!(!surges(9, unavailable(json!(1))));
        assert!(!surges(1, json!({"type": "Recreate"})));
    }

    #[test]
    fn an_unseen_change_is_mixed() {
        let status = json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2});
        assert_eq!(deployment(&status), Progress::Mixed);
    }

    #[test]
    fn old_pods_are_mixed_and_new_ones_alone_are_starting() {
        let old = json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "availableReplicas": 2});
        assert_eq!(deployment(&old), Progress::Mixed);
        let new = json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2});
        assert_eq!(deployment(&new), Progress::Starting);
    }

    #[test]
    fn a_passed_deadline_is_a_failure() {
        let status = json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "conditions": [
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]});
        assert_eq!(deployment(&status), Progress::Failed);
    }
}

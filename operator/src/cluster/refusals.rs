//! What the API server refused of workloads' pods after admission, as their owners tell in Events:
//! every replica reads the same, and nobody has to remember.

use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::store::Facts;
use crate::names;

/// An owner tries again after a thousand seconds at the latest.
const RECENT: SignedDuration = SignedDuration::from_mins(20);
/// Of the API server's words.
const WORDS: usize = 400;
/// What `kubectl rollout restart` writes into a template.
const RESTARTED: &str = "kubectl.kubernetes.io/restartedAt";
/// In the annotation [`names::ROLLOUT`], before a time.
const AFTER: &str = ".after-";
/// Refusals that no gateway causes: what the pod needs is not there, or no longer.
const OTHERS: [&str; 3] = [
    "error looking up service account",
    "because it is being terminated",
    "no PriorityClass with name",
];

/// The last of the owner's Events about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The uid of the ReplicaSet, StatefulSet or DaemonSet.
    owner: String,
    at: Timestamp,
    pub words: String,
}

impl Facts for Refusal {
    type Object = Event;

    fn read(object: Event) -> Option<Self> {
        let words = judged(object.message.as_deref()?)?;
        let observed = object.series.and_then(|series| series.last_observed_time);
        let at = observed
            .map(|time| time.0)
            .or(object.last_timestamp.map(|time| time.0))
            .or(object.event_time.map(|time| time.0))?;
        Some(Self {
            owner: object.involved_object.uid?,
            at,
            words,
        })
    }

    fn same_as(&self, other: &Self) -> bool {
        self == other
    }
}

impl Refusal {
    /// Whether it says something of a pod that its owner makes now.
    pub(super) fn concerns(&self, pod: &ObjectMeta, now: Timestamp) -> bool {
        let mut owners = pod.owner_references.iter().flatten();
        let owner = owners.find(|owner| owner.controller == Some(true));
        owner.is_some_and(|owner| owner.uid == self.owner)
            && now.duration_since(self.at) < RECENT
            && since(pod).is_none_or(|since| self.at > since)
    }
}

/// The value of [`names::ROLLOUT`] that makes refusals of before count no more.
pub fn anew(rollout: &str, now: Timestamp) -> String {
    format!("{rollout}{AFTER}{}", now.as_second())
}

/// Since when its template is as it is, where that is known.
fn since(pod: &ObjectMeta) -> Option<Timestamp> {
    let annotation = |key| pod.annotations.as_ref()?.get(key);
    let after = |rollout: &String| {
        let (_, second) = rollout.rsplit_once(AFTER)?;
        Timestamp::from_second(second.parse().ok()?).ok()
    };
    let rolled = annotation(names::ROLLOUT).and_then(after);
    let restarted = annotation(RESTARTED).and_then(|time| time.parse().ok());
    rolled.max(restarted)
}

/// The API server's own words, where it judged the pod as a whole.
fn judged(message: &str) -> Option<String> {
    if OTHERS.iter().any(|other| message.contains(other)) {
        return None;
    }
    let words = [" is forbidden: ", " is invalid: "]
        .into_iter()
        .find_map(|verb| message.split_once(verb))
        .map(|(_, words)| words)
        .or_else(|| message.contains("denied the request").then_some(message))?;
    Some(words.chars().take(WORDS).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(message: &str, at: &str) -> Option<Refusal> {
        let event = json!({
            "metadata": {"name": "chat.1", "namespace": "a"}, "reason": "FailedCreate",
            "involvedObject": {"kind": "StatefulSet", "name": "chat", "uid": "7"},
            "message": message, "lastTimestamp": at,
        });
        Refusal::read(serde_json::from_value(event).unwrap())
    }

    fn pod(owner: &str, annotations: &serde_json::Value) -> ObjectMeta {
        serde_json::from_value(json!({
            "annotations": annotations,
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "chat", "uid": owner, "controller": true}],
        }))
        .unwrap()
    }

    #[test]
    fn only_what_judges_a_pod_counts() {
        let words = |message| Some(refusal(message, "2026-11-25T10:00:00Z")?.words);
        let quota = "create Pod chat-0 in StatefulSet chat failed error: pods \"chat-0\" is forbidden: failed quota: q: must specify limits.cpu for: olares-ws-sidecar";
        let told = "failed quota: q: must specify limits.cpu for: olares-ws-sidecar";
        assert_eq!(words(quota).as_deref(), Some(told));
        let invalid =
            "Error creating: Pod \"chat-x\" is invalid: spec.containers[1]: Forbidden: no";
        assert_eq!(
            words(invalid).as_deref(),
            Some("spec.containers[1]: Forbidden: no")
        );
        let policy = "Error creating: admission webhook \"k\" denied the request: no";
        assert_eq!(words(policy).as_deref(), Some(policy));
        for other in [
            "Error creating: pods \"chat-\" is forbidden: error looking up service account a/b: not found",
            "Error creating: Internal error occurred: failed calling webhook \"pods.ws.olares.com\"",
        ] {
            assert_eq!(words(other), None, "{other}");
        }
    }

    #[test]
    fn a_refusal_counts_for_its_owner_until_the_template_is_another() {
        let at = "2026-11-25T10:00:00Z";
        let refusal = refusal("pods \"chat-0\" is forbidden: no", at).unwrap();
        let at: Timestamp = at.parse().unwrap();
        let soon = at + SignedDuration::from_secs(5);
        let concerns =
            |owner: &str, annotations, now| refusal.concerns(&pod(owner, &annotations), now);
        assert!(concerns("7", json!({}), soon));
        assert!(!concerns("8", json!({}), soon), "another's");
        assert!(!concerns("7", json!({}), at + RECENT), "long ago");
        let rolled = |time| json!({"ws.olares.com/rolled-for": anew("aaaa.1", time)});
        assert!(concerns(
            "7",
            rolled(at - SignedDuration::from_secs(1)),
            soon
        ));
        assert!(!concerns("7", rolled(soon), soon), "another attempt");
        let restarted = json!({"kubectl.kubernetes.io/restartedAt": "2026-11-25T12:00:04+02:00"});
        assert!(!concerns("7", restarted, soon), "restarted by hand");
    }
}

use serde_json::json;

use super::*;
use crate::cluster::Store;

fn refusal(message: &str, at: &str) -> Option<Refusal> {
    let event = json!({
        "metadata": {"name": "chat.1", "namespace": "a"}, "reason": "FailedCreate",
        "involvedObject": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "chat", "uid": "7"},
        "source": {"component": "statefulset-controller"},
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
    let invalid = "Error creating: Pod \"chat-x\" is invalid: spec.containers[1]: Forbidden: no";
    assert_eq!(
        words(invalid).as_deref(),
        Some("spec.containers[1]: Forbidden: no")
    );
    let policy = "Error creating: admission webhook \"k\" denied the request: no";
    assert_eq!(words(policy).as_deref(), Some(policy));
    for other in [
        "Error creating: pods \"chat-\" is forbidden: error looking up service account a/b: not found",
        "Error creating: Internal error occurred: failed calling webhook \"pods.ws.olares.com\"",
        "create Claim data-chat-0 for Pod chat-0 in StatefulSet chat failed error: persistentvolumeclaims \"data-chat-0\" is forbidden: exceeded quota: q",
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
    let concerns = |owner: &str, annotations, now| refusal.concerns(&pod(owner, &annotations), now);
    assert!(concerns("7", json!({}), soon));
    assert!(!concerns("8", json!({}), soon), "another's");
    assert!(!concerns("7", json!({}), at + RECENT), "long ago");
    assert!(concerns("7", json!({}), at - AHEAD));
    let early = at - AHEAD - SignedDuration::from_secs(1);
    assert!(!concerns("7", json!({}), early), "nobody knows it yet");
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

#[test]
fn only_the_controller_of_that_kind_is_heard() {
    let read = |kind: &str, source: &str, reporting: &str| {
        let event = json!({
            "metadata": {"name": "chat.1", "namespace": "a"}, "reason": "FailedCreate",
            "involvedObject": {"apiVersion": "apps/v1", "kind": kind, "name": "chat", "uid": "7"},
            "source": {"component": source}, "reportingComponent": reporting,
            "message": "pods \"chat-0\" is forbidden: no", "lastTimestamp": "2026-11-25T10:00:00Z",
        });
        Refusal::read(serde_json::from_value(event).unwrap()).is_some()
    };
    let theirs = "statefulset-controller";
    assert!(read("StatefulSet", theirs, theirs));
    assert!(read("StatefulSet", theirs, ""));
    assert!(read("StatefulSet", "", theirs));
    assert!(!read("StatefulSet", "", ""), "nobody's");
    assert!(!read("StatefulSet", theirs, "mallory"));
    assert!(!read("StatefulSet", "replicaset-controller", ""));
    assert!(!read("Job", "job-controller", ""), "we give Jobs nothing");
}

/// Whoever fills a namespace with Events loses the own ones.
#[test]
fn so_many_are_kept_of_a_namespace_and_of_all() {
    let store = Store::<Refusal>::default();
    let start: Timestamp = "2026-11-25T10:00:00Z".parse().unwrap();
    let put = |namespace: &str, index: usize| {
        let at = start + SignedDuration::from_secs(i64::try_from(index).unwrap());
        store.put_object(json!({
            "metadata": {"name": format!("chat.{index:05}"), "namespace": namespace},
            "involvedObject": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "chat", "uid": "7"},
            "source": {"component": "statefulset-controller"},
            "message": "pods \"chat-0\" is forbidden: no", "lastTimestamp": at.to_string(),
        }));
    };
    put("quiet", 0);
    for index in (0..2 * ROOM.each).rev() {
        put("loud", index);
    }
    let kept = store.in_namespace("loud");
    assert_eq!(kept.len(), ROOM.each);
    let oldest = kept.iter().map(|refusal| refusal.at).min().unwrap();
    let expected = SignedDuration::from_secs(i64::try_from(ROOM.each).unwrap());
    assert_eq!(oldest, start + expected, "the oldest went");
    for namespace in 0..=ROOM.all / ROOM.each {
        for index in 0..ROOM.each {
            put(&format!("n{namespace}"), index);
        }
    }
    assert_eq!(store.all().len(), ROOM.all);
    assert_eq!(store.in_namespace("quiet").len(), 1, "it has few");
}

//! Whoever moves the entrance's selector or the pods' labels: Argo Rollouts, Flagger, Spinnaker, people.

use super::super::super::entrance::Entrance;
use super::super::super::plan::{Plan, Route};
use super::super::super::service::Companion;
use super::*;

const HASH: &str = "rollouts-pod-template-hash";

/// The selector of Argo Rollouts' Service: the second label is the promoted ReplicaSet's.
fn promoted(hash: &str) -> Json {
    json!({"app": "chat", HASH: hash})
}

/// An app by hand; nothing made by Deployments.
fn cluster(selector: &Json) -> Cluster {
    let cluster = super::cluster();
    cluster.deployments.put("rooms", "chat", None);
    cluster.apps.put_object(app("chat", "chat", None));
    select(&cluster, selector);
    cluster
}

fn select(cluster: &Cluster, selector: &Json) {
    let mut service = service("chat");
    service["spec"]["selector"] = selector.clone();
    cluster.services.put_object(service);
}

/// A new pod of a ReplicaSet, as admission lets it in: ready, and whether it got the gateway.
fn admitted(cluster: &Cluster, name: &str, labels: &Json) -> bool {
    owned(
        cluster,
        name,
        labels,
        &json!({"apiVersion": "apps/v1", "kind": "ReplicaSet"}),
    )
}

fn owned(cluster: &Cluster, name: &str, labels: &Json, owner: &Json) -> bool {
    let mut owner = owner.clone();
    owner["name"] = json!("chat-1");
    owner["uid"] = json!("1");
    owner["controller"] = json!(true);
    let mut pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "rooms", "labels": labels, "ownerReferences": [owner]},
        "spec": {"containers": [{"name": "chat"}]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }))
    .unwrap();
    let shape = Shape::of_pod(&pod.metadata, pod.spec.as_ref());
    let claims = cluster.claims("rooms");
    let injected = match desired(&shape, &claims.borrow(), &rules()) {
        Decision::Inject(injection) => {
            inject_pod(&mut pod, &injection, &rules());
            true
        }
        Decision::AlreadyCurrent(_) | Decision::Skip(_) => false,
    };
    cluster.pods.put_object(serde_json::to_value(pod).unwrap());
    injected
}

fn relabel(cluster: &Cluster, name: &str, label: &str, value: &str) {
    let mut pod = (*cluster.pods.get("rooms", name).unwrap()).clone();
    pod.shape.labels.insert(label.to_owned(), value.to_owned());
    cluster.pods.put("rooms", name, Some(pod));
}

fn planned(cluster: &Cluster, expose: Expose) -> Plan {
    let repairs = Repairs::default();
    let means = Means {
        retry: crate::controller::retry::Retry::NEVER,
        expose,
        repairs: &repairs,
        webhook_up: true,
        app_protocol: None,
    };
    plan(validated(cluster, "chat"), &means)
}

/// Where the port is to be led, or why not.
#[track_caller]
fn led(cluster: &Cluster) -> String {
    match planned(cluster, Expose::Entrance).route {
        Route::Entrance(Entrance::Lead(change) | Entrance::Back(change, _)) => change.words(),
        Route::Entrance(Entrance::Waits(verdict)) => verdict.message,
        Route::Entrance(Entrance::Kept(_)) => "kept".to_owned(),
        _ => panic!("no entrance"),
    }
}

fn says(cluster: &Cluster) -> (Reason, String) {
    let verdict = update_status::injected(&planned(cluster, Expose::Entrance));
    (verdict.reason, verdict.message)
}

const LED: &str = "port 80 of chat leads to ws-entrance";

/// The ReplicaSet is a Rollout's, and nothing of ours looks at who made it.
#[test]
fn argo_rollouts_pods_are_counted_and_followed() {
    let cluster = cluster(&promoted("1"));
    assert!(admitted(&cluster, "first", &promoted("1")));
    let counts = planned(&cluster, Expose::Entrance).counts;
    assert_eq!((counts.wanted, counts.current, counts.ready), (1, 1, 1));
    assert_eq!(says(&cluster).0, Reason::AllInjected);
    assert_eq!(led(&cluster), LED);

    // The next one has the gateway before it is promoted, as its label says so.
    let mut asking = promoted("2");
    asking["ws.olares.com/inject"] = json!("true");
    assert!(admitted(&cluster, "second", &asking));
    assert!(!admitted(&cluster, "silent", &promoted("3")));
    select(&cluster, &promoted("2"));
    assert_eq!(led(&cluster), LED);
    select(&cluster, &promoted("3"));
    let waits = led(&cluster);
    assert!(
        waits.contains("0 of 1 ready pods") && waits.contains("the pod silent: delete"),
        "{waits}"
    );
}

#[test]
fn owners_are_known_by_group_and_kind() {
    let labels = json!({"app": "chat", "pod-template-hash": "1"});
    for (version, kind) in [
        ("argoproj.io/v1alpha1", "Rollout"),
        ("argoproj.io/v1alpha1", "ReplicaSet"),
        ("apps.example.org/v1", "Deployment"),
        ("apps.kruise.io/v1beta1", "StatefulSet"),
        ("v1", "ReplicationController"),
    ] {
        let cluster = cluster(&json!({"app": "chat"}));
        let owner = json!({"apiVersion": version, "kind": kind});
        assert!(!owned(&cluster, "pod", &labels, &owner), "{version} {kind}");
        let (reason, message) = says(&cluster);
        assert_eq!(reason, Reason::AllSkipped);
        let words = format!("OtherOwner: the pod belongs to a {kind}");
        assert!(message.contains(&words), "{message}");
        let waits = led(&cluster);
        assert!(
            waits.contains("the pod pod never will (OtherOwner"),
            "{waits}"
        );
    }
}

/// Flagger's Deployment `chat-primary` is labelled by that name, and the Service follows.
#[test]
fn flaggers_primary_is_followed() {
    let cluster = super::cluster();
    let deployment = |name: &str| {
        let template = json!({
            "metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "chat"}]},
        });
        cluster.deployments.put_object(json!({
            "metadata": {"name": name, "namespace": "rooms"},
            "spec": {"selector": {"matchLabels": {"app": name}}, "template": template},
        }));
    };
    let steps = || -> Vec<_> {
        let steps = planned(&cluster, Expose::Entrance).steps;
        let told = |step: &super::super::super::plan::Step| {
            let name = step.workload.workload.name.clone();
            (name, step.verdict.reason, step.roll.is_some())
        };
        steps.iter().map(told).collect()
    };
    pod(&cluster, "canary", &["chat"]);
    deployment("chat-primary");
    select(&cluster, &json!({"app": "chat-primary"}));
    // The canary keeps what it has, as it may be selected again.
    assert_eq!(
        steps(),
        [
            ("chat".to_owned(), Reason::NotEntrance, false),
            ("chat-primary".to_owned(), Reason::NoPods, false),
        ]
    );
}

/// Spinnaker's labels on pods move, and the Service's selector stays.
#[test]
fn a_pod_that_gets_the_label_is_seen() {
    const BALANCED: &str = "load-balancer-chat";
    let cluster = cluster(&json!({"app": "chat", BALANCED: "true"}));
    let labels = |balanced: &str| json!({"app": "chat", BALANCED: balanced});
    assert!(admitted(&cluster, "v1", &labels("true")));
    assert_eq!(led(&cluster), LED);
    assert!(!admitted(&cluster, "v2", &labels("false")));
    assert_eq!(led(&cluster), LED, "nobody is sent to it yet");
    relabel(&cluster, "v2", BALANCED, "true");
    let waits = led(&cluster);
    assert!(
        waits.contains("1 of 2 ready pods") && waits.contains("the pod v2: delete"),
        "{waits}"
    );
    let counts = planned(&cluster, Expose::Entrance).counts;
    assert_eq!((counts.wanted, counts.current, counts.bare), (2, 1, 1));
    assert_eq!(says(&cluster).0, Reason::ReplaceByHand);
    relabel(&cluster, "v2", BALANCED, "false");
    assert_eq!(led(&cluster), LED);

    // One that asks by label has the gateway before.
    let mut asking = labels("false");
    asking["ws.olares.com/inject"] = json!("true");
    assert!(admitted(&cluster, "v3", &asking));
    relabel(&cluster, "v3", BALANCED, "true");
    relabel(&cluster, "v1", BALANCED, "false");
    assert_eq!(led(&cluster), LED);
    assert_eq!(says(&cluster).0, Reason::AllInjected);
}

/// A ReplicaSet outlives its Deployment (`kubectl delete --cascade=orphan`).
#[test]
fn pods_whose_deployment_is_gone_are_seen() {
    let cluster = cluster(&json!({"app": "chat"}));
    let labels = json!({"app": "chat", "pod-template-hash": "1"});
    cluster.apps.put("rooms", "chat", None);
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        assert!(!admitted(&cluster, name, &labels));
    }
    cluster.apps.put_object(app("chat", "chat", None));
    let expected = "nothing of ours restarts the pods a, b, c, d, e and 2 more: delete, and the owner makes anew \
                    with the gateway";
    assert_eq!(says(&cluster), (Reason::ReplaceByHand, expected.to_owned()));
    assert!(led(&cluster).contains(expected), "{}", led(&cluster));
}

#[test]
fn a_pod_by_hand_that_was_refused_is_not_said_to_come_with_the_gateway() {
    let cluster = cluster(&json!({"app": "chat"}));
    assert!(admitted(&cluster, "chat", &json!({"app": "chat"})));
    let found = cluster.pods.get("rooms", "chat").unwrap();
    let claims = cluster.claims("rooms");
    let Decision::AlreadyCurrent(injection) = desired(&found.shape, &claims.borrow(), &rules())
    else {
        panic!()
    };
    let mut bare = (*found).clone();
    bare.shape.gateway = Gateway::Bare;
    bare.refused = Some(crate::cluster::Refused {
        attempt: attempt(&injection, &rules()),
        words: "policy says no".to_owned(),
    });
    cluster.pods.put("rooms", "chat", Some(bare));
    let (reason, message) = says(&cluster);
    assert_eq!(reason, Reason::AllSkipped);
    assert!(message.contains("policy says no"), "{message}");
}

/// Two Services of the same pods have one gateway, whoever made the pods.
#[test]
fn pods_of_another_app_are_not_counted_twice() {
    let cluster = cluster(&json!({"app": "chat"}));
    cluster.services.put_object(service("other"));
    cluster.apps.put_object(app("other", "other", Some("helm")));
    assert!(admitted(&cluster, "chat", &json!({"app": "chat"})));
    let lost = validated(&cluster, "other");
    assert_eq!(lost.accepted.reason, Reason::Superseded);
    assert!(lost.strays.is_empty());
    assert_eq!(validated(&cluster, "chat").strays.len(), 1);
}

/// `expose: service`: clients of `chat-ws` are sent to the gateways of before until another serves.
#[test]
fn the_companion_follows_once_somebody_serves_there() {
    let cluster = cluster(&promoted("1"));
    assert!(admitted(&cluster, "first", &promoted("1")));
    let follows = || {
        let plan = planned(&cluster, Expose::Service);
        let Route::Service(companion) = plan.route else {
            panic!("no companion")
        };
        if let Companion::Apply(service) = companion {
            let mut object = serde_json::to_value(&service).unwrap();
            object["metadata"]["namespace"] = json!("rooms");
            cluster.services.put_object(object);
        }
        let companion = cluster.services.get("rooms", "chat-ws").unwrap();
        (companion.selector[HASH].clone(), plan.lags)
    };
    let to = |hash: &str, lags| (hash.to_owned(), lags);
    assert_eq!(follows(), to("1", false));
    assert!(!admitted(&cluster, "second", &promoted("2")));
    select(&cluster, &promoted("2"));
    assert_eq!(follows(), to("1", true));
    // Its owner makes it anew.
    assert!(admitted(&cluster, "second", &promoted("2")));
    assert_eq!(follows(), to("2", false));
    // Nobody is left to wait for, or nobody of before serves.
    select(&cluster, &promoted("3"));
    assert_eq!(follows(), to("3", false));
    select(&cluster, &promoted("1"));
    assert_eq!(follows(), to("1", false));
    cluster.pods.put("rooms", "first", None);
    select(&cluster, &promoted("2"));
    assert_eq!(follows(), to("2", false));
}

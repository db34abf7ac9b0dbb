use clap::Parser;

use serde_json::{Value as Json, json};

use super::finding::Finding;
use super::*;
use crate::reason::Reason;

#[derive(Parser)]
struct Defaults {
    #[command(flatten)]
    gateway: GatewaySettings,
}

fn cluster(port: u32) -> Cluster {
    let cluster = Cluster::default();
    cluster.apps.put_object(json!({
        "metadata": {"name": "chat", "namespace": "chat"},
        "spec": {
            "entrances": [{"name": "chat", "host": "chat-svc", "port": 80}],
            "options": {"websocket": {"url": "/ws", "port": port}},
        },
    }));
    cluster.services.put_object(json!({
        "metadata": {"name": "chat-svc", "namespace": "chat"},
        "spec": {"selector": {"app": "chat"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }));
    let template = json!({
        "metadata": {"labels": {"app": "chat"}},
        "spec": {"containers": [{"name": "chat"}]},
    });
    cluster.deployments.put_object(json!({
        "metadata": {"name": "chat", "namespace": "chat"},
        "spec": {"selector": {"matchLabels": {"app": "chat"}}, "template": template},
    }));
    for (name, owner, app) in [
        ("chat-5d8f-a", "ReplicaSet", "chat"),
        ("job-b", "Job", "chat"),
        ("db-0", "StatefulSet", "db"),
        ("orphan-0", "StatefulSet", "chat"),
    ] {
        cluster.pods.put_object(json!({
            "metadata": {
                "name": name, "namespace": "chat",
                "labels": {"app": app, "pod-template-hash": "5d8f"},
                "ownerReferences": [{
                    "apiVersion": if owner == "Job" { "batch/v1" } else { "apps/v1" }, "kind": owner, "name": "chat-5d8f", "uid": "1",
                    "controller": true,
                }],
            },
            "spec": {"containers": [{"name": "chat"}]},
        }));
    }
    cluster
}

#[track_caller]
fn check(cluster: &Cluster, target: &str, expected: Reason) -> Finding {
    let rules = Defaults::parse_from(["x"])
        .gateway
        .rules(true, tokio::sync::watch::channel(false).1);
    let target = target.parse().unwrap();
    let finding = explain(cluster, &rules, "chat", &target).unwrap();
    assert_eq!(finding.reason, expected, "{}", finding.text());
    finding
}

#[test]
fn each_kind_of_object_has_its_reason() {
    let cluster = cluster(8888);
    check(&cluster, "pod/chat-5d8f-a", Reason::RollBare);
    check(&cluster, "pod/job-b", Reason::Job);
    check(&cluster, "po/db-0", Reason::NotEntrance);
    // No StatefulSet of that name is there.
    check(&cluster, "pod/orphan-0", Reason::ReplaceByHand);
    check(&cluster, "app/chat", Reason::Accepted);
    let finding = check(&cluster, "deploy/chat", Reason::Injected);
    assert_eq!(
        finding.text(),
        "Deployment/chat: Injected: new pods get the gateway\n  app: chat\n  The pod got the \
         gateway.\n  pod/chat-5d8f-a: RollBare: it came up without the gateway\n"
    );
    assert_eq!(finding.json()["parts"][0]["reason"], "RollBare");
}

/// The workload's template shows nothing of it.
#[test]
fn pods_with_the_platforms_gateway_tell_of_their_workload() {
    let cluster = cluster(8888);
    cluster.pods.put_object(json!({
        "metadata": {
            "name": "chat-5d8f-a", "namespace": "chat",
            "labels": {"app": "chat", "pod-template-hash": "5d8f"},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "chat-5d8f", "uid": "1",
                "controller": true,
            }],
        },
        "spec": {"containers": [{"name": "chat"}, {"name": "olares-ws-sidecar"}]},
    }));
    check(&cluster, "pod/chat-5d8f-a", Reason::PlatformInjected);
    check(&cluster, "deploy/chat", Reason::PlatformInjected);
}

#[test]
fn what_is_wrong_with_a_stanza_is_said() {
    let cluster = cluster(70000);
    let finding = check(&cluster, "app/chat", Reason::InvalidStanza);
    assert!(
        finding.message.contains("70000 is not allowed here"),
        "{}",
        finding.message
    );
    check(&cluster, "deployment/chat", Reason::InvalidStanza);
}

/// Nobody has to say with which default the operator was installed.
#[test]
fn the_operators_default_is_seen_in_the_status() {
    let cluster = cluster(8888);
    assert_eq!(default_expose(&cluster), None);
    let said = |name: &str, stated: Json, said: &str| {
        let mut websocket = json!({"url": "/ws", "port": 80});
        websocket["expose"] = stated;
        cluster.apps.put_object(json!({
            "metadata": {"name": name, "namespace": "chat"},
            "spec": {"entrances": [{"host": name}], "options": {"websocket": websocket}},
            "status": {"expose": said},
        }));
    };
    said("stated", json!("service"), "service");
    said("captured", Json::Null, "none");
    assert_eq!(default_expose(&cluster), None);
    said("open", Json::Null, "entrance");
    assert_eq!(default_expose(&cluster), Some(Expose::Entrance));
}

#[test]
fn what_is_refused_is_told_with_its_remedy() {
    let cluster = cluster(8888);
    let pod = |annotation: &str, container: &str, status: Json| {
        json!({
            "metadata": {
                "name": "chat-5d8f-a", "namespace": "chat", "uid": "7",
                "labels": {"app": "chat", "pod-template-hash": "5d8f"},
                "annotations": {annotation: "aaaa exceeded quota: q"},
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "chat-5d8f", "uid": "1",
                    "controller": true,
                }],
            },
            "spec": {"containers": [{"name": container}], "imagePullSecrets": [{"name": "hub"}]},
            "status": status,
        })
    };
    cluster
        .pods
        .put_object(pod("ws.olares.com/refused", "chat", json!({})));
    for target in ["deploy/chat", "pod/chat-5d8f-a"] {
        let finding = check(&cluster, target, Reason::PodsRefused);
        let remedy = "raise the ResourceQuota, or ask for less by resources in the stanza";
        assert_eq!(finding.json()["remedy"], remedy);
        let text = finding.text();
        assert_eq!(text.matches(remedy).count(), 1, "{text}");
    }
    let waiting = json!({"containerStatuses": [{
        "name": "olares-ws-sidecar", "image": "ws-gateway:1", "imageID": "", "ready": false,
        "restartCount": 0, "state": {"waiting": {"reason": "ErrImagePull", "message": "unauthorized"}},
    }]});
    cluster
        .pods
        .put_object(pod("ws.olares.com/injected", "olares-ws-sidecar", waiting));
    for target in ["deploy/chat", "pod/chat-5d8f-a"] {
        let finding = check(&cluster, target, Reason::GatewayImage);
        assert!(
            finding
                .message
                .contains("the Secret hub of the namespace chat")
        );
        let remedy = finding.json()["remedy"].to_string();
        assert!(remedy.contains("gateway.image.pullSecrets"), "{remedy}");
    }
}

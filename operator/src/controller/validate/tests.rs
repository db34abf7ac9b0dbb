//! What is found of an app's pods, and whose they are.

mod switches;

use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};
use serde_json::{Value as Json, json};
use stanza::choice::Expose;

use super::super::dereference::dereference;
use super::super::plan::{Means, plan};
use super::super::repairs::Repairs;
use super::super::update_status;
use super::*;
use crate::cluster::Cluster;
use crate::injection::{ExposeRule, inject_pod};

fn rules() -> Rules {
    Rules {
        image: "ws-gateway:test".to_owned(),
        pull_policy: "IfNotPresent".to_owned(),
        pull_secrets: Vec::new(),
        resources: ResourceRequirements::default(),
        trusted_proxies: Vec::new(),
        olares: tokio::sync::watch::channel(false).1,
        native: true,
        expose: ExposeRule::Always(Expose::Entrance),
        app_protocol: None,
    }
}

fn app(name: &str, host: &str, source: Option<&str>) -> Json {
    let mut object = json!({
        "metadata": {"name": name, "namespace": "rooms", "uid": name, "labels": {}},
        "spec": {
            "entrances": [{"host": host, "port": 80}],
            "options": {"websocket": {"url": "/ws", "port": 8888}},
        },
    });
    if let Some(source) = source {
        object["metadata"]["labels"]["ws.olares.com/source"] = json!(source);
    }
    object
}

fn service(name: &str) -> Json {
    json!({
        "metadata": {"name": name, "namespace": "rooms"},
        "spec": {"selector": {"app": "chat"}, "ports": [{"port": 80, "targetPort": 8080}]},
    })
}

fn cluster() -> Cluster {
    let cluster = Cluster::default();
    cluster.apps.put_object(app("chat", "chat", Some("helm")));
    cluster.services.put_object(service("chat"));
    let template = json!({
        "metadata": {"labels": {"app": "chat"}}, "spec": {"containers": [{"name": "chat"}]},
    });
    cluster.deployments.put_object(json!({
        "metadata": {"name": "chat", "namespace": "rooms"},
        "spec": {"selector": {"matchLabels": {"app": "chat"}}, "template": template},
    }));
    cluster
}

/// As admission lets it in, with what the platform's webhook put in before us.
fn pod(cluster: &Cluster, name: &str, containers: &[&str]) {
    let containers: Json = containers
        .iter()
        .map(|name| json!({"name": name}))
        .collect();
    let mut pod: Pod = serde_json::from_value(json!({
        "metadata": {
            "name": name, "namespace": "rooms", "labels": {"app": "chat", "pod-template-hash": "1"},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "chat-1", "uid": "1", "controller": true},
            ],
        },
        "spec": {"containers": containers},
    }))
    .unwrap();
    let shape = Shape::of_pod(&pod.metadata, pod.spec.as_ref());
    let claims = cluster.claims("rooms");
    match desired(&shape, &claims.borrow(), &rules()) {
        Decision::Inject(injection) => inject_pod(&mut pod, &injection, &rules()),
        other => panic!("{other:?}"),
    }
    cluster.pods.put_object(serde_json::to_value(pod).unwrap());
}

fn validated(cluster: &Cluster, app: &str) -> Validated {
    validate(dereference(cluster, &AppId::new("rooms", app)), &rules())
}

/// The template does not show the Envoy that the platform puts into its pods: neither they nor
/// those that come up without one, when the platform has become another, are stale by that.
#[test]
fn an_envoy_that_the_template_does_not_show_makes_no_pod_stale() {
    let cluster = cluster();
    pod(&cluster, "before", &["chat", "olares-envoy-sidecar"]);
    pod(&cluster, "after", &["chat"]);
    let validated = validated(&cluster, "chat");
    let [member] = validated.members.as_slice() else {
        panic!()
    };
    let Wish::Gateway { hash, .. } = &member.wish else {
        panic!("{:?}", member.wish)
    };
    assert_eq!(member.pods.len(), 2);
    for pod in &member.pods {
        assert_eq!(
            pod.shape.gateway.hash(),
            Some(hash.as_str()),
            "{}",
            pod.name
        );
    }
}

/// In the status: what is believed, and with a mesh in the pods what to set.
#[test]
fn the_status_says_whose_word_on_names_counts() {
    let cluster = cluster();
    let says = || validated(&cluster, "chat").identity.unwrap();
    assert!(says().contains("the pod itself only"), "{}", says());
    pod(&cluster, "meshed", &["chat", "istio-proxy"]);
    for part in [
        "from nobody",
        "istio-proxy",
        "127.0.0.6",
        "identity.trustedProxies",
    ] {
        assert!(says().contains(part), "{part}: {}", says());
    }
}

/// A second workload behind the entrance, whose pods say no.
#[test]
fn who_opts_out_keeps_nobody_from_being_ready() {
    let cluster = cluster();
    let template = json!({
        "metadata": {"labels": {"app": "chat"}, "annotations": {"ws.olares.com/inject": "false"}},
        "spec": {"containers": [{"name": "other"}]},
    });
    cluster.deployments.put_object(json!({
        "metadata": {"name": "another", "namespace": "rooms"},
        "spec": {"selector": {"matchLabels": {"app": "chat"}}, "template": template},
    }));
    let injected = || {
        let repairs = Repairs::default();
        let means = Means {
            retry: crate::controller::retry::Retry::NEVER,
            expose: Expose::Service,
            repairs: &repairs,
            webhook_up: true,
            app_protocol: None,
        };
        update_status::injected(&plan(validated(&cluster, "chat"), &means)).reason
    };
    assert_eq!(injected(), Reason::OptedOut, "nobody else is there");
    pod(&cluster, "chat", &["chat"]);
    assert_eq!(injected(), Reason::AllInjected);
}

#[test]
fn who_lost_says_who_won() {
    let cluster = cluster();
    cluster.apps.put_object(app("mine", "chat", None));
    assert_eq!(
        validated(&cluster, "mine").accepted.reason,
        Reason::Accepted
    );
    let lost = validated(&cluster, "chat");
    assert_eq!(lost.accepted.reason, Reason::Superseded);
    assert_eq!(
        lost.accepted.message,
        "the AppManifest mine (by hand) has the same pods and comes first"
    );
    assert!(lost.members.is_empty() && !lost.holds_still());
    assert_eq!(validated(&cluster, "mine").overruled, ["chat"]);
}

#[test]
fn two_services_of_the_same_pods_have_one_gateway() {
    let cluster = cluster();
    cluster.services.put_object(service("other"));
    cluster.apps.put_object(app("mine", "other", None));
    assert_eq!(
        validated(&cluster, "mine").accepted.reason,
        Reason::Accepted
    );
    let lost = validated(&cluster, "chat");
    assert_eq!(lost.accepted.reason, Reason::Superseded);
}

#[test]
fn what_the_webhook_is_installed_not_to_look_at_is_not_restarted() {
    let mut cluster = cluster();
    assert!(!cluster.is_disabled("rooms"));
    cluster.excluded.insert("rooms".to_owned());
    assert!(cluster.is_disabled("rooms"));
}

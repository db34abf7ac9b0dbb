//! One app, one pod, and what is decided about it.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value as Json, json};
use stanza::choice::Expose;
use ws_operator::app::App;
use ws_operator::cluster::{Facts, Ground, ServiceFacts};
use ws_operator::injection::{self, Claim, Decision, ExposeRule, Rules, desired};
use ws_operator::reason::Reason;
use ws_operator::shape::Shape;

pub(crate) fn rules() -> Rules {
    Rules {
        image: "ws-gateway:test".to_owned(),
        pull_policy: "IfNotPresent".to_owned(),
        pull_secrets: Vec::new(),
        resources: serde_json::from_value(json!({
            "requests": {"cpu": "10m", "memory": "24Mi"}, "limits": {"memory": "256Mi"}
        }))
        .unwrap(),
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        olares: tokio::sync::watch::channel(false).1,
        native: true,
        expose: ExposeRule::Always(Expose::Service),
        app_protocol: None,
    }
}

pub(crate) fn app(websocket: &Json) -> App {
    let object = json!({
        "apiVersion": "ws.olares.com/v1alpha1", "kind": "AppManifest",
        "metadata": {"name": "chat", "namespace": "chat-alice"},
        "spec": {
            "entrances": [{"name": "chat", "host": "chat-svc"}],
            "options": {"websocket": websocket},
        },
    });
    App::read(serde_json::from_value(object).unwrap())
}

/// The entrance's.
pub(crate) fn service() -> ServiceFacts {
    let object = json!({
        "metadata": {"name": "chat-svc"},
        "spec": {"selector": {"app": "chat"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    });
    ServiceFacts::read(serde_json::from_value(object).unwrap()).unwrap()
}

pub(crate) fn stanza() -> Json {
    json!({"url": "/ws/message", "port": 8888})
}

/// A pod as a ReplicaSet makes it.
pub(crate) fn pod() -> Json {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "generateName": "chat-5d8f-", "namespace": "chat-alice",
            "labels": {"app": "chat", "pod-template-hash": "5d8f"},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "chat-5d8f", "uid": "1", "controller": true
            }],
        },
        "spec": {"containers": [{"name": "chat", "image": "chat:1"}]},
    })
}

pub(crate) fn decide(pod: &Pod, app: &App, check: impl FnOnce(Decision<'_>)) {
    let service = service();
    let claims = [Claim {
        app,
        service: Some(&service),
        ground: &Ground::default(),
    }];
    let shape = Shape::of_pod(&pod.metadata, pod.spec.as_ref());
    check(desired(&shape, &claims, &rules()));
}

pub(crate) fn injected(pod: &Json, websocket: &Json) -> Pod {
    injected_with(pod, websocket, &rules())
}

pub(crate) fn injected_with(pod: &Json, websocket: &Json, rules: &Rules) -> Pod {
    let mut pod: Pod = serde_json::from_value(pod.clone()).unwrap();
    decide(&pod.clone(), &app(websocket), |decision| match decision {
        Decision::Inject(injection) => injection::inject_pod(&mut pod, &injection, rules),
        other => panic!("{other:?}"),
    });
    pod
}

#[track_caller]
pub(crate) fn skipped(pod: &Json, websocket: &Json, expected: Reason) {
    let pod: Pod = serde_json::from_value(pod.clone()).unwrap();
    decide(&pod, &app(websocket), |decision| match decision {
        Decision::Skip(skip) => assert_eq!(skip.reason, expected),
        other => panic!("{other:?}"),
    });
}

/// `at("/spec/hostNetwork", true)` of [`pod`].
pub(crate) fn pod_with(pointer: &str, value: Json) -> Json {
    let mut pod = pod();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    pod.pointer_mut(parent).unwrap()[key] = value;
    pod
}

pub(crate) fn patched(raw: &Json, websocket: &Json) -> Json {
    patched_with(raw, websocket, &rules())
}

pub(crate) fn patched_with(raw: &Json, websocket: &Json, rules: &Rules) -> Json {
    let before: Pod = serde_json::from_value(raw.clone()).unwrap();
    let mut after = before.clone();
    decide(&before, &app(websocket), |decision| match decision {
        Decision::Inject(injection) | Decision::AlreadyCurrent(injection) => {
            injection::inject_pod(&mut after, &injection, rules);
        }
        other @ Decision::Skip(_) => panic!("{other:?}"),
    });
    let mut patched = raw.clone();
    let patch = injection::patch(&before, &after).unwrap();
    json_patch::patch(&mut patched, &patch).unwrap();
    patched
}

//! What injection does to a pod, whole, and what it never does.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use stanza::choice::Expose;
use ws_operator::app::App;
use ws_operator::cluster::{Facts, ServiceFacts};
use ws_operator::injection::{self, Claim, Decision, ExposeRule, Rules, desired};
use ws_operator::reason::Reason;
use ws_operator::shape::Shape;

fn rules() -> Rules {
    Rules {
        image: "ws-gateway:test".to_owned(),
        pull_policy: "IfNotPresent".to_owned(),
        resources: serde_json::from_value(json!({
            "requests": {"cpu": "10m", "memory": "24Mi"}, "limits": {"memory": "256Mi"}
        }))
        .unwrap(),
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        native: true,
        expose: ExposeRule::Always(Expose::Service),
    }
}

fn app(websocket: &Json) -> App {
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
fn service() -> ServiceFacts {
    let object = json!({
        "metadata": {"name": "chat-svc"},
        "spec": {"selector": {"app": "chat"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    });
    ServiceFacts::read(serde_json::from_value(object).unwrap()).unwrap()
}

fn stanza() -> Json {
    json!({"url": "/ws/message", "port": 8888})
}

/// A pod as a ReplicaSet makes it.
fn pod() -> Json {
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

fn decide(pod: &Pod, app: &App, check: impl FnOnce(Decision<'_>)) {
    let service = service();
    let claims = [Claim {
        app,
        service: Some(&service),
    }];
    let shape = Shape::of_pod(&pod.metadata, pod.spec.as_ref());
    check(desired(&shape, &claims, &rules()));
}

fn injected(pod: &Json, websocket: &Json) -> Pod {
    let mut pod: Pod = serde_json::from_value(pod.clone()).unwrap();
    decide(&pod.clone(), &app(websocket), |decision| match decision {
        Decision::Inject(injection) => injection::inject_pod(&mut pod, &injection, &rules()),
        other => panic!("{other:?}"),
    });
    pod
}

#[track_caller]
fn skipped(pod: &Json, websocket: &Json, expected: Reason) {
    let pod: Pod = serde_json::from_value(pod.clone()).unwrap();
    decide(&pod, &app(websocket), |decision| match decision {
        Decision::Skip(skip) => assert_eq!(skip.reason, expected),
        other => panic!("{other:?}"),
    });
}

/// `at("/spec/hostNetwork", true)` of [`pod`].
fn pod_with(pointer: &str, value: Json) -> Json {
    let mut pod = pod();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    pod.pointer_mut(parent).unwrap()[key] = value;
    pod
}

#[test]
fn a_pod_with_three_lines_of_stanza() {
    insta::assert_yaml_snapshot!(injected(&pod(), &stanza()));
}

#[test]
fn a_pod_with_every_operator_setting() {
    let websocket = json!({
        "url": "/ws/message", "port": 8888, "sidecar": "native", "heartbeat": {"timeout": "60s"},
        "drain": {"holdApp": true, "spread": "3s"},
        "resources": {"requests": {"cpu": "50m"}, "limits": {"cpu": 1}},
    });
    insta::assert_yaml_snapshot!(injected(&pod(), &websocket).spec);
}

#[test]
fn the_patch_names_nothing_but_the_gateway() {
    let before: Pod = serde_json::from_value(pod()).unwrap();
    let patch = injection::patch(&before, &injected(&pod(), &stanza())).unwrap();
    let paths: Vec<String> = patch
        .iter()
        .map(|operation| operation.path().to_string())
        .collect();
    assert_eq!(
        paths,
        [
            "/metadata/annotations",
            "/spec/containers/1",
            "/spec/volumes"
        ]
    );
}

#[test]
fn fields_of_a_later_kubernetes_survive_the_patch() {
    let mut raw = pod_with("/spec/laterField", json!({"deep": [1, 2]}));
    raw["spec"]["containers"][0]["laterField"] = json!(true);
    let typed: Pod = serde_json::from_value(raw.clone()).unwrap();
    let patch = injection::patch(&typed, &injected(&raw, &stanza())).unwrap();
    let before = raw.clone();
    json_patch::patch(&mut raw, &patch).unwrap();
    assert_eq!(raw["spec"]["laterField"], before["spec"]["laterField"]);
    assert_eq!(
        raw["spec"]["containers"][0],
        before["spec"]["containers"][0]
    );
    assert_eq!(raw["spec"]["containers"][1]["name"], "olares-ws-sidecar");
}

#[test]
fn an_injected_pod_is_current_until_the_stanza_changes() {
    let pod = injected(&pod(), &stanza());
    decide(&pod, &app(&stanza()), |decision| {
        assert!(
            matches!(decision, Decision::AlreadyCurrent(_)),
            "{decision:?}"
        );
    });
    let changed = json!({"url": "/ws/other", "port": 8888});
    decide(&pod, &app(&changed), |decision| {
        assert!(matches!(decision, Decision::Inject(_)), "{decision:?}");
    });
}

#[test]
fn another_image_or_default_restarts_nothing() {
    let pod = injected(&pod(), &stanza());
    let shape = Shape::of_pod(&pod.metadata, pod.spec.as_ref());
    let app = app(&stanza());
    let service = service();
    let claims = [Claim {
        app: &app,
        service: Some(&service),
    }];
    let newer = Rules {
        image: "ws-gateway:newer".to_owned(),
        trusted_proxies: Vec::new(),
        ..rules()
    };
    assert!(matches!(
        desired(&shape, &claims, &newer),
        Decision::AlreadyCurrent(_)
    ));
}

#[test]
fn settings_that_mean_the_same_have_the_same_hash() {
    let spelled = json!({"port": "8888", "url": "/ws/message", "heartbeat": {"timeout": "45s"}});
    assert_eq!(
        injected(&pod(), &stanza()).metadata.annotations,
        injected(&pod(), &spelled).metadata.annotations
    );
}

#[test]
fn uninject_gives_the_pod_back() {
    for websocket in [
        stanza(),
        json!({"url": "/ws", "port": 80, "sidecar": "native"}),
    ] {
        let mut pod = injected(&pod(), &websocket);
        injection::uninject(&mut pod.metadata, pod.spec.as_mut().unwrap());
        let shape = Shape::of_pod(&pod.metadata, pod.spec.as_ref());
        assert_eq!(shape.gateway, ws_operator::shape::Gateway::Bare);
        assert_eq!(pod.spec.unwrap().containers.len(), 1);
    }
}

#[test]
fn who_is_skipped_and_why() {
    let owner = |kind: &str| json!([{"apiVersion": "v1", "kind": kind, "name": "x", "uid": "1", "controller": true}]);
    let cases = [
        (
            "/metadata/labels",
            json!({"app": "worker"}),
            Reason::NotEntrance,
        ),
        ("/metadata/ownerReferences", json!([]), Reason::BarePod),
        ("/metadata/ownerReferences", owner("Job"), Reason::Job),
        (
            "/metadata/ownerReferences",
            owner("Node"),
            Reason::OtherOwner,
        ),
        (
            "/metadata/annotations",
            json!({"ws.olares.com/inject": "false"}),
            Reason::OptedOut,
        ),
        ("/spec/hostNetwork", json!(true), Reason::HostNetwork),
        (
            "/spec/containers",
            json!([{"name": "chat", "ports": [{"containerPort": 40010}]}]),
            Reason::PortConflict,
        ),
        (
            "/spec/containers",
            json!([{"name": "chat"}, {"name": "olares-ws-sidecar", "image": "beclab/ws-gateway"}]),
            Reason::PlatformInjected,
        ),
    ];
    for (pointer, value, expected) in cases {
        skipped(&pod_with(pointer, value), &stanza(), expected);
    }
    skipped(
        &pod(),
        &json!({"url": "/ws", "port": 70000}),
        Reason::InvalidStanza,
    );
    skipped(&pod(), &json!(null), Reason::NoStanza);
}

#[test]
fn a_namespace_without_apps_is_not_ours() {
    let pod: Pod = serde_json::from_value(pod()).unwrap();
    let shape = Shape::of_pod(&pod.metadata, pod.spec.as_ref());
    let Decision::Skip(skip) = desired(&shape, &[], &rules()) else {
        panic!()
    };
    assert_eq!((skip.reason, skip.app), (Reason::NoApp, None));
}

#[test]
fn an_older_kubernetes_has_no_native_sidecars() {
    let pod: Pod = serde_json::from_value(pod()).unwrap();
    let shape = Shape::of_pod(&pod.metadata, pod.spec.as_ref());
    let app = app(&json!({"url": "/ws", "port": 80, "sidecar": "native"}));
    let service = service();
    let claims = [Claim {
        app: &app,
        service: Some(&service),
    }];
    let older = Rules {
        native: false,
        ..rules()
    };
    let Decision::Skip(skip) = desired(&shape, &claims, &older) else {
        panic!()
    };
    assert_eq!(skip.reason, Reason::NativeUnsupported);
}

// === properties ===

fn container() -> impl Strategy<Value = Json> {
    (
        "[a-z]{1,8}",
        proptest::option::of(1024u16..40000),
        any::<bool>(),
    )
        .prop_map(|(name, port, hook)| {
            let mut container = json!({"name": name, "image": "app:1"});
            if let Some(port) = port {
                container["ports"] = json!([{"containerPort": port}]);
            }
            // Of a Kubernetes that our types do not know yet.
            container["laterField"] = json!({"deep": [{"port": port}, null]});
            if hook {
                container["lifecycle"] = json!({"preStop": {"exec": {"command": ["sh"]}}});
            }
            container
        })
}

fn any_pod() -> impl Strategy<Value = Json> {
    let containers = proptest::collection::vec(container(), 1..4);
    let inits = proptest::option::of(proptest::collection::vec(container(), 0..3));
    let volumes = proptest::option::of(proptest::collection::vec("[a-z]{1,8}", 0..3));
    let annotations = proptest::option::of(proptest::collection::btree_map(
        "[a-z]{1,8}",
        "[ -~]{0,8}",
        0..3,
    ));
    (containers, inits, volumes, annotations).prop_map(
        |(containers, inits, volumes, annotations)| {
            let mut pod = pod_with("/spec/containers", json!(containers));
            pod["laterField"] = json!(true);
            pod["spec"]["laterField"] = json!({"deep": [1, 2]});
            pod["metadata"]["laterField"] = json!("x");
            if let Some(inits) = inits {
                pod["spec"]["initContainers"] = json!(inits);
            }
            if let Some(volumes) = volumes {
                let volumes: Vec<_> = volumes
                    .iter()
                    .map(|name| json!({"name": name, "emptyDir": {}}))
                    .collect();
                pod["spec"]["volumes"] = json!(volumes);
            }
            if let Some(annotations) = annotations {
                pod["metadata"]["annotations"] = json!(annotations);
            }
            pod
        },
    )
}

fn any_stanza() -> impl Strategy<Value = Json> {
    (1u16..40000, any::<bool>(), any::<bool>()).prop_map(|(port, native, hold)| {
        json!({
            "url": "/ws", "port": port, "sidecar": if native { "native" } else { "container" },
            "drain": {"holdApp": hold},
        })
    })
}

proptest! {
    #[test]
    fn injecting_twice_is_injecting_once(raw in any_pod(), websocket in any_stanza()) {
        let once = injected(&raw, &websocket);
        let mut twice = once.clone();
        let app = app(&websocket);
        decide(&once, &app, |decision| match decision {
            Decision::AlreadyCurrent(injection) => injection::inject_pod(&mut twice, &injection, &rules()),
            other => panic!("{other:?}"),
        });
        prop_assert_eq!(once, twice);
    }

    /// As the API server applies it: to the raw pod.
    #[test]
    fn what_our_types_do_not_know_survives(raw in any_pod(), websocket in any_stanza()) {
        let once = patched(&raw, &websocket);
        prop_assert_eq!(&once["laterField"], &raw["laterField"]);
        for part in ["spec", "metadata"] {
            prop_assert_eq!(&once[part]["laterField"], &raw[part]["laterField"]);
        }
        for (key, value) in raw["spec"].as_object().unwrap() {
            let found = &once["spec"][key];
            prop_assert!(["containers", "initContainers", "volumes"].contains(&key.as_str()) || found == value);
        }
        prop_assert_eq!(patched(&once, &websocket), once);
    }

    #[test]
    fn the_patch_leaves_the_apps_containers_untouched(raw in any_pod(), websocket in any_stanza()) {
        let mut after = raw.clone();
        let typed: Pod = serde_json::from_value(raw.clone()).unwrap();
        let patch = injection::patch(&typed, &injected(&raw, &websocket)).unwrap();
        json_patch::patch(&mut after, &patch).unwrap();
        let hold = websocket["drain"]["holdApp"] == true;
        for list in ["containers", "initContainers", "volumes"] {
            let (before, after) = (items(&raw, list), items(&after, list));
            prop_assert!(after.len() <= before.len() + 1);
            for (index, item) in before.iter().enumerate() {
                let mut found = after[index].clone();
                if hold && list == "containers" && item.get("lifecycle").is_none() {
                    prop_assert!(found["lifecycle"]["preStop"]["sleep"]["seconds"].is_u64());
                    found.as_object_mut().unwrap().remove("lifecycle");
                }
                prop_assert_eq!(item, &found);
            }
        }
    }

    #[test]
    fn a_changed_stanza_replaces_the_gateway(raw in any_pod(), first in any_stanza(), second in any_stanza()) {
        let once = serde_json::to_value(injected(&raw, &first)).unwrap();
        let mut typed: Pod = serde_json::from_value(once).unwrap();
        let app = app(&second);
        decide(&typed.clone(), &app, |decision| {
            if let Decision::Inject(injection) = decision {
                injection::inject_pod(&mut typed, &injection, &rules());
            }
        });
        let spec = typed.spec.as_ref().unwrap();
        let gateways = ws_operator::shape::containers(spec)
            .filter(|container| container.name == "olares-ws-sidecar");
        prop_assert_eq!(gateways.count(), 1);
    }
}

fn patched(raw: &Json, websocket: &Json) -> Json {
    let before: Pod = serde_json::from_value(raw.clone()).unwrap();
    let mut after = before.clone();
    decide(&before, &app(websocket), |decision| match decision {
        Decision::Inject(injection) | Decision::AlreadyCurrent(injection) => {
            injection::inject_pod(&mut after, &injection, &rules());
        }
        other @ Decision::Skip(_) => panic!("{other:?}"),
    });
    let mut patched = raw.clone();
    let patch = injection::patch(&before, &after).unwrap();
    json_patch::patch(&mut patched, &patch).unwrap();
    patched
}

fn items(pod: &Json, list: &str) -> Vec<Json> {
    pod["spec"][list].as_array().cloned().unwrap_or_default()
}

/// Olares up to 1.12.6 puts Envoy into the pod, which captures what comes in.
#[test]
fn behind_the_platforms_envoy_nothing_is_led_to_the_gateway() {
    let rules = Rules {
        expose: ExposeRule::Always(Expose::Entrance),
        ..rules()
    };
    let bare: Pod = serde_json::from_value(pod()).unwrap();
    let envoy = json!([{"name": "chat"}, {"name": "olares-envoy-sidecar"}]);
    let behind: Pod = serde_json::from_value(pod_with("/spec/containers", envoy)).unwrap();
    let upstream = |pod: &Pod, websocket: &Json| {
        let (app, service) = (app(websocket), service());
        let claims = [Claim {
            app: &app,
            service: Some(&service),
        }];
        let shape = Shape::of_pod(&pod.metadata, pod.spec.as_ref());
        match desired(&shape, &claims, &rules) {
            Decision::Inject(injection) => injection.upstream,
            other => panic!("{other:?}"),
        }
    };
    assert!(upstream(&bare, &stanza()).is_some());
    assert_eq!(upstream(&behind, &stanza()), None);
    let stated = json!({"url": "/ws", "port": 80, "expose": "entrance"});
    assert!(upstream(&behind, &stated).is_some());
}

/// A webhook that comes after ours, and knows nothing of us, adds what Olares' does. Two containers
/// of one name are refused by the API server.
#[test]
fn a_gateway_that_another_webhook_adds_later_stays_alone() {
    for more in [
        json!({}),
        json!({"sidecar": "native"}),
        json!({"expose": "entrance"}),
    ] {
        let mut websocket = stanza();
        websocket
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let theirs = |pod: &mut Json| {
            let containers = pod["spec"]["containers"].as_array_mut().unwrap();
            containers.push(json!({"name": "olares-envoy-sidecar", "ofTomorrow": 1}));
            containers.push(json!({"name": "olares-ws-sidecar", "command": ["/ws-gateway"]}));
        };
        let mut before = pod_with("/spec/volumes", json!([{"name": "data", "emptyDir": {}}]));
        before["metadata"]["annotations"] = json!({"theirs": "1"});
        let mut after = patched(&before, &websocket);
        theirs(&mut after);
        let pod: Pod = serde_json::from_value(after.clone()).unwrap();
        decide(&pod, &app(&websocket), |decision| match decision {
            Decision::Skip(skip) => assert_eq!(skip.reason, Reason::PlatformInjected),
            other => panic!("{other:?}"),
        });
        json_patch::patch(&mut after, &injection::withdrawal(&pod).unwrap()).unwrap();
        let mut expected = before;
        theirs(&mut expected);
        if after["spec"]["initContainers"] == json!([]) {
            after["spec"]
                .as_object_mut()
                .unwrap()
                .remove("initContainers");
        }
        assert_eq!(after, expected, "{more}");
        let alone: Pod = serde_json::from_value(after).unwrap();
        assert_eq!(injection::withdrawal(&alone), None);
    }
    let ours: Pod = serde_json::from_value(patched(&pod(), &stanza())).unwrap();
    assert_eq!(injection::withdrawal(&ours), None);
}

/// A Job in a namespace of Olares up to 1.12.6.
#[test]
fn a_job_with_the_platforms_gateway_is_a_job() {
    let mut job = pod_with(
        "/spec/containers",
        json!([{"name": "chat"}, {"name": "olares-ws-sidecar"}]),
    );
    job["metadata"]["ownerReferences"][0]["kind"] = json!("Job");
    skipped(&job, &stanza(), Reason::Job);
}

/// The label is looked at in the pod itself: taken off, the next pod comes up bare at once.
#[test]
fn who_asks_by_label_asks_for_the_pods_with_the_label() {
    let object = json!({
        "metadata": {"name": "chat", "namespace": "chat-alice", "labels": {"ws.olares.com/source": "label"}},
        "spec": {"entrances": [{"host": "chat-svc"}], "options": {"websocket": stanza()}},
    });
    let app = App::read(serde_json::from_value(object).unwrap());
    let labels = |value: &str| json!({"app": "chat", "pod-template-hash": "5d8f", "ws.olares.com/inject": value});
    let labelled = serde_json::from_value(pod_with("/metadata/labels", labels("true"))).unwrap();
    decide(&labelled, &app, |decision| {
        assert!(matches!(decision, Decision::Inject(_)), "{decision:?}");
    });
    let plain = serde_json::from_value(pod()).unwrap();
    decide(&plain, &app, |decision| match decision {
        Decision::Skip(skip) => assert_eq!(skip.reason, Reason::NotLabelled),
        other => panic!("{other:?}"),
    });
    skipped(
        &pod_with("/metadata/labels", labels("false")),
        &stanza(),
        Reason::OptedOut,
    );
    // Asked for, and nothing can be done about it: not in silence.
    let mut bare = pod_with("/metadata/labels", labels("true"));
    bare["metadata"]["ownerReferences"] = json!([]);
    let bare: Pod = serde_json::from_value(bare).unwrap();
    let shape = Shape::of_pod(&bare.metadata, bare.spec.as_ref());
    let Decision::Skip(skip) = desired(&shape, &[], &rules()) else {
        panic!()
    };
    assert_eq!(skip.reason, Reason::BarePod);
}

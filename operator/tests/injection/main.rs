//! What injection does to a pod, whole, and what it never does.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod platform;
mod properties;
mod secrets;
mod support;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value as Json, json};
use ws_operator::app::App;
use ws_operator::injection::{self, Claim, Decision, Rules, desired};
use ws_operator::reason::Reason;
use ws_operator::shape::Shape;

use support::{
    app, decide, injected, injected_with, pod, pod_with, rules, service, skipped, stanza,
};

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
        ground: &ws_operator::cluster::Ground::default(),
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
    let spelled = json!({"port": "8888", "url": "/ws/message", "limits": {"message": "1024Ki"}});
    assert_eq!(
        injected(&pod(), &stanza()).metadata.annotations,
        injected(&pod(), &spelled).metadata.annotations
    );
}

/// What stands beside the app decides whom the gateway takes a name from.
#[test]
fn whose_word_on_a_users_name_counts() {
    let proxies = |websocket: &Json, beside: &[&str], rules: &Rules| {
        let mut pod = pod();
        let containers = pod["spec"]["containers"].as_array_mut().unwrap();
        containers.extend(beside.iter().map(|name| json!({"name": name})));
        let pod = injected_with(&pod, websocket, rules);
        let gateway = pod.spec.unwrap().containers.pop().unwrap();
        let options = gateway
            .env
            .unwrap()
            .into_iter()
            .find(|env| env.name == "WS_OPTIONS");
        let options = options
            .and_then(|env| env.value)
            .unwrap_or_else(|| "{}".to_owned());
        let options: Json = serde_json::from_str(&options).unwrap();
        options["identity"]["trustedProxies"].clone()
    };
    let rules = |olares| Rules {
        trusted_proxies: Vec::new(),
        olares: tokio::sync::watch::channel(olares).1,
        ..rules()
    };
    let private = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];
    let stated = json!({"url": "/ws", "port": 80, "identity": {"trustedProxies": ["10.9.0.0/16"]}});
    assert_eq!(proxies(&stanza(), &[], &rules(false)), Json::Null);
    assert_eq!(proxies(&stanza(), &[], &rules(true)), json!(private));
    assert_eq!(
        proxies(&stated, &["istio-proxy"], &rules(true)),
        json!(["10.9.0.0/16"])
    );
    let envoy = ["olares-envoy-sidecar"];
    assert_eq!(
        proxies(&stanza(), &envoy, &rules(false)),
        json!(["127.0.0.1/32"])
    );
    assert_eq!(
        proxies(&stanza(), &["linkerd-proxy"], &rules(false)),
        json!([])
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
    let owner = |api: &str, kind: &str| json!([{"apiVersion": api, "kind": kind, "name": "x", "uid": "1", "controller": true}]);
    let cases = [
        (
            "/metadata/labels",
            json!({"app": "worker"}),
            Reason::NotEntrance,
        ),
        ("/metadata/ownerReferences", json!([]), Reason::BarePod),
        (
            "/metadata/ownerReferences",
            owner("batch/v1", "Job"),
            Reason::Job,
        ),
        (
            "/metadata/ownerReferences",
            owner("v1", "Node"),
            Reason::OtherOwner,
        ),
        (
            "/metadata/ownerReferences",
            owner("apps.kruise.io/v1beta1", "StatefulSet"),
            Reason::OtherOwner,
        ),
        (
            "/metadata/annotations",
            json!({"ws.olares.com/inject": "false"}),
            Reason::OptedOut,
        ),
        ("/spec/hostNetwork", json!(true), Reason::HostNetwork),
        ("/spec/os", json!({"name": "windows"}), Reason::Windows),
        (
            "/spec/nodeSelector",
            json!({"kubernetes.io/os": "windows"}),
            Reason::Windows,
        ),
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
        ground: &ws_operator::cluster::Ground::default(),
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

//! Beside what Olares up to 1.12.6 puts into pods.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value as Json, json};
use stanza::choice::Expose;
use ws_operator::injection::{self, Claim, Decision, ExposeRule, Rules, desired};
use ws_operator::reason::Reason;
use ws_operator::shape::Shape;

use crate::support::{
    app, decide, patched, patched_with, pod, pod_with, rules, service, skipped, stanza,
};

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
            ground: &ws_operator::cluster::Ground::default(),
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
    let rules = Rules {
        pull_secrets: vec!["registry".to_owned(), "mirror".to_owned()],
        ..rules()
    };
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
        before["spec"]["imagePullSecrets"] = json!([{"name": "own"}, {"name": "mirror"}]);
        let mut after = patched_with(&before, &websocket, &rules);
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
    job["metadata"]["ownerReferences"][0]["apiVersion"] = json!("batch/v1");
    skipped(&job, &stanza(), Reason::Job);
}

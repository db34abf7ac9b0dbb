//! What holds for any pod and any stanza.

use k8s_openapi::api::core::v1::Pod;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use ws_operator::injection::{self, Decision, Rules};

use crate::support::{app, decide, injected_with, patched_with, pod_with, rules};

/// With Secrets for the gateway's image, which a pod may have of its own.
fn pulling(secrets: &[&str]) -> Rules {
    Rules {
        pull_secrets: secrets.iter().map(|&name| name.to_owned()).collect(),
        ..rules()
    }
}

fn injected(raw: &Json, websocket: &Json) -> Pod {
    injected_with(raw, websocket, &pulling(&["registry", "mirror"]))
}

fn patched(raw: &Json, websocket: &Json) -> Json {
    patched_with(raw, websocket, &pulling(&["registry", "mirror"]))
}

fn container() -> impl Strategy<Value = Json> {
    ("[a-z]{1,8}", proptest::option::of(1024u16..40000), 0..5).prop_map(|(name, port, hook)| {
        let mut container = json!({"name": name, "image": "app:1"});
        if let Some(port) = port {
            container["ports"] = json!([{"containerPort": port}]);
        }
        // Of a Kubernetes that our types do not know yet.
        container["laterField"] = json!({"deep": [{"port": port}, null]});
        match hook {
            0 => container["lifecycle"] = json!({"preStop": {"exec": {"command": ["sh"]}}}),
            1 => container["lifecycle"] = json!({"preStop": {"sleep": {"seconds": 3}}}),
            2 => container["lifecycle"] = json!({"postStart": {"exec": {"command": ["sh"]}}}),
            _ => {}
        }
        container
    })
}

/// As the API server demands.
fn named_apart(mut containers: Vec<Json>) -> Vec<Json> {
    for (index, container) in containers.iter_mut().enumerate() {
        let name = container["name"].as_str().unwrap();
        container["name"] = json!(format!("{name}{index}"));
    }
    containers
}

fn any_pod() -> impl Strategy<Value = Json> {
    let containers = proptest::collection::vec(container(), 1..4);
    let inits = proptest::option::of(proptest::collection::vec(container(), 1..3));
    let volumes = proptest::option::of(proptest::collection::vec("[a-z]{1,8}", 1..3));
    let pulls = proptest::option::of(proptest::sample::subsequence(
        vec!["own", "registry", "other", "mirror"],
        1..4,
    ));
    let annotations = proptest::option::of(proptest::collection::btree_map(
        "[a-z]{1,8}",
        "[ -~]{0,8}",
        1..3,
    ));
    (containers, inits, volumes, pulls, annotations).prop_map(
        |(containers, inits, volumes, pulls, annotations)| {
            let mut pod = pod_with("/spec/containers", json!(named_apart(containers)));
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
            if let Some(pulls) = pulls {
                let pulls: Vec<_> = pulls.iter().map(|name| json!({"name": name})).collect();
                pod["spec"]["imagePullSecrets"] = json!(pulls);
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
            Decision::AlreadyCurrent(injection) => {
                injection::inject_pod(&mut twice, &injection, &pulling(&["registry", "mirror"]));
            }
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
            prop_assert!(["containers", "initContainers", "volumes", "imagePullSecrets"].contains(&key.as_str()) || found == value);
        }
        prop_assert_eq!(patched(&once, &websocket), once);
    }

    /// But for the sleep of `drain.holdApp`, in those that have no preStop hook.
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
                let mut expected = item.clone();
                if hold && list == "containers" && item["lifecycle"].get("preStop").is_none() {
                    let sleep = json!({"sleep": after[index]["lifecycle"]["preStop"]["sleep"]});
                    prop_assert!(sleep["sleep"]["seconds"].is_u64());
                    expected["lifecycle"]["preStop"] = sleep;
                }
                prop_assert_eq!(&expected, &after[index]);
            }
        }
    }

    /// Of any stanza, also over one of before.
    #[test]
    fn taken_out_again_the_pod_is_as_it_was(raw in any_pod(), websocket in any_stanza(), second in any_stanza()) {
        let before: Pod = serde_json::from_value(raw.clone()).unwrap();
        let mut pod = injected(&raw, &websocket);
        decide(&pod.clone(), &app(&second), |decision| {
            if let Decision::Inject(injection) = decision {
                let rules = pulling(&["mirror", "later"]);
                injection::inject_pod(&mut pod, &injection, &rules);
            }
        });
        injection::uninject(&mut pod.metadata, pod.spec.as_mut().unwrap());
        prop_assert_eq!(pod, before);
    }

    /// Another webhook puts the platform's gateway in after ours.
    #[test]
    fn withdrawn_the_pod_is_as_it_was_beside_the_other_gateway(raw in any_pod(), websocket in any_stanza()) {
        let other = json!({"name": "olares-ws-sidecar", "image": "beclab/ws:1"});
        let with_other = |mut pod: Json| {
            pod["spec"]["containers"].as_array_mut().unwrap().push(other.clone());
            pod
        };
        let mut both = with_other(patched(&raw, &websocket));
        let typed: Pod = serde_json::from_value(both.clone()).unwrap();
        json_patch::patch(&mut both, &injection::withdrawal(&typed).unwrap()).unwrap();
        // As the API server leaves it: empty lists and maps are none.
        let plain = |raw: Json| serde_json::from_value::<Pod>(raw).map(|mut pod| {
            pod.metadata.annotations.take_if(|all| all.is_empty());
            let spec = pod.spec.as_mut().unwrap();
            spec.volumes.take_if(|all| all.is_empty());
            spec.init_containers.take_if(|all| all.is_empty());
            spec.image_pull_secrets.take_if(|all| all.is_empty());
            pod
        });
        prop_assert_eq!(plain(both).unwrap(), plain(with_other(raw)).unwrap());
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

fn items(pod: &Json, list: &str) -> Vec<Json> {
    pod["spec"][list].as_array().cloned().unwrap_or_default()
}

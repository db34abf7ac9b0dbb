//! Secrets that the stanza names: mounted for the gateway alone, by reference alone.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value as Json, json};
use ws_operator::injection;

use super::support::{injected, patched, pod, stanza};

fn with_secrets(signing: &str) -> Json {
    let mut websocket = stanza();
    websocket["callback"] = json!({"signing": {"secretFrom": {"name": signing, "key": "keys"}}});
    websocket["admin"] = json!({"token": {"secretFrom": {"name": "chat-admin", "key": "token"}}});
    websocket
}

fn hash(pod: &Pod) -> &str {
    &pod.metadata.annotations.as_ref().unwrap()["ws.olares.com/injected"]
}

#[test]
fn the_gateway_gets_them_as_files_and_nobody_else() {
    let spec = injected(&pod(), &with_secrets("chat-signing"))
        .spec
        .unwrap();
    let spec = serde_json::to_value(spec).unwrap();
    assert_eq!(
        spec["volumes"][1],
        json!({
            "name": "olares-ws-secrets",
            "projected": {"defaultMode": 0o444, "sources": [
                {"secret": {
                    "name": "chat-signing", "optional": true,
                    "items": [{"key": "keys", "path": "callback-signing"}],
                }},
                {"secret": {
                    "name": "chat-admin", "optional": true,
                    "items": [{"key": "token", "path": "admin-token"}],
                }},
            ]},
        })
    );
    let gateway = &spec["containers"][1];
    assert_eq!(
        gateway["volumeMounts"][1],
        json!({"name": "olares-ws-secrets", "mountPath": "/etc/ws-gateway", "readOnly": true})
    );
    let variable = |name: &str| {
        let mut all = gateway["env"].as_array().unwrap().iter();
        all.find(|one| one["name"] == name).map(|one| &one["value"])
    };
    assert_eq!(
        variable("WS_CALLBACK_SIGNING_FILE").unwrap(),
        "/etc/ws-gateway/callback-signing"
    );
    assert_eq!(
        variable("WS_ADMIN_TOKEN_FILE").unwrap(),
        "/etc/ws-gateway/admin-token"
    );
    assert_eq!(spec["containers"][0], pod()["spec"]["containers"][0]);
}

/// Another Secret is another gateway; what is in one the operator never sees.
#[test]
fn the_hash_covers_which_secret_it_is() {
    let without = injected(&pod(), &stanza());
    let one = injected(&pod(), &with_secrets("chat-signing"));
    let other = injected(&pod(), &with_secrets("chat-keys"));
    assert_ne!(hash(&without), hash(&one));
    assert_ne!(hash(&one), hash(&other));
    assert_eq!(
        hash(&one),
        hash(&injected(&pod(), &with_secrets("chat-signing")))
    );
}

#[test]
fn they_go_when_the_stanza_names_them_no_more() {
    let with = patched(&pod(), &with_secrets("chat-signing"));
    let without = patched(&with, &stanza());
    assert_eq!(without["spec"], patched(&pod(), &stanza())["spec"]);

    let mut bare: Pod = serde_json::from_value(with).unwrap();
    injection::uninject(&mut bare.metadata, bare.spec.as_mut().unwrap());
    let before: Pod = serde_json::from_value(pod()).unwrap();
    assert_eq!(bare, before);
}

/// Where another webhook brings a gateway of its own, ours goes with both of its volumes.
#[test]
fn a_withdrawal_takes_the_volumes_along() {
    let mut raw = pod();
    raw["spec"]["volumes"] = json!([{"name": "app", "emptyDir": {}}]);
    let mut raw = patched(&raw, &with_secrets("chat-signing"));
    let volumes = raw["spec"]["volumes"].as_array_mut().unwrap();
    volumes.push(json!({"name": "later", "emptyDir": {}}));
    let containers = raw["spec"]["containers"].as_array_mut().unwrap();
    containers.push(json!({"name": "olares-ws-sidecar", "image": "theirs"}));
    let typed: Pod = serde_json::from_value(raw.clone()).unwrap();
    let patch = injection::withdrawal(&typed).unwrap();
    json_patch::patch(&mut raw, &patch).unwrap();
    let names: Vec<&Json> = raw["spec"]["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|volume| &volume["name"])
        .collect();
    assert_eq!(names, ["app", "later"]);
}

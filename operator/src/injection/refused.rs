//! A pod whose like the API server refused with the gateway.

use k8s_openapi::api::core::v1::Pod;
use ring::digest;
use serde_json::json;

use super::{Injection, Rules, container, hash, uninject};
use crate::cluster::Refused;
use crate::names;
use crate::webhook::door::hex;

/// With what the API server is tried: what of it changes is worth another attempt.
pub fn attempt(injection: &Injection<'_>, rules: &Rules) -> String {
    let Injection {
        websocket, ground, ..
    } = injection;
    let text = json!([
        rules.image,
        rules.pull_secrets,
        container::asked(websocket, rules),
        ground.conditions(),
    ]);
    let digest = digest::digest(&digest::SHA256, text.to_string().as_bytes());
    let written = hash::written(&injection.hash);
    format!("{written}-{}", hex(&digest.as_ref()[..8]))
}

/// Lets a pod in as it is, whose like the API server refused with the gateway.
pub fn let_in(pod: &mut Pod, injection: &Injection<'_>, rules: &Rules, words: &str) {
    uninject(&mut pod.metadata, pod.spec.get_or_insert_default());
    let note = Refused {
        attempt: attempt(injection, rules),
        words: words.to_owned(),
    };
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(names::REFUSED.to_owned(), note.note());
}

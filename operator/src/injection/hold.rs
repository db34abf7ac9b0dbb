//! `drain.holdApp`: the app's containers end a little later, so that close callbacks find them.
//!
//! It is the one thing that we write into the app's own containers. Which ones is noted on the pod,
//! so that the way back takes out our sleep and nobody else's.

use k8s_openapi::api::core::v1::{Container, Lifecycle, LifecycleHandler, PodSpec, SleepAction};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use stanza::{WebSocket, env};

use crate::names;

/// Seconds that the app is held beside the time over which clients are sent away, for its
/// close callbacks.
const MARGIN: u64 = 2;

/// Gives app containers that have no preStop hook a sleep.
pub(super) fn hold(metadata: &mut ObjectMeta, spec: &mut PodSpec, websocket: &WebSocket) {
    let drain = &websocket.gateway.drain;
    let seconds = drain.spread.min(drain.timeout).as_secs() + MARGIN;
    let sleep = LifecycleHandler {
        sleep: Some(SleepAction {
            seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
        }),
        ..LifecycleHandler::default()
    };
    let mut held = Vec::new();
    for container in &mut spec.containers {
        let has_hook = |lifecycle: &Lifecycle| lifecycle.pre_stop.is_some();
        if container.name == env::CONTAINER || container.lifecycle.as_ref().is_some_and(has_hook) {
            continue;
        }
        container.lifecycle.get_or_insert_default().pre_stop = Some(sleep.clone());
        held.push(container.name.as_str());
    }
    if !held.is_empty() {
        let annotations = metadata.annotations.get_or_insert_default();
        annotations.insert(names::HELD.to_owned(), held.join(","));
    }
}

/// Takes the sleep out again.
pub(super) fn release(metadata: &mut ObjectMeta, spec: &mut PodSpec) {
    for index in held(metadata, spec) {
        let lifecycle = &mut spec.containers[index].lifecycle;
        if let Some(lifecycle) = lifecycle.as_mut() {
            lifecycle.pre_stop = None;
        }
        lifecycle.take_if(|lifecycle| *lifecycle == Lifecycle::default());
    }
    if let Some(annotations) = metadata.annotations.as_mut() {
        annotations.remove(names::HELD);
    }
}

/// What has to be removed of a pod as it was sent to us, as JSON pointers.
pub(super) fn paths(metadata: &ObjectMeta, spec: &PodSpec) -> Vec<String> {
    let path = |index: usize| {
        let lifecycle = spec.containers[index].lifecycle.as_ref();
        let more =
            lifecycle.is_some_and(|one| one.post_start.is_some() || one.stop_signal.is_some());
        let hook = if more { "/preStop" } else { "" };
        format!("/spec/containers/{index}/lifecycle{hook}")
    };
    held(metadata, spec).into_iter().map(path).collect()
}

/// The places of the containers that sleep by our doing.
fn held(metadata: &ObjectMeta, spec: &PodSpec) -> Vec<usize> {
    let annotations = metadata.annotations.as_ref();
    let Some(noted) = annotations.and_then(|all| all.get(names::HELD)) else {
        return Vec::new();
    };
    let sleeps = |container: &Container| {
        let hook = container
            .lifecycle
            .as_ref()
            .and_then(|all| all.pre_stop.as_ref());
        hook.is_some_and(|hook| hook.sleep.is_some())
    };
    let containers = spec.containers.iter().enumerate();
    containers
        .filter(|(_, one)| sleeps(one) && noted.split(',').any(|name| name == one.name))
        .map(|(index, _)| index)
        .collect()
}

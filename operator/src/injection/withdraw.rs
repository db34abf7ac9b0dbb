//! The way back for a pod that another webhook gave a gateway too, after we had.
//!
//! The API server refuses two containers of one name, so the pod would not start at all. We see it
//! once more, as our webhook asks to be called again after such a change, and stand down.

use json_patch::Patch;
use k8s_openapi::api::core::v1::{Container, Pod};
use serde_json::{Value as Json, json};
use stanza::env;

use super::{annotation, hold, pull};
use crate::names;
use crate::shape::containers;

/// Takes our gateway out where it is not the only one. Removals by place, and no comparison: the
/// items behind them move up whole, with what our API types do not know.
pub fn withdrawal(pod: &Pod) -> Option<Patch> {
    let spec = pod.spec.as_ref()?;
    if containers(spec).filter(|one| is_gateway(one)).count() < 2 {
        return None;
    }
    // Before anything moves up.
    let mut paths = hold::paths(&pod.metadata, spec);
    let sleeps = paths.len();
    let lists = [
        ("containers", Some(&spec.containers)),
        ("initContainers", spec.init_containers.as_ref()),
    ];
    for (list, items) in lists {
        let ours = |one: &Container| is_gateway(one) && is_ours(one);
        let found = items.and_then(|items| items.iter().position(ours));
        paths.extend(found.map(|index| format!("/spec/{list}/{index}")));
    }
    if paths.len() == sleeps {
        return None;
    }
    let volumes = spec.volumes.iter().flatten().enumerate();
    let ours = volumes.filter(|(_, volume)| names::VOLUMES.contains(&volume.name.as_str()));
    // From the end, as what is behind moves up.
    let mut places: Vec<usize> = ours.map(|(index, _)| index).collect();
    places.reverse();
    paths.extend(places.iter().map(|index| format!("/spec/volumes/{index}")));
    paths.extend(pull::paths(&pod.metadata, spec));
    let annotations = pod.metadata.annotations.iter().flatten();
    let ours = annotations.filter(|(key, _)| names::ON_PODS.contains(&key.as_str()));
    paths.extend(ours.map(|(key, _)| annotation(key)));
    let removals: Json = paths
        .iter()
        .map(|path| json!({"op": "remove", "path": path}))
        .collect();
    serde_json::from_value(removals).ok()
}

fn is_gateway(container: &Container) -> bool {
    container.name == env::CONTAINER
}

/// Nobody else's has our journal.
fn is_ours(container: &Container) -> bool {
    let mut mounts = container.volume_mounts.iter().flatten();
    mounts.any(|mount| mount.name == names::JOURNAL_VOLUME)
}

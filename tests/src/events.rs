//! Kubernetes Events, as the tests look for them.

use anyhow::Result;
use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;

use crate::cluster::Namespace;
use crate::wait::{Look, until};

pub async fn all(namespace: &Namespace) -> Result<Vec<Event>> {
    let all = ListParams::default();
    Ok(namespace.api().list(&all).await?.items)
}

/// Until there is one that `is_it`.
pub async fn wait_until(
    namespace: &Namespace,
    what: &str,
    is_it: impl Fn(&Event) -> bool,
) -> Result<()> {
    until(&format!("an Event {what}"), || async {
        let all = all(namespace).await?;
        let seen: Vec<String> = all.iter().map(describe).collect();
        Ok(Look::when(all.iter().any(&is_it), (), seen.join("; ")))
    })
    .await
}

/// Until there is one of that reason, and type, on that object.
pub async fn wait_for(
    namespace: &Namespace,
    (kind, name): (&str, &str),
    reason: &str,
    type_: &str,
) -> Result<()> {
    let what = format!("{type_} {reason} on {kind} {name}");
    wait_until(namespace, &what, |event| {
        concerns(event, kind, name)
            && event.reason.as_deref() == Some(reason)
            && event.type_.as_deref() == Some(type_)
    })
    .await
}

/// Whether its message has all these words.
pub fn says(event: &Event, words: &[&str]) -> bool {
    let message = event.message.as_deref().unwrap_or_default();
    words.iter().all(|word| message.contains(word))
}

/// Admission may be asked before the Deployment is known: then the Event is on the ReplicaSet.
fn concerns(event: &Event, kind: &str, name: &str) -> bool {
    let object = &event.involved_object;
    let (of, found) = (object.kind.as_deref(), object.name.as_deref());
    let its_set = |found: &str| {
        found
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('-'))
    };
    of == Some(kind) && found == Some(name)
        || kind == "Deployment" && of == Some("ReplicaSet") && found.is_some_and(its_set)
}

fn describe(event: &Event) -> String {
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    let object = &event.involved_object;
    format!(
        "{} {}: {} {}: {}",
        text(&object.kind),
        text(&object.name),
        text(&event.type_),
        text(&event.reason),
        text(&event.message)
    )
}

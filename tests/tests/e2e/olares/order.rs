//! A platform's webhook that is called after ours.

use std::sync::Arc;

use anyhow::{Result, ensure};
use e2e::cluster::Namespace;
use e2e::olares::{ENVOY, GATEWAY, Platform, Sandbox};
use e2e::small::{Small, apply};
use e2e::{admission, manifest};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::BOTH;
use super::looks::containers;
use crate::trust::of_a_replica_set;

/// Webhooks are called in the order of their names, and Olares' comes before ours. One that comes
/// after adds its own to what we added: ours is taken back, as two of a name are refused.
pub(crate) async fn a_platform_that_comes_after_us(namespace: Arc<Namespace>) -> Result<()> {
    let small = Small::deployment("small");
    apply(
        &namespace,
        &[
            small.service(),
            small.manifest(&json!({"expose": "entrance"})),
        ],
    )?;
    manifest::wait_for(&namespace, "small", "Accepted", "True").await?;
    let platform = Platform::start(&namespace).await?;
    let outcome = in_any_way(&namespace, &platform, &of_a_replica_set(&small)?).await;
    let ended = platform.end().await;
    outcome.and(ended)
}

async fn in_any_way(namespace: &Namespace, platform: &Platform, pod: &Pod) -> Result<()> {
    let name = "zz-sandbox-webhook";
    for again in [false, true] {
        for (adds, ours, expected) in [
            (&BOTH[..], false, &["main", ENVOY, GATEWAY][..]),
            (&[GATEWAY], false, &["main", GATEWAY]),
            (&[ENVOY], true, &["main", GATEWAY, ENVOY]),
        ] {
            platform.play(Sandbox { name, adds, again }).await?;
            let (pod, warnings) = admission::create(namespace, "pods", pod).await?;
            let shown = format!("{adds:?}, again: {again}: {pod:#} {warnings:?}");
            ensure!(
                containers(&serde_json::from_value(pod)?) == expected,
                "{shown}"
            );
            // Nothing of ours stays behind without our gateway.
            for mark in [
                "ws.olares.com/injected",
                "ws.olares.com/app",
                "olares-ws-journal",
            ] {
                ensure!(shown.contains(mark) == ours, "{mark}: {shown}");
            }
        }
    }
    Ok(())
}

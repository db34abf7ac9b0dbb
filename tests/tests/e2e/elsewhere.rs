//! Flux may keep a release's Secret in another namespace than the release's objects.

use std::sync::Arc;

use anyhow::{Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use e2e::cluster::Namespace;
use e2e::command::kubectl;
use e2e::small::{Small, apply};
use e2e::wait::{Look, until};
use e2e::{events, manifest};
use serde_json::json;

const MANIFEST: &str = "entrances: [{name: small, host: small, port: 80}]\n\
                        options: {websocket: {url: /ws/message, port: 8888}}\n";

/// The label that Flux' helm-controller puts on whatever a HelmRelease of that namespace makes.
pub(crate) async fn a_release_whose_objects_are_in_another_namespace(
    storage: Arc<Namespace>,
) -> Result<()> {
    let target = Namespace::create("e2e-target").await?;
    let outcome = beside(&storage, &target).await;
    target.delete().await?;
    outcome
}

async fn beside(storage: &Namespace, target: &Namespace) -> Result<()> {
    let small = Small::deployment("small");
    small.start(target)?;
    let files = json!([{"name": "OlaresManifest.yaml", "data": STANDARD.encode(MANIFEST)}]);
    let release = json!({
        "name": "chat", "namespace": target.name, "version": 1, "chart": {"files": files},
    });
    let name = "sh.helm.release.v1.chat.v1";
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
        "metadata": {
            "name": name,
            "labels": {"owner": "helm", "name": "chat", "status": "deployed", "version": "1"},
        },
        "stringData": {"release": STANDARD.encode(release.to_string())},
    });
    apply(storage, &[secret])?;

    // A Secret here speaks for nobody's pods there.
    events::wait_for(storage, ("Secret", name), "ReleaseElsewhere", "Warning").await?;
    for namespace in [storage, target] {
        let found = manifest::all(namespace).await?;
        ensure!(found.is_empty(), "{}: {found:?}", namespace.name);
    }

    let label = format!("helm.toolkit.fluxcd.io/namespace={}", storage.name);
    let place = ["-n", &target.name];
    kubectl(
        place
            .into_iter()
            .chain(["label", "service", "small", &label]),
    )?;
    let ready = manifest::wait_for(target, "chat", "Ready", "True").await?;
    let labels = ready.metadata.labels.unwrap_or_default();
    ensure!(
        labels.get("ws.olares.com/source").map(String::as_str) == Some("helm"),
        "{labels:?}"
    );
    ensure!(manifest::all(storage).await?.is_empty());

    // It goes with the release.
    let place = ["-n", &storage.name];
    kubectl(place.into_iter().chain(["delete", "secret", name]))?;
    until("the AppManifest to be gone", || async {
        let found = manifest::all(target).await?;
        Ok(Look::when(found.is_empty(), (), format!("{found:?}")))
    })
    .await
}

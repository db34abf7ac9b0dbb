//! Errors of ours, provoked where the API server sees them: the object gets in, with a warning
//! where there is anybody left to give one.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use e2e::cluster::Namespace;
use e2e::command::kubectl;
use e2e::small::{Small, apply};
use e2e::wait::{Look, until};
use e2e::{admission, events, manifest, operator};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value as Json, json};

/// A configuration of the tests' own sends the webhook what it cannot make sense of.
pub(crate) async fn what_the_webhook_cannot_read_gets_in(namespace: Arc<Namespace>) -> Result<()> {
    let small = Small::deployment("small");
    apply(&namespace, &[small.service(), small.manifest(&json!({}))])?;
    manifest::wait_for(&namespace, "small", "Accepted", "True").await?;
    let name = format!("misdirected-{}", namespace.name);
    let outcome = misdirected(&namespace, &name).await;
    kubectl(["delete", "mutatingwebhookconfiguration", &name])?;
    outcome
}

/// What a tenant's release unpacks to is no matter of the other tenants, nor of admission.
pub(crate) async fn a_release_that_is_a_bomb_is_skipped_and_told(
    namespace: Arc<Namespace>,
) -> Result<()> {
    let before = operator::restarts()?;
    let release = json!({"chart": {"values": " ".repeat(16 << 20)}});
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(release.to_string().as_bytes())?;
    let name = "sh.helm.release.v1.bomb.v1";
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
        "metadata": {
            "name": name,
            "labels": {"owner": "helm", "name": "bomb", "status": "deployed", "version": "1"},
        },
        "stringData": {"release": STANDARD.encode(gzip.finish()?)},
    });
    let small = Small::deployment("small");
    apply(&namespace, &[secret])?;
    events::wait_for(&namespace, ("Secret", name), "ReleaseUnreadable", "Warning").await?;
    apply(
        &namespace,
        &[
            small.service(),
            small.manifest(&json!({})),
            small.workload(),
        ],
    )?;
    manifest::wait_for(&namespace, "small", "Ready", "True").await?;
    ensure!(operator::restarts()? == before, "a replica was restarted");
    Ok(())
}

async fn misdirected(namespace: &Namespace, name: &str) -> Result<()> {
    // Another kind than pods, and a path where nobody answers.
    let pods = installed("service.path")?;
    let entries = [("configmaps", pods.as_str()), ("secrets", "/nowhere")];
    let webhooks: Vec<Json> = entries
        .into_iter()
        .map(|(resource, path)| entry(namespace, resource, path))
        .collect::<Result<_>>()?;
    apply(
        namespace,
        &[json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": name}, "webhooks": webhooks,
        })],
    )?;
    let object = |kind| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "stranger"}});
    until("a warning about the ConfigMap", || async {
        let (_, warnings) =
            admission::create(namespace, "configmaps", &object("ConfigMap")).await?;
        let told = |warning: &String| warning.contains("ws-operator: InternalError: ");
        Ok(Look::when(
            warnings.iter().any(told),
            (),
            format!("{warnings:?}"),
        ))
    })
    .await?;
    ensure!(operator::admissions("skip", "internal-error")? > 0.0);
    // Nobody is told of what only might be.
    apply(namespace, &[object("ConfigMap")])?;
    let stranger = ("ConfigMap", "stranger");
    events::wait_for(namespace, stranger, "InternalError", "Warning").await?;
    let (created, _) = admission::create(namespace, "secrets", &object("Secret")).await?;
    ensure!(created["metadata"]["name"] == "stranger", "{created}");
    Ok(())
}

fn entry(namespace: &Namespace, resource: &str, path: &str) -> Result<Json> {
    let bundle = installed("caBundle")?;
    let names = json!({"kubernetes.io/metadata.name": namespace.name});
    let service =
        json!({"name": "ws-operator", "namespace": operator::NAMESPACE, "path": path, "port": 443});
    Ok(json!({
        "name": format!("{resource}.e2e.test"),
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"caBundle": bundle, "service": service},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [resource]}],
        "namespaceSelector": {"matchLabels": names},
        "failurePolicy": "Ignore", "sideEffects": "NoneOnDryRun", "timeoutSeconds": 3,
    }))
}

/// What the operator has written into the first webhook.
fn installed(field: &str) -> Result<String> {
    let path = format!("jsonpath={{.webhooks[0].clientConfig.{field}}}");
    let kind = "mutatingwebhookconfiguration";
    let found = kubectl(["get", kind, "ws-operator", "-o", &path])?;
    ensure!(!found.is_empty(), "no {field}");
    Ok(found)
}

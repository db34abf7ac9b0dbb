//! `ws-operator doctor`: nothing to say of a healthy operator, and what is broken is named.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use e2e::cluster::Namespace;
use e2e::command::{kubectl, operator as program};
use e2e::operator;
use e2e::wait::{Look, until};
use serde_json::Value as Json;

const CONFIGURATION: &str = "ws-operator";

pub(crate) async fn a_healthy_operator_and_broken_ones(_: Arc<Namespace>) -> Result<()> {
    healthy("a fresh install").await?;
    from_within()?;

    // Nobody answers.
    operator::scale(0).await?;
    let found = broken()?;
    finding(&found, "operator", "scaled to zero")?;
    finding(&found, "lease", "no active leader")?;
    finding(&found, "webhook", "without the webhook's mark")?;
    operator::scale(2).await?;
    healthy("after the operator came back").await?;

    // Rights and trust are taken away: the operator cannot mend the caBundle by itself.
    let role = Saved::read("clusterrole", "ws-operator")?;
    let mut less = role.object.clone();
    let rules = less["rules"].as_array_mut().context("no rules")?;
    rules.retain(|rule| rule["resources"][0] != "mutatingwebhookconfigurations");
    replace(&less)?;
    let configuration = Saved::read("mutatingwebhookconfiguration", CONFIGURATION)?;
    let mut foreign = configuration.object.clone();
    let other = e2e::authority::Authority::new("nobody's")?.certificate();
    for webhook in foreign["webhooks"].as_array_mut().context("no webhooks")? {
        webhook["clientConfig"]["caBundle"] = e2e::authority::encode(&other).into();
    }
    replace(&foreign)?;
    let found = broken()?;
    finding(&found, "certificate", "does not vouch for")?;
    finding(
        &found,
        "rights",
        "patch mutatingwebhookconfigurations ws-operator",
    )?;
    finding(&found, "webhook", "without the webhook's mark")?;
    role.restore()?;
    healthy("after the operator mended the caBundle").await?;

    // What only an installation would make is made again, by rights that end at the namespace.
    let place = ["-n", operator::NAMESPACE, "delete"];
    kubectl(place.into_iter().chain(["lease", "ws-operator"]))?;
    kubectl(place.into_iter().chain(["secret", "ws-operator-ca"]))?;
    healthy("after its Lease and its Secret were lost").await?;

    kubectl(["delete", "mutatingwebhookconfiguration", CONFIGURATION])?;
    let found = broken()?;
    finding(
        &found,
        "configuration",
        "there is no MutatingWebhookConfiguration ws-operator",
    )?;
    configuration.restore()?;
    healthy("after the configuration came back").await
}

/// Waits until nothing is broken: what was changed takes a moment to be seen by all.
async fn healthy(when: &str) -> Result<()> {
    until(&format!("a healthy operator {when}"), || async {
        let (code, text) = program(&["doctor"])?;
        Ok(Look::when(code == 0, (), text))
    })
    .await?;
    let (_, text) = program(&["doctor"])?;
    for good in [
        "good     server",
        "good     crd",
        "good     operator: 2 of 2 replicas of ws-operator are ready",
        "good     version: operator 0.1.0",
        "good     lease",
        "good     secret: ws-operator-ca is there",
        "good     configuration: ws-operator has its 3 webhooks",
        "good     caBundle",
        "good     certificate",
        "good     webhook: the API server reaches the webhook",
        "good     sources: Helm releases are read from Secrets of all namespaces",
        "good     rights: system:serviceaccount:ws-operator:ws-operator has",
    ] {
        ensure!(text.contains(good), "{when}: no {good:?} in\n{text}");
    }
    Ok(())
}

/// In the operator's pod, under its ServiceAccount, everything but reviews of others' rights can be seen.
fn from_within() -> Result<()> {
    let text = kubectl([
        "-n",
        operator::NAMESPACE,
        "exec",
        "deployment/ws-operator",
        "--",
        "/ws-operator",
        "doctor",
    ])?;
    ensure!(text.contains("good     rights: whoever asks has"), "{text}");
    ensure!(text.matches("good     certificate").count() == 2, "{text}");
    Ok(())
}

/// The findings, as JSON; something must be broken.
fn broken() -> Result<Vec<Json>> {
    let (code, text) = program(&["doctor", "-o", "json"])?;
    ensure!(code == 1, "ended with {code}: {text}");
    let found: Vec<Json> = serde_json::from_str(&text).with_context(|| text.clone())?;
    for one in &found {
        let named = one["grade"] == "good" || (one["fix"].is_string() && one["link"].is_string());
        ensure!(named, "no fix or link: {one}");
    }
    Ok(found)
}

fn finding(all: &[Json], check: &str, words: &str) -> Result<()> {
    let there = all.iter().any(|one| {
        let message = one["message"].as_str().unwrap_or_default();
        one["check"] == check && one["grade"] == "broken" && message.contains(words)
    });
    ensure!(there, "no broken {check} with {words:?} in {all:#?}");
    Ok(())
}

/// An object as it was.
struct Saved {
    /// Without what the API server writes itself.
    object: Json,
    /// Who applied it: Helm, by the name it takes.
    author: String,
}

impl Saved {
    fn read(kind: &str, name: &str) -> Result<Self> {
        let words = ["get", kind, name, "-o", "json", "--show-managed-fields"];
        let mut object: Json = serde_json::from_str(&kubectl(words)?)?;
        let metadata = object["metadata"].as_object_mut().context("no metadata")?;
        let managers = metadata.remove("managedFields").unwrap_or_default();
        let mut managers = managers.as_array().into_iter().flatten();
        let helm = managers
            .find(|one| one["operation"] == "Apply" && one["manager"] != operator::FIELD_MANAGER);
        let author = helm.and_then(|one| one["manager"].as_str());
        for field in ["resourceVersion", "uid", "creationTimestamp", "generation"] {
            metadata.remove(field);
        }
        // The operator's own fields.
        let webhooks = object.get_mut("webhooks").and_then(Json::as_array_mut);
        for webhook in webhooks.into_iter().flatten() {
            if let Some(config) = webhook["clientConfig"].as_object_mut() {
                config.remove("caBundle");
                let service = config.get_mut("service").and_then(Json::as_object_mut);
                service.and_then(|service| service.remove("path"));
            }
        }
        Ok(Self {
            author: author.unwrap_or("helm").to_owned(),
            object,
        })
    }

    /// As Helm would, so that the next upgrade meets no other owner of a field.
    fn restore(&self) -> Result<()> {
        let manager = format!("--field-manager={}", self.author);
        let how = ["apply", "--server-side", "--force-conflicts", &manager];
        with_file(&how, &self.object)
    }
}

fn replace(object: &Json) -> Result<()> {
    with_file(&["replace"], object)
}

fn with_file(words: &[&str], object: &Json) -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), object.to_string())?;
    let path = file.path().display().to_string();
    kubectl(words.iter().copied().chain(["-f", &path])).map(drop)
}

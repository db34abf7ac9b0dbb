//! `ws-operator inject` and `uninject`: the webhook's decision on files, for GitOps.

mod document;
mod edit;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt;
use serde_json::{Map, Value as Json, json};
use tokio::sync::watch;

use super::chart;
use crate::api::AppManifest;
use crate::app::{App, AppId};
use crate::ask::Ask;
use crate::cluster::{Cluster, Facts, ServiceFacts};
use crate::injection::{self, Decision, desired};
use crate::reason::Reason;
use crate::settings::GatewaySettings;
use crate::shape::{Gateway, Shape, Workload, WorkloadKind};
use crate::source::pod_label;
use document::Document;

/// Put the gateway into workloads in files, for GitOps
///
/// Decides as the webhook does, with the AppManifests, labels and Services that stand in the files. What
/// is not injected is named on standard error, with its reason code (docs/reasons.md). Comments and
/// layout stay; where a document had to be written anew, standard error says so.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  ws-operator inject app.yaml appmanifest.yaml | kubectl apply -f -"
)]
pub(super) struct InjectArguments {
    #[command(flatten)]
    objects: Objects,
    #[command(flatten)]
    gateway: GatewaySettings,
}

/// Take the gateway out of workloads in files again
#[derive(Debug, Args)]
pub(super) struct UninjectArguments {
    #[command(flatten)]
    objects: Objects,
}

#[derive(Debug, Args)]
struct Objects {
    /// Files with Kubernetes objects; none or - for standard input
    files: Vec<PathBuf>,
    /// The namespace of objects that name none
    #[arg(long, short, default_value = "default")]
    namespace: String,
    /// How objects are written
    #[arg(long, short, default_value = "yaml")]
    output: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Yaml,
    /// One List
    Json,
}

/// The objects, and a line for each workload that was looked at.
pub(super) struct Outcome {
    pub(super) text: String,
    pub(super) said: Vec<String>,
}

pub(super) fn inject(arguments: &InjectArguments) -> anyhow::Result<Outcome> {
    let mut documents = arguments.objects.read()?;
    // Any cluster is taken to be new enough.
    let rules = arguments.gateway.rules(true, watch::channel(false).1);
    let cluster = cluster(&documents, &arguments.objects.namespace)?;
    let mut said = Vec::new();
    for object in documents.iter_mut().flat_map(Document::objects_mut) {
        let Some(workload) = workload(object) else {
            continue;
        };
        let namespace = namespace(object, &arguments.objects.namespace).to_owned();
        let claims = cluster.claims(&namespace);
        let before = template(object)?;
        let shape = Shape::of_template(workload.clone(), &before.metadata, before.spec.as_ref());
        let (reason, message) = match desired(&shape, &claims.borrow(), &rules) {
            Decision::Inject(injection) => {
                let mut after = before.clone();
                injection::inject_pod(&mut after, &injection, &rules);
                rewrite(object, &before, &after)?;
                (Reason::Injected, format!("for app {}", injection.app))
            }
            Decision::AlreadyCurrent(injection) => {
                (Reason::AlreadyCurrent, format!("for app {}", injection.app))
            }
            Decision::Skip(skip) => (skip.reason, skip.message),
        };
        said.push(format!("{workload} in {namespace}: {reason}: {message}"));
    }
    arguments.objects.outcome(&documents, said)
}

pub(super) fn uninject(arguments: &UninjectArguments) -> anyhow::Result<Outcome> {
    let mut documents = arguments.objects.read()?;
    let mut said = Vec::new();
    for object in documents.iter_mut().flat_map(Document::objects_mut) {
        let Some(workload) = workload(object) else {
            continue;
        };
        let before = template(object)?;
        let shape = Shape::of_template(workload.clone(), &before.metadata, before.spec.as_ref());
        if !matches!(shape.gateway, Gateway::Ours { .. }) {
            continue;
        }
        let mut after = before.clone();
        injection::uninject(&mut after.metadata, after.spec.get_or_insert_default());
        rewrite(object, &before, &after)?;
        said.push(format!("{workload}: the gateway is taken out"));
    }
    arguments.objects.outcome(&documents, said)
}

// === impl Objects ===

impl Objects {
    fn read(&self) -> anyhow::Result<Vec<Document>> {
        let standard_input = [PathBuf::from("-")];
        let files = if self.files.is_empty() {
            &standard_input[..]
        } else {
            &self.files
        };
        let mut documents = Vec::new();
        for file in files {
            let text = chart::read(file)?;
            let found =
                document::all(&text).with_context(|| format!("{} is not YAML", file.display()))?;
            documents.extend(found);
        }
        Ok(documents)
    }

    fn outcome(&self, documents: &[Document], mut said: Vec<String>) -> anyhow::Result<Outcome> {
        let text = match self.output {
            Format::Yaml => {
                let texts = documents.iter().map(|document| document.text(&mut said));
                document::join(&texts.collect::<anyhow::Result<Vec<_>>>()?)
            }
            Format::Json => {
                let objects: Json = documents
                    .iter()
                    .flat_map(Document::objects)
                    .cloned()
                    .collect();
                let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
                format!("{list:#}\n")
            }
        };
        Ok(Outcome { text, said })
    }
}

fn cluster(documents: &[Document], default: &str) -> anyhow::Result<Cluster> {
    let cluster = Cluster::default();
    let objects = || documents.iter().flat_map(Document::objects);
    for object in objects() {
        let mut object = object.clone();
        let namespace = namespace(&object, default).to_owned();
        object["metadata"]["namespace"] = json!(namespace);
        match kind(&object) {
            Some("AppManifest") => {
                let manifest: AppManifest = serde_json::from_value(object)?;
                let name = manifest.name_any();
                cluster
                    .apps
                    .put(&namespace, &name, Some(App::read(manifest)));
            }
            Some("Service") => {
                let service: Service = serde_json::from_value(object)?;
                let name = service.name_any();
                cluster
                    .services
                    .put(&namespace, &name, ServiceFacts::read(service));
            }
            _ => {}
        }
    }
    for object in objects() {
        by_label(&cluster, object, namespace(object, default))?;
    }
    Ok(cluster)
}

/// What the operator would write for a workload that asks by label.
fn by_label(cluster: &Cluster, object: &Json, namespace: &str) -> anyhow::Result<()> {
    let Some(workload) = workload(object) else {
        return Ok(());
    };
    let name = &workload.name;
    let known = cluster.apps.get(namespace, name).is_some();
    let Some(ask) = Ask::read(&template(object)?.metadata).filter(|_| !known) else {
        return Ok(());
    };
    let services = cluster.services.in_namespace(namespace);
    let document = ask.document(&workload, services.iter().map(AsRef::as_ref));
    let manifest = document.manifest(&AppId::new(namespace, name), pod_label::SOURCE);
    cluster.apps.put(
        namespace,
        name,
        Some(App::read(serde_json::from_value(manifest)?)),
    );
    Ok(())
}

fn kind(object: &Json) -> Option<&str> {
    object.get("kind")?.as_str()
}

fn namespace<'a>(object: &'a Json, default: &'a str) -> &'a str {
    object
        .pointer("/metadata/namespace")
        .and_then(Json::as_str)
        .unwrap_or(default)
}

fn workload(object: &Json) -> Option<Workload> {
    let kind = WorkloadKind::of(kind(object)?)?;
    let name = object.pointer("/metadata/name")?.as_str()?.to_owned();
    Some(Workload { kind, name })
}

/// The pod that the workload's template describes.
fn template(object: &Json) -> anyhow::Result<Pod> {
    let template = object.pointer("/spec/template").cloned();
    let template = template.unwrap_or_else(|| Json::Object(Map::new()));
    serde_json::from_value(template).context("a pod template that is not understood")
}

/// As a patch of what differs, so that fields that we do not know survive.
fn rewrite(object: &mut Json, before: &Pod, after: &Pod) -> anyhow::Result<()> {
    let patch = injection::patch(before, after)?;
    let template = object
        .pointer_mut("/spec/template")
        .context("no pod template")?;
    json_patch::patch(template, &patch).context("the pod template cannot be changed")
}

//! `ws-operator inject` and `uninject`: the webhook's decision on files, for GitOps.

mod asked;
mod document;
mod edit;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt;
use serde_json::{Value as Json, json};
use stanza::env;
use tokio::sync::watch;

use super::chart;
use super::object::{self, Odd, PodMaker};
use crate::api::AppManifest;
use crate::app::{App, AppId};
use crate::ask::Ask;
use crate::cluster::{Cluster, Facts, ServiceFacts};
use crate::injection::{self, Decision, Injection, desired};
use crate::names;
use crate::reason::{Reason, Weight};
use crate::settings::GatewaySettings;
use crate::shape::{Gateway, Owner, Shape};
use crate::source::pod_label;
use asked::Answered;
use document::Document;

/// Put the gateway into workloads in files, for GitOps
///
/// Decides as the webhook does, with the AppManifests, labels and Services that stand in the files. What
/// is not injected is named on standard error, with its reason (docs/reasons.md). Comments and
/// layout stay; where a document had to be written anew, standard error says so. Objects that are not
/// understood are told with file, document, line and field, and pass through. Ends with 1 where
/// something asks for a gateway and does not get one.
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
    /// Something asks for a gateway and does not get one.
    pub(super) failed: bool,
}

pub(super) fn inject(arguments: &InjectArguments) -> anyhow::Result<Outcome> {
    let mut stream = arguments.objects.read()?;
    // Any cluster is taken to be new enough.
    let rules = arguments.gateway.rules(true, watch::channel(false).1);
    let cluster = cluster(&mut stream, &arguments.objects.namespace);
    let mut answered = Answered::default();
    for index in 0..stream.documents.len() {
        let document = &stream.documents[index];
        let mut rewritten = Vec::new();
        for (number, object) in document.objects().enumerate() {
            let Some(maker) = object::pod_maker(object) else {
                continue;
            };
            let namespace = object::namespace(object, &arguments.objects.namespace);
            let who = format!("{}/{} in {namespace}", maker.kind, maker.name);
            let claims = cluster.claims(namespace);
            let claims = claims.borrow();
            let verdict = judge(&maker, |shape| desired(shape, &claims, &rules));
            for (path, wrong) in object::mislaid(object) {
                let place = document.place(path);
                stream.said.wrong(format!("{place}: {who}: {wrong}"));
            }
            match verdict {
                Verdict::Inject(before, injection) => {
                    answered.add(namespace, injection.app);
                    let mut after = before.clone();
                    injection::inject_pod(&mut after, &injection, &rules);
                    rewritten.push((number, *before, after));
                    stream.said.line(format!(
                        "{who}: {}: for app {}",
                        Reason::Injected,
                        injection.app
                    ));
                }
                Verdict::Leave(app, reason, message) => {
                    if let Some(app) = app {
                        answered.add(namespace, &app);
                    }
                    stream.said.reason(&who, reason, &message);
                }
                Verdict::Odd(app, odd) => {
                    answered.add(namespace, &app);
                    let place = document.place(odd.path.iter().map(String::as_str));
                    stream
                        .said
                        .wrong(format!("{place}: {who}: cannot be injected: {odd}"));
                }
            }
        }
        let mut objects = stream.documents[index].objects_mut();
        for (number, before, after) in rewritten {
            rewrite(objects[number], &before, &after)?;
        }
    }
    let default = &arguments.objects.namespace;
    answered.tell_of_the_rest(&cluster, &stream.documents, default, &mut stream.said);
    arguments.objects.outcome(stream)
}

/// What becomes of the pods that an object makes.
enum Verdict<'a> {
    Inject(Box<Pod>, Box<Injection<'a>>),
    /// With the app that is concerned.
    Leave(Option<String>, Reason, String),
    /// They should have the gateway, and their description is not understood.
    Odd(String, Odd),
}

fn judge<'a>(maker: &PodMaker<'_>, decide: impl Fn(&Shape) -> Decision<'a>) -> Verdict<'a> {
    let pod = maker.pod();
    let (metadata, spec) = match &pod {
        Ok(pod) => (pod.metadata.clone(), pod.spec.as_ref()),
        Err(_) => (maker.metadata(), None),
    };
    let shape = Shape::of_described(maker.owner.clone(), &metadata, spec);
    match (decide(&shape), pod) {
        (Decision::Inject(injection), Ok(_)) if !matches!(maker.owner, Owner::Workload(_)) => {
            let message = "its pods get the gateway when they are created, by the webhook";
            let app = Some(injection.app.to_owned());
            Verdict::Leave(app, Reason::OtherOwner, message.to_owned())
        }
        (Decision::Inject(injection), Ok(pod)) => {
            Verdict::Inject(Box::new(pod), Box::new(injection))
        }
        (Decision::Inject(injection) | Decision::AlreadyCurrent(injection), Err(odd)) => {
            Verdict::Odd(injection.app.to_owned(), odd)
        }
        (Decision::AlreadyCurrent(injection), Ok(_)) => {
            let app = injection.app.to_owned();
            let message = format!("for app {app}");
            Verdict::Leave(Some(app), Reason::AlreadyCurrent, message)
        }
        (Decision::Skip(skip), _) => Verdict::Leave(skip.app, skip.reason, skip.message),
    }
}

pub(super) fn uninject(arguments: &UninjectArguments) -> anyhow::Result<Outcome> {
    let mut stream = arguments.objects.read()?;
    for index in 0..stream.documents.len() {
        let mut rewritten = Vec::new();
        for (number, object) in stream.documents[index].objects().enumerate() {
            let Some(workload) = object::workload(object) else {
                continue;
            };
            let Some(maker) = object::pod_maker(object) else {
                continue;
            };
            let before = match maker.pod() {
                Ok(pod) => pod,
                Err(odd) => {
                    if object.to_string().contains(env::CONTAINER) {
                        let place =
                            stream.documents[index].place(odd.path.iter().map(String::as_str));
                        stream
                            .said
                            .wrong(format!("{place}: {workload}: cannot be read: {odd}"));
                    }
                    continue;
                }
            };
            let owner = Owner::Workload(workload.clone());
            let shape = Shape::of_described(owner, &before.metadata, before.spec.as_ref());
            if !matches!(shape.gateway, Gateway::Ours { .. }) {
                continue;
            }
            let mut after = before.clone();
            injection::uninject(&mut after.metadata, after.spec.get_or_insert_default());
            rewritten.push((number, before, after));
            stream
                .said
                .line(format!("{workload}: the gateway is taken out"));
        }
        let mut objects = stream.documents[index].objects_mut();
        for (number, before, after) in rewritten {
            rewrite(objects[number], &before, &after)?;
        }
    }
    arguments.objects.outcome(stream)
}

/// Everything that was read, and a line for each thing that is worth one.
struct Stream {
    documents: Vec<Document>,
    said: Said,
}

#[derive(Default)]
struct Said {
    lines: Vec<String>,
    /// Something asks for a gateway and does not get one.
    failed: bool,
}

impl Said {
    fn line(&mut self, line: String) {
        self.lines.push(line);
    }

    fn wrong(&mut self, line: String) {
        self.failed = true;
        self.lines.push(line);
    }

    fn reason(&mut self, who: &str, reason: Reason, message: &str) {
        self.failed |= reason.weight() == Weight::Warning;
        self.lines.push(format!("{who}: {reason}: {message}"));
    }
}

// === impl Objects ===

impl Objects {
    fn read(&self) -> anyhow::Result<Stream> {
        let standard_input = [PathBuf::from("-")];
        let files = if self.files.is_empty() {
            &standard_input[..]
        } else {
            &self.files
        };
        let (mut documents, mut said) = (Vec::new(), Said::default());
        for file in files {
            let text = chart::read(file)?;
            let (found, wrong) = document::all(&file.display().to_string(), &text);
            documents.extend(found);
            for line in wrong {
                said.wrong(line);
            }
        }
        Ok(Stream { documents, said })
    }

    fn outcome(&self, stream: Stream) -> anyhow::Result<Outcome> {
        let Stream { documents, said } = stream;
        let Said {
            lines: mut said,
            failed,
        } = said;
        let text = match self.output {
            Format::Yaml => {
                let texts = documents.iter().map(|document| document.text(&mut said));
                document::join(&texts.collect::<anyhow::Result<Vec<_>>>()?)
            }
            Format::Json => {
                let objects: Json = documents
                    .iter()
                    .flat_map(Document::objects)
                    .filter(|object| !object.is_null())
                    .cloned()
                    .collect();
                let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
                format!("{list:#}\n")
            }
        };
        Ok(Outcome { text, said, failed })
    }
}

/// The AppManifests, labels and Services of the files. What is wrong with one of them is said, and
/// the others count.
fn cluster(stream: &mut Stream, default: &str) -> Cluster {
    let cluster = Cluster::default();
    for document in &stream.documents {
        for object in document.objects() {
            if let Err(odd) = know(&cluster, object, default) {
                let place = document.place([]);
                let (kind, name) = (object::kind(object), object::name(object));
                stream
                    .said
                    .wrong(format!("{place}: {kind}/{name} is not understood: {odd}"));
            }
        }
    }
    for object in stream.documents.iter().flat_map(Document::objects) {
        by_label(&cluster, object, object::namespace(object, default));
    }
    cluster
}

fn know(cluster: &Cluster, object: &Json, default: &str) -> Result<(), serde_json::Error> {
    let is_app = object::is(object, names::GROUP, "AppManifest");
    if !is_app && !object::is(object, "", "Service") {
        return Ok(());
    }
    let namespace = object::namespace(object, default);
    let mut object = object.clone();
    object["metadata"]["namespace"] = json!(namespace);
    if is_app {
        let manifest: AppManifest = serde_json::from_value(object)?;
        let name = manifest.name_any();
        let app = App::read(manifest);
        cluster.apps.put(namespace, &name, Some(app));
    } else {
        let service: Service = serde_json::from_value(object)?;
        let (name, facts) = (service.name_any(), ServiceFacts::read(service));
        cluster.services.put(namespace, &name, facts);
    }
    Ok(())
}

/// What the operator would write for a workload that asks by label.
fn by_label(cluster: &Cluster, object: &Json, namespace: &str) {
    let (Some(workload), Some(maker)) = (object::workload(object), object::pod_maker(object))
    else {
        return;
    };
    let name = &workload.name;
    let known = cluster.apps.get(namespace, name).is_some();
    let Some(ask) = Ask::read(&maker.metadata()).filter(|_| !known) else {
        return;
    };
    let services = cluster.services.in_namespace(namespace);
    let document = ask.document(&workload, services.iter().map(AsRef::as_ref));
    let manifest = document.manifest(&AppId::new(namespace, name), pod_label::SOURCE);
    // It is our own.
    if let Ok(manifest) = serde_json::from_value(manifest) {
        cluster.apps.put(namespace, name, Some(App::read(manifest)));
    }
}

/// As a patch of what differs, so that fields that we do not know survive.
fn rewrite(object: &mut Json, before: &Pod, after: &Pod) -> anyhow::Result<()> {
    let patch = injection::patch(before, after)?;
    let template = object
        .pointer_mut("/spec/template")
        .context("no pod template")?;
    json_patch::patch(template, &patch).context("the pod template cannot be changed")
}

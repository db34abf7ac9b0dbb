//! Files with Kubernetes objects: AppManifests, and workloads that ask by label.

use serde_json::Value as Json;
use stanza::node::{Node, Position, SyntaxError, Value};
use stanza::problem::{Problem, Severity};
use stanza::template;

use super::exposed::{Behind, Beside};
use super::scaled::{self, Scaler};
use crate::ask::{Ask, NO_SERVICE};
use crate::cli::chart::Source;
use crate::cli::object;
use crate::cluster::{Facts, ServiceFacts};
use crate::names;

/// The objects of a file; `None`: it is something else.
pub(super) fn of(source: &Source) -> Result<Option<Vec<Node>>, SyntaxError> {
    let documents = documents(source)?;
    Ok(documents.map(|documents| documents.into_iter().flatten().collect()))
}

/// Document by document.
fn documents(source: &Source) -> Result<Option<Vec<Vec<Node>>>, SyntaxError> {
    let documents = match Node::all_from_yaml(&source.text) {
        Ok(documents) => documents,
        // It may become YAML.
        Err(_) if template::is_template(&source.text) => return Ok(None),
        Err(error) => return Err(error),
    };
    if !documents.iter().any(|node| kind(node).is_some()) {
        return Ok(None);
    }
    let is_list = |node: &Node| {
        kind(node).is_some_and(|kind| kind.ends_with("List")) && node.get("items").is_some()
    };
    let objects = |document: Node| match document.get("items").filter(|_| is_list(&document)) {
        Some(items) => items.items().cloned().collect(),
        None => vec![document],
    };
    // One that says nothing is not counted.
    let documents = documents
        .into_iter()
        .filter(|node| node.value != Value::Null);
    Ok(Some(documents.map(objects).collect()))
}

pub(super) fn services(source: &Source) -> Vec<ServiceFacts> {
    let objects = of(source).ok().flatten().unwrap_or_default();
    objects
        .iter()
        .map(Node::to_json)
        .filter(|object| object::is(object, "", "Service"))
        .filter_map(|object| serde_json::from_value(object).ok())
        .filter_map(ServiceFacts::read)
        .collect()
}

/// A file's workloads.
pub(super) fn workloads(source: &Source) -> Vec<Behind> {
    let objects = of(source).ok().flatten().unwrap_or_default();
    let objects = objects.iter().map(Node::to_json);
    let behind = |object: Json| {
        let template = object.pointer("/spec/template")?.clone();
        Some(Behind {
            workload: object::workload(&object)?,
            namespace: scaled::named(&object),
            replicas: object.pointer("/spec/replicas").and_then(Json::as_i64),
            template: serde_json::from_value(template).ok()?,
        })
    };
    objects.filter_map(behind).collect()
}

/// What scales workloads, of a file.
pub(super) fn scalers(source: &Source) -> Vec<Scaler> {
    let documents = documents(source).ok().flatten().unwrap_or_default();
    let mut found = Vec::new();
    for (index, objects) in documents.iter().enumerate() {
        let place = format!("{} document {}", source.file, index + 1);
        let objects = objects.iter().map(Node::to_json);
        found.extend(objects.filter_map(|object| Scaler::read(&object, &place)));
    }
    found
}

/// `beside` is what all files hold: which Service leads to a workload can be said where there
/// are any.
pub(super) fn check(file: &str, objects: &[Node], beside: &Beside) -> Vec<Problem> {
    let services = &beside.services;
    let mut problems = Vec::new();
    for object in objects {
        let json = object.to_json();
        problems.extend(mislaid(file, object, &json));
        if object::is(&json, names::GROUP, "AppManifest") {
            if let Some(spec) = object.get("spec") {
                problems.extend(super::validate(file, "spec", spec, beside));
            }
        } else if let Some(found) = labelled(&json, beside) {
            let metadata = metadata(object);
            let placed = found.into_iter().map(|mut problem| {
                problem.position = place(metadata, &problem.path).or(object.position);
                let path = format!("{} {}", problem.source, problem.path);
                path.trim().clone_into(&mut problem.path);
                file.clone_into(&mut problem.source);
                if problem.message == NO_SERVICE {
                    problem.severity = Severity::Warning;
                }
                problem
            });
            problems.extend(
                placed.filter(|problem| problem.message != NO_SERVICE || !services.is_empty()),
            );
        }
    }
    problems
}

/// What asks for nothing where it stands.
fn mislaid(file: &str, object: &Node, json: &Json) -> Vec<Problem> {
    let Some(maker) = object::pod_maker(json) else {
        return Vec::new();
    };
    let who = format!("{}/{}", maker.kind, maker.name);
    let found = object::mislaid(json);
    let problems = found.into_iter().map(|(path, message)| Problem {
        severity: Severity::Error,
        source: file.to_owned(),
        position: object
            .at(path)
            .and_then(|node| node.position)
            .or(object.position),
        path: who.clone(),
        message,
    });
    problems.collect()
}

/// The problems of a workload that asks by label.
fn labelled(object: &Json, beside: &Beside) -> Option<Vec<Problem>> {
    let workload = object::workload(object)?;
    let ask = Ask::read(&object::pod_maker(object)?.metadata())?;
    let mut problems = ask.problems(&workload, beside.services.iter());
    if let Some(manifest) = ask.manifest(&workload, beside.services.iter()) {
        let told = beside.can_post(&manifest).into_iter();
        problems.extend(
            told.chain(beside.several(&manifest))
                .map(|message| Problem {
                    severity: Severity::Warning,
                    source: workload.to_string(),
                    position: None,
                    path: format!("annotation {}", names::CALLBACK),
                    message,
                }),
        );
    }
    Some(problems)
}

fn metadata(object: &Node) -> Option<&Node> {
    object.get("spec")?.get("template")?.get("metadata")
}

/// Where `annotation x` or `label x` stands.
fn place(metadata: Option<&Node>, path: &str) -> Option<Position> {
    let (map, name) = path.split_once(' ')?;
    let map = metadata?.get(&format!("{map}s"))?;
    map.get(name)?.position
}

fn kind(object: &Node) -> Option<&str> {
    object.get("kind")?.as_text()
}

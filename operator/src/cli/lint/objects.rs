//! Files with Kubernetes objects: AppManifests, and workloads that ask by label.

use stanza::node::{Node, Position};
use stanza::problem::{Problem, Severity};

use crate::ask::{Ask, NO_SERVICE};
use crate::cli::chart::Source;
use crate::cluster::{Facts, ServiceFacts};
use crate::shape::{Workload, WorkloadKind};

/// The objects of a file; `None`: it is something else.
pub(super) fn of(source: &Source) -> Option<Vec<Node>> {
    let documents = Node::all_from_yaml(&source.text).ok()?;
    let is_object = |node: &Node| {
        node.get("kind")
            .is_some_and(|kind| kind.as_text().is_some())
    };
    documents.iter().any(is_object).then(|| {
        let (lists, mut objects): (Vec<Node>, Vec<Node>) = documents
            .into_iter()
            .partition(|node| kind(node) == Some("List"));
        for list in lists {
            objects.extend(list.get("items").into_iter().flat_map(Node::items).cloned());
        }
        objects
    })
}

pub(super) fn services(source: &Source) -> Vec<ServiceFacts> {
    let objects = of(source).unwrap_or_default();
    objects
        .iter()
        .filter(|object| kind(object) == Some("Service"))
        .filter_map(|object| serde_json::from_value(object.to_json()).ok())
        .filter_map(ServiceFacts::read)
        .collect()
}

/// `services` are those of all files: which of them leads to a workload can be said where there
/// are any.
pub(super) fn check(file: &str, objects: &[Node], services: &[ServiceFacts]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for object in objects {
        if kind(object) == Some("AppManifest") {
            if let Some(spec) = object.get("spec") {
                problems.extend(super::validate(file, "spec", spec));
            }
        } else if let Some(found) = labelled(object, services) {
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

/// The problems of a workload that asks by label.
fn labelled(object: &Node, services: &[ServiceFacts]) -> Option<Vec<Problem>> {
    let kind = WorkloadKind::of(kind(object)?)?;
    let name = object.get("metadata").and_then(|node| node.get("name"));
    let workload = Workload {
        kind,
        name: name.and_then(Node::as_text).unwrap_or_default().to_owned(),
    };
    let metadata = serde_json::from_value(metadata(object)?.to_json()).ok()?;
    let ask = Ask::read(&metadata)?;
    Some(ask.problems(&workload, services.iter()))
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

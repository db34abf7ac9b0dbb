//! What a pod template's label asks for, for people who write no manifest (pure): the label
//! `ws.olares.com/inject: "true"`, and beside it an annotation for the callback and one for each
//! setting of the stanza that is not left alone, `ws.olares.com/heartbeat.timeout: 60s`.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value as Json, json};
use stanza::Manifest;
use stanza::field::{AppPort, UrlPath};
use stanza::node::Node;
use stanza::problem::{Problem, Problems, Report};
use stanza::settings;

use crate::cluster::ServiceFacts;
use crate::names;
use crate::shape::{Workload, selects};
use crate::source::Document;

/// The stanza within the document that is made of the annotations.
const STANZA: &str = "options.websocket.";
/// Our own notes on pods, which are no settings.
const NOTES: [&str; 7] = [
    names::INJECTED,
    names::APP,
    names::HELD,
    names::PULLS,
    names::REFUSED,
    names::ROLLOUT,
    names::INJECT,
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The label's value.
    label: String,
    /// The pods' labels, by which their Service is found.
    labels: BTreeMap<String, String>,
    /// The annotations of our group, with their whole names.
    annotations: BTreeMap<String, String>,
}

/// Whether pods with these labels ask for a gateway, rightly or wrongly spelled.
pub fn asks(labels: &BTreeMap<String, String>) -> bool {
    labels
        .get(names::INJECT)
        .is_some_and(|value| value != "false")
}

/// The annotation that a field of the AppManifest's spec was made of.
pub fn annotation(field: &str) -> Option<String> {
    let key = field.strip_prefix("spec.")?.strip_prefix(STANZA)?;
    Some(match key {
        "port" | "url" => callback(),
        key => format!("annotation {}/{key}", names::GROUP),
    })
}

impl Ask {
    /// Of a pod template's metadata; `None`: it asks for nothing.
    pub fn read(metadata: &ObjectMeta) -> Option<Self> {
        let labels = metadata.labels.as_ref().filter(|labels| asks(labels))?;
        let annotations = metadata.annotations.iter().flatten();
        Some(Self {
            label: labels.get(names::INJECT)?.clone(),
            labels: labels.clone(),
            annotations: annotations
                .filter(|(name, _)| key(name).is_some() && !NOTES.contains(&name.as_str()))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        })
    }

    /// As an OlaresManifest. `services` are the namespace's.
    pub fn document<'a>(
        &self,
        workload: &Workload,
        services: impl Iterator<Item = &'a ServiceFacts>,
    ) -> Document {
        let (spec, problems) = self.read_with(workload, services);
        Document::new(spec, &problems)
    }

    /// All that is wrong with it, for who wrote it.
    pub fn problems<'a>(
        &self,
        workload: &Workload,
        services: impl Iterator<Item = &'a ServiceFacts>,
    ) -> Vec<Problem> {
        let (spec, problems) = self.read_with(workload, services);
        let read = Manifest::from_json(&workload.to_string(), "spec", &Json::Object(spec));
        let rest = match read {
            Ok(manifest) => manifest.warnings,
            Err(problems) => problems,
        };
        let callback = callback();
        let rest = rest.places(annotation).into_iter();
        let rest = rest.filter(|problem| problem.path != callback);
        problems.into_iter().chain(rest).collect()
    }

    /// As a manifest, where it is one.
    pub fn manifest<'a>(
        &self,
        workload: &Workload,
        services: impl Iterator<Item = &'a ServiceFacts>,
    ) -> Option<Manifest> {
        let (spec, _) = self.read_with(workload, services);
        Manifest::from_json(&workload.to_string(), "spec", &Json::Object(spec)).ok()
    }

    fn read_with<'a>(
        &self,
        workload: &Workload,
        services: impl Iterator<Item = &'a ServiceFacts>,
    ) -> (Map<String, Json>, Problems) {
        let mut report = Report::new(&workload.to_string());
        if self.label != "true" {
            let place = format!("label {}", names::INJECT);
            refuse(
                &mut report,
                &place,
                &self.label,
                "\"true\", or \"false\": never",
            );
        }
        let mut stanza = Map::new();
        self.callback(&mut stanza, &mut report);
        let about = [names::CALLBACK, names::SERVICE];
        for (name, value) in &self.annotations {
            match key(name) {
                Some("port" | "url") => {
                    let message = format!("is said by {}", names::CALLBACK);
                    report.error(None, &format!("annotation {name}"), message);
                }
                Some(key) if !about.contains(&name.as_str()) => insert(&mut stanza, key, value),
                _ => {}
            }
        }
        let mut spec = Map::new();
        spec.insert("metadata".to_owned(), json!({"name": workload.name}));
        if let Some((host, port)) = self.service(services, &mut report) {
            let mut entrance = json!({"name": workload.name, "host": host});
            if let Some(port) = port {
                entrance["port"] = json!(port);
            }
            spec.insert("entrances".to_owned(), json!([entrance]));
        }
        spec.insert("options".to_owned(), json!({"websocket": stanza}));
        (spec, report.finish())
    }

    fn callback(&self, stanza: &mut Map<String, Json>, report: &mut Report) {
        let expected = "the app's port and path, as in 8888/ws/message";
        let Some(value) = self.annotations.get(names::CALLBACK) else {
            report.error(
                None,
                &callback(),
                format!("is missing; expected {expected}"),
            );
            return;
        };
        let value = value.trim();
        let parts = value.find('/').map(|slash| value.split_at(slash));
        let read = parts.and_then(|(port, path)| {
            let port = AppPort::new(port.parse().ok()?)?;
            Some((port, UrlPath::new(path)?))
        });
        if let Some((port, path)) = read {
            stanza.insert("url".to_owned(), json!(path.as_str()));
            stanza.insert("port".to_owned(), json!(port.get()));
        } else {
            let but = format!("{expected} (40010 to 40012 are the gateway's own)");
            refuse(report, &callback(), value, &but);
        }
    }

    /// The one that is named, else the only one that selects the pods.
    fn service<'a>(
        &self,
        mut services: impl Iterator<Item = &'a ServiceFacts>,
        report: &mut Report,
    ) -> Option<(String, Option<u16>)> {
        let place = format!("annotation {}", names::SERVICE);
        let Some(value) = self.annotations.get(names::SERVICE) else {
            return self.only_service(services, &place, report);
        };
        let (name, port) = match value.trim().split_once(':') {
            None => (value.trim(), None),
            Some((name, port)) => (name, Some(port.parse::<u16>())),
        };
        let port = match port.transpose() {
            Ok(port) if !name.is_empty() => port,
            _ => {
                refuse(report, &place, value, "a Service's name, or name:port");
                return None;
            }
        };
        let found = services.find(|service| service.name == name);
        if found.is_some_and(|service| !selects(&service.selector, &self.labels)) {
            let message = format!("the Service {name} does not select the pods");
            report.error(None, &place, message);
        }
        Some((name.to_owned(), port))
    }

    fn only_service<'a>(
        &self,
        services: impl Iterator<Item = &'a ServiceFacts>,
        place: &str,
        report: &mut Report,
    ) -> Option<(String, Option<u16>)> {
        let (with_address, headless): (Vec<_>, Vec<_>) = services
            .filter(|service| service.entrance.is_none())
            .filter(|service| selects(&service.selector, &self.labels))
            .partition(|service| !service.headless);
        let candidates = if with_address.is_empty() {
            headless
        } else {
            with_address
        };
        match candidates.as_slice() {
            [] => report.error(None, "", NO_SERVICE),
            [service] => return Some((service.name.clone(), None)),
            several => {
                let names: Vec<&str> = several.iter().map(|one| one.name.as_str()).collect();
                let names = names.join(", ");
                let message = format!(
                    "is missing, and several Services select the pods; expected one of {names}"
                );
                report.error(None, place, message);
            }
        }
        None
    }
}

/// Said of pods that nobody leads clients to.
pub const NO_SERVICE: &str = "no Service selects the pods";

fn callback() -> String {
    format!("annotation {}", names::CALLBACK)
}

fn refuse(report: &mut Report, place: &str, found: &str, expected: &str) {
    let message = format!("{found:?} is not allowed here; expected {expected}");
    report.error(None, place, message);
}

/// `heartbeat.timeout` of `ws.olares.com/heartbeat.timeout`.
fn key(annotation: &str) -> Option<&str> {
    annotation.strip_prefix(names::GROUP)?.strip_prefix('/')
}

/// A known key goes where the stanza has it. An unknown one stays whole, so that what is said of
/// it names the annotation as it was written.
fn insert(stanza: &mut Map<String, Json>, key: &str, value: &str) {
    let known = settings::catalogue()
        .iter()
        .any(|setting| setting.key == key);
    let path: Vec<&str> = if known {
        key.split('.').collect()
    } else {
        vec![key]
    };
    let Some((last, groups)) = path.split_last() else {
        return;
    };
    let mut map = stanza;
    for group in groups {
        let entry = map.entry(*group).or_insert_with(|| json!({}));
        let Json::Object(inner) = entry else { return };
        map = inner;
    }
    map.insert((*last).to_owned(), read(value));
}

/// Lists and maps are written as YAML has them in one line; all else is read as text, as a flag is.
fn read(value: &str) -> Json {
    let value = value.trim();
    if value.starts_with(['[', '{'])
        && let Ok(node) = Node::from_yaml(value)
    {
        return node.to_json();
    }
    json!(value)
}

#[cfg(test)]
mod tests;

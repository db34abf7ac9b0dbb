//! The parts of an OlaresManifest that are read downstream, found even where the rest of it is
//! no YAML: a quarter of the published manifests are Helm templates.

mod outline;

use serde_json::{Map, Value as Json};

use crate::node::{Key, Node, Position, Value};
use crate::problem::{Problems, Report};
use crate::settings;
use crate::template::{self, Rendered, Unknown};
use outline::Outline;

/// The stanza's name, and its older spelling.
pub const STANZAS: [&str; 2] = ["websocket", "wsConfig"];
const METADATA: [&str; 2] = ["name", "appid"];
const ENTRANCE: [&str; 3] = ["name", "host", "port"];

/// A manifest's `metadata`, `entrances` and stanza.
#[derive(Debug, Default)]
pub struct Excerpt {
    /// `None`: there is no stanza, or it could not be found for the problems' sake.
    pub root: Option<Node>,
    /// What keeps the parts from being known.
    pub problems: Problems,
}

impl Excerpt {
    /// `context` is the release that a template is rendered for, as [`context`] makes it.
    pub fn read(file: &str, text: &str, context: &Json) -> Self {
        if !STANZAS.iter().any(|key| text.contains(key)) {
            return Self::default();
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut report = Report::new(file);
        if !template::is_template(text) {
            let root = Node::from_yaml(text)
                .map_err(|error| report.syntax(&error))
                .ok()
                .and_then(|root| pick(&root));
            return Self::found(root, report);
        }
        let rendered = match template::render(text, context) {
            Ok(rendered) => rendered,
            Err(too_much) => {
                report.error(None, "", too_much.to_string());
                return Self::found(None, report);
            }
        };
        let outline = Outline::of(&rendered);
        for unknown in outline.doubts() {
            report.error(Some(unknown.position), "", cannot(unknown));
        }
        let parsed = Node::from_yaml(&rendered.text)
            .or_else(|_| Node::from_yaml(&outline.excerpt()))
            .map_err(|mut error| {
                error.position = error.position.map(|at| rendered.source(at));
                report.syntax(&error);
            });
        let mut root = parsed.ok().and_then(|root| pick(&root));
        if let Some(root) = &mut root {
            settle(root, "", &rendered, &mut report);
        }
        Self::found(root, report)
    }

    fn found(root: Option<Node>, report: Report) -> Self {
        let problems = report.finish();
        Self { root, problems }
    }
}

/// What a template's dot means in a release: `values` are the chart's own with the user's over
/// them, `chart` is Chart.yaml.
pub fn context(name: &str, namespace: &str, revision: u64, chart: &Json, values: Json) -> Json {
    let text = |key: &str| chart.get(key).cloned().unwrap_or(Json::Null);
    let mut context = serde_json::json!({
        "Release": {"Name": name, "Namespace": namespace, "Revision": revision, "Service": "Helm"},
        "Chart": {"Name": text("name"), "Version": text("version"), "AppVersion": text("appVersion")},
    });
    // Moved and not copied: they may be large.
    context["Values"] = values;
    context
}

/// The same, where the values are all there are, as of a release that is installed: what is not among
/// them is nowhere, and a condition on it does not hold.
pub fn complete(mut context: Json) -> Json {
    template::set_complete(&mut context);
    context
}

/// `over` wins; a null in it takes a value away, as in Helm.
pub fn merge(under: &mut Json, over: Json) {
    match (under, over) {
        (Json::Object(under), Json::Object(over)) => {
            for (key, value) in over {
                match under.get_mut(&key) {
                    Some(found) => merge(found, value),
                    None => drop(under.insert(key, value)),
                }
            }
        }
        (under, over) => *under = over,
    }
}

/// The parts as one JSON document.
pub fn to_json(root: &Node) -> Map<String, Json> {
    match root.to_json() {
        Json::Object(document) => document,
        _ => Map::new(),
    }
}

fn cannot(unknown: &Unknown) -> String {
    format!("{} cannot be rendered: {}", unknown.expression, unknown.why)
}

fn pick(root: &Node) -> Option<Node> {
    let stanzas = keys(root.get("options")?, &STANZAS, |node| {
        (node.value != Value::Null).then(|| node.clone())
    });
    stanzas.entries().next()?;
    let part = |keys_of: &'static [&'static str]| {
        move |node: &Node| keys(node, keys_of, |node| Some(node.clone()))
    };
    let picked = keys(root, &["metadata", "entrances"], |node| match node.value {
        Value::List(_) => Some(Node {
            value: Value::List(node.items().map(part(&ENTRANCE)).collect()),
            ..*node
        }),
        Value::Map(_) => Some(part(&METADATA)(node)),
        _ => None,
    });
    let Value::Map(mut entries) = picked.value else {
        return None;
    };
    let position = root.get("options").and_then(|node| node.position);
    let name = "options".to_owned();
    entries.push((Key { name, position }, stanzas));
    Some(Node {
        value: Value::Map(entries),
        position: root.position,
    })
}

fn keys(map: &Node, wanted: &[&str], value: impl Fn(&Node) -> Option<Node>) -> Node {
    let entries = map
        .entries()
        .filter(|(key, _)| wanted.contains(&key.name.as_str()))
        .filter_map(|(key, node)| Some((key.clone(), value(node)?)));
    Node {
        value: Value::Map(entries.collect()),
        position: map.position,
    }
}

/// Positions become the template's; marks become the expressions that they stand for.
fn settle(node: &mut Node, path: &str, rendered: &Rendered, report: &mut Report) {
    let source = |at: &mut Option<Position>| *at = at.map(|at| rendered.source(at));
    source(&mut node.position);
    match &mut node.value {
        Value::Text(text) => clear(text, path, rendered, report),
        Value::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                settle(item, &format!("{path}[{index}]"), rendered, report);
            }
        }
        Value::Map(entries) => {
            for (key, node) in entries {
                source(&mut key.position);
                let whole = settings::join(path, &rendered.unmark(&key.name));
                clear(&mut key.name, path, rendered, report);
                settle(node, &whole, rendered, report);
            }
        }
        Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Float(_) => {}
    }
}

fn clear(text: &mut String, path: &str, rendered: &Rendered, report: &mut Report) {
    for unknown in rendered.marks_in(text) {
        report.error(Some(unknown.position), path, cannot(unknown));
    }
    *text = rendered.unmark(text);
}

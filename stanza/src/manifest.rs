//! An `OlaresManifest.yaml`: the parts of it that concern WebSockets, validated.
//!
//! Everything else in the document is left alone: it belongs to Olares.

use crate::choice::Expose;
use crate::field::{AppPort, Field, UrlPath};
use crate::node::{Key, Node, Value};
use crate::problem::{Problems, Report};
use crate::secret::{SecretUse, Secrets};
use crate::settings::{
    self, Gateway, Group, Operator, OperatorAdminToken, OperatorDrain, OperatorSigning,
};

/// The app as its manifest describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// `metadata.name`.
    pub name: Option<String>,
    /// `metadata.appid`, where the manifest states one.
    pub appid: Option<String>,
    pub entrances: Vec<Entrance>,
    /// `None`: no stanza, the app wants no WebSockets.
    pub websocket: Option<WebSocket>,
    /// What was read all the same: unknown keys and the like.
    pub warnings: Problems,
}

/// One of `entrances[]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entrance {
    pub name: String,
    /// The Service that the entrance leads to.
    pub host: String,
    /// The Service's port.
    pub port: Option<u16>,
}

/// The stanza `options.websocket`.
#[derive(Clone, Debug, PartialEq)]
pub struct WebSocket {
    pub target: CallbackTarget,
    pub gateway: Gateway,
    pub operator: Operator,
    pub hold_app: bool,
    pub secrets: Secrets,
}

/// Where the app wants its callbacks: `POST http://127.0.0.1:<port><path>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackTarget {
    pub port: AppPort,
    pub path: UrlPath,
}

impl Manifest {
    /// Reads a chart's file; `file` is how errors call it.
    pub fn from_yaml(file: &str, text: &str) -> Result<Self, Problems> {
        let mut report = Report::new(file);
        match Node::from_yaml(text) {
            Ok(root) => Self::read(&root, "", report),
            Err(error) => {
                report.syntax(&error);
                Err(report.finish())
            }
        }
    }

    /// Reads a document that is parsed already; `file` is how errors call it, `field` the field of
    /// it that `root` is.
    pub fn from_node(file: &str, field: &str, root: &Node) -> Result<Self, Problems> {
        Self::read(root, field, Report::new(file))
    }

    /// Reads an object's field; `source` names the object in errors, `field` the field.
    pub fn from_json(
        source: &str,
        field: &str,
        value: &serde_json::Value,
    ) -> Result<Self, Problems> {
        Self::read(&Node::from_json(value), field, Report::new(source))
    }

    /// The entrance that gets the gateway: the one that the stanza names, else the first.
    pub fn entrance(&self) -> Option<&Entrance> {
        match self
            .websocket
            .as_ref()
            .and_then(|stanza| stanza.operator.entrance.as_ref())
        {
            Some(name) => self
                .entrances
                .iter()
                .find(|entrance| entrance.name == *name),
            None => self.entrances.first(),
        }
    }

    fn read(root: &Node, path: &str, mut report: Report) -> Result<Self, Problems> {
        let metadata = root.get("metadata");
        let text = |key| {
            metadata
                .and_then(|node| node.get(key))
                .and_then(String::read)
        };
        let (name, appid) = (text("name"), text("appid"));
        let entrances = read_entrances(root, path, &mut report);
        let websocket = find_stanza(root, path, &mut report)
            .and_then(|(node, path)| WebSocket::read(node, &path, &mut report));
        if let Some(wanted) = websocket
            .as_ref()
            .and_then(|stanza| stanza.operator.entrance.as_ref())
            && !entrances.iter().any(|entrance| entrance.name == *wanted)
        {
            let names: Vec<&str> = entrances
                .iter()
                .map(|entrance| entrance.name.as_str())
                .collect();
            let path = settings::join(path, "options.websocket.entrance");
            let allowed = if names.is_empty() {
                "nothing, as there are none".to_owned()
            } else {
                names.join(", ")
            };
            report.error(
                None,
                &path,
                format!("no entrance is called {wanted:?}; expected {allowed}"),
            );
        }
        let warnings = report.finish();
        if warnings.has_errors() {
            return Err(warnings);
        }
        Ok(Self {
            name,
            appid,
            entrances,
            websocket,
            warnings,
        })
    }
}

/// `options.websocket`, or its older spelling `options.wsConfig`.
fn find_stanza<'a>(root: &'a Node, path: &str, report: &mut Report) -> Option<(&'a Node, String)> {
    let options = root.get("options")?;
    let found = |key: &'static str| {
        let node = options.get(key).filter(|node| node.value != Value::Null)?;
        Some((node, settings::join(path, &format!("options.{key}"))))
    };
    match (found("websocket"), found("wsConfig")) {
        (Some(stanza), Some((older, path))) => {
            report.warn(
                older.position,
                &path,
                "ignored: options.websocket is there too",
            );
            Some(stanza)
        }
        (stanza, older) => stanza.or(older),
    }
}

fn read_entrances(root: &Node, path: &str, report: &mut Report) -> Vec<Entrance> {
    let Some(list) = root.get("entrances") else {
        return Vec::new();
    };
    let mut entrances = Vec::new();
    for (index, node) in list.items().enumerate() {
        let path = settings::join(path, &format!("entrances[{index}]"));
        let text = |key| {
            node.get(key)
                .and_then(String::read)
                .filter(|text| !text.is_empty())
        };
        let Some(host) = text("host") else {
            report.warn(
                node.position,
                &path,
                "has no host (the Service it leads to) and is ignored",
            );
            continue;
        };
        let name = text("name").unwrap_or_else(|| host.clone());
        let port = node
            .get("port")
            .and_then(u32::read)
            .and_then(|port| u16::try_from(port).ok());
        entrances.push(Entrance { name, host, port });
    }
    entrances
}

// === impl WebSocket ===

/// Keys whose place is kept for a later version.
const LATER: [&str; 2] = ["nats", "bus"];

impl WebSocket {
    fn read(stanza: &Node, path: &str, report: &mut Report) -> Option<Self> {
        if !matches!(stanza.value, Value::Map(_)) {
            report.not_allowed(stanza, path, "a map with url and port");
            return None;
        }
        let path_of = |key| settings::join(path, key);
        let url = required::<UrlPath>(stanza, "url", &path_of("url"), report);
        let port = required::<AppPort>(stanza, "port", &path_of("port"), report);
        let mut settings = Settings::default();
        settings.read(stanza, path, "", report);
        settings.check(stanza, path, report);
        let secrets = settings.secrets();
        let Settings {
            gateway,
            operator,
            drain,
            ..
        } = settings;
        let target = CallbackTarget {
            port: port?,
            path: url?,
        };
        if matches!(operator.expose, None | Some(Expose::Entrance)) {
            let of_types = stanza.get("types").into_iter().flat_map(Node::items);
            let of_types = of_types.filter_map(|entry| entry.get("url"));
            let url = stanza.get("url").map(|node| ("url", node));
            for (key, node) in url.into_iter().chain(of_types.map(|node| ("types", node))) {
                warn_of_pages_path(node, &path_of(key), report);
            }
        }
        Some(Self {
            target,
            gateway,
            operator,
            hold_app: drain.hold_app,
            secrets,
        })
    }
}

/// Where the gateway stands in front of the app, nobody outside may post to a path of callbacks.
fn warn_of_pages_path(url: &Node, path: &str, report: &mut Report) {
    let text = url.as_text().unwrap_or_default();
    let bare = text.split('?').next().unwrap_or_default();
    if bare.trim_matches('/').is_empty() || bare != text {
        report.warn(
            url.position,
            path,
            format!(
                "with expose: entrance (the default on Olares) every POST from outside to {bare} is \
                 answered 404, also one that is meant for a page; give callbacks a path of their own, \
                 such as /ws/message"
            ),
        );
    }
}

/// The gateway's settings alone, as [`env::OPTIONS`](crate::env::OPTIONS) carries them.
pub fn gateway_options(
    source: &str,
    options: &serde_json::Value,
) -> Result<(Gateway, Problems), Problems> {
    let mut report = Report::new(source);
    let node = Node::from_json(options);
    if !matches!(node.value, Value::Map(_)) {
        report.not_allowed(&node, "", "a JSON object");
    }
    let mut settings = Settings::default();
    settings.read(&node, "", "", &mut report);
    settings.check(&node, "", &mut report);
    for (what, _) in settings.secrets().iter() {
        let message = format!(
            "is mounted by the operator, and ignored here; expected the file in {}",
            what.variable()
        );
        report.warn(None, what.setting(), message);
    }
    let problems = report.finish();
    if problems.has_errors() {
        Err(problems)
    } else {
        Ok((settings.gateway, problems))
    }
}

#[derive(Default)]
struct Settings {
    gateway: Gateway,
    operator: Operator,
    drain: OperatorDrain,
    signing: OperatorSigning,
    admin_token: OperatorAdminToken,
}

impl Settings {
    fn secrets(&self) -> Secrets {
        Secrets::new([
            (SecretUse::CallbackSigning, self.signing.secret_from.clone()),
            (SecretUse::AdminToken, self.admin_token.secret_from.clone()),
        ])
    }

    fn read(&mut self, map: &Node, path: &str, prefix: &str, report: &mut Report) {
        for (key, node) in map.entries() {
            let whole = settings::join(prefix, &key.name);
            let path = settings::join(path, &key.name);
            if prefix.is_empty() && matches!(key.name.as_str(), "url" | "port") {
                continue;
            }
            match self.set(&whole, node) {
                Some(Ok(())) => self.warn(&whole, node, &path, report),
                Some(Err(allowed)) if is_hidden(&whole) => {
                    report.hidden_not_allowed(node, &path, &allowed);
                }
                Some(Err(allowed)) => report.not_allowed(node, &path, &allowed),
                None if is_group(&whole) && matches!(node.value, Value::Map(_) | Value::Null) => {
                    self.read(node, &path, &whole, report);
                }
                None if is_group(&whole) && is_hidden(&whole) => {
                    report.hidden_not_allowed(node, &path, "a map");
                }
                None if is_group(&whole) => report.not_allowed(node, &path, "a map"),
                None => unknown(key, &whole, &path, report),
            }
        }
    }

    /// What is right for itself and does not go together.
    fn check(&self, map: &Node, path: &str, report: &mut Report) {
        let heartbeat = &self.gateway.heartbeat;
        let position = |key: &str| {
            let found = key.split('.').try_fold(map, |node, name| node.get(name));
            found.and_then(|node| node.position)
        };
        if let Some((key, message)) = heartbeat.contradiction() {
            report.error(position(key), &settings::join(path, key), message);
        }
        if let Some((key, message)) = heartbeat.without_effect() {
            report.warn(position(key), &settings::join(path, key), message);
        }
    }

    /// What is right and yet unwise.
    fn warn(&self, key: &str, node: &Node, path: &str, report: &mut Report) {
        if key == "identity.jwt.secret"
            && let Some(weak) = self.gateway.jwt.weak_secret()
        {
            report.warn(node.position, path, weak);
        }
    }

    fn set(&mut self, key: &str, node: &Node) -> Option<Result<(), String>> {
        let below = |group| key.strip_prefix(group);
        self.gateway
            .set(key, node)
            .or_else(|| self.operator.set(key, node))
            .or_else(|| self.drain.set(below("drain.")?, node))
            .or_else(|| self.signing.set(below("callback.signing.")?, node))
            .or_else(|| self.admin_token.set(below("admin.token.")?, node))
    }
}

fn required<T: Field>(stanza: &Node, key: &str, path: &str, report: &mut Report) -> Option<T> {
    let Some(node) = stanza.get(key) else {
        report.error(
            stanza.position,
            path,
            format!("is missing; expected {}", T::ALLOWED),
        );
        return None;
    };
    let value = T::read(node);
    if value.is_none() {
        report.not_allowed(node, path, T::ALLOWED);
    }
    value
}

fn is_group(key: &str) -> bool {
    let catalogue = settings::catalogue();
    catalogue.iter().any(|setting| is_below(&setting.key, key))
}

/// A secret may stand where its reference should, at whatever depth.
fn is_hidden(key: &str) -> bool {
    let catalogue = settings::catalogue();
    let mut hidden = catalogue.iter().filter(|setting| setting.hidden);
    hidden.any(|setting| setting.key == key || is_below(&setting.key, key))
}

fn is_below(setting: &str, group: &str) -> bool {
    setting
        .strip_prefix(group)
        .is_some_and(|rest| rest.starts_with('.'))
}

fn unknown(key: &Key, whole: &str, path: &str, report: &mut Report) {
    let message = if LATER.contains(&whole) {
        "is not supported yet and is ignored".to_owned()
    } else {
        let known = settings::catalogue();
        let near = known
            .iter()
            .map(|setting| setting.key.as_str())
            .chain(["url", "port"])
            .find(|known| spelled_alike(known, whole));
        match near {
            Some(near) => format!("is no setting and is ignored; did you mean {near}?"),
            None => "is no setting and is ignored".to_owned(),
        }
    };
    report.warn(key.position, path, message);
}

/// Alike but for case, dashes, underscores, the order of letters, and one letter more or less.
pub fn spelled_alike(known: &str, found: &str) -> bool {
    let plain = |text: &str| -> Vec<char> {
        text.chars()
            .filter(|c| !"-_".contains(*c))
            .map(|c| c.to_ascii_lowercase())
            .collect()
    };
    let (a, b) = (plain(known), plain(found));
    let letters = |text: &[char]| {
        let mut letters = text.to_vec();
        letters.sort_unstable();
        letters
    };
    if letters(&a) == letters(&b) {
        return true;
    }
    let same_start = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[same_start..], &b[same_start..]);
    let same_end = a
        .iter()
        .rev()
        .zip(b.iter().rev())
        .take_while(|(x, y)| x == y)
        .count();
    a.len() - same_end <= 1 && b.len() - same_end <= 1
}

//! Settings from flags, environment and charts: parsed and validated wholly before a port is
//! bound.

use anyhow::{Context, bail};
use stanza::env;
use stanza::field::{AppPort, Field, UrlPath};
use stanza::node::{Node, Value};
use stanza::{CallbackTarget, Manifest, gateway_options, settings};

use crate::args::RunArgs;

/// What the gateway runs with.
#[derive(Clone, Debug)]
pub struct Config {
    pub settings: settings::Gateway,
    /// `None`: no callbacks.
    pub target: Option<CallbackTarget>,
    /// To be logged once logging is up.
    pub warnings: Vec<String>,
}

impl Config {
    /// From flags and variables; `given` are single settings by key.
    pub fn from_args(args: &RunArgs, given: &[(String, String)]) -> anyhow::Result<Self> {
        let options = match &args.options {
            Some(text) => serde_json::from_str(text)
                .with_context(|| format!("{} is not JSON", env::OPTIONS))?,
            None => serde_json::json!({}),
        };
        let (settings, problems) = gateway_options(env::OPTIONS, &options)?;
        let mut warnings: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let target = target(args.port.as_deref(), args.url.as_deref())?;
        if target.is_none() {
            let (port, url) = (env::PORT, env::URL);
            warnings.push(format!(
                "{port} and {url} are not set: messages go nowhere, only the admin API works"
            ));
        }
        Self {
            settings,
            target,
            warnings,
        }
        .with(given)
    }

    /// From a chart's manifest.
    pub fn from_manifest(
        file: &str,
        text: &str,
        given: &[(String, String)],
    ) -> anyhow::Result<Self> {
        let manifest = Manifest::from_yaml(file, text)?;
        let Some(websocket) = manifest.websocket else {
            bail!(
                "{file} has no options.websocket; add\n\noptions:\n  websocket:\n    url: /ws/message\n    port: 8888\n"
            )
        };
        let mut warnings: Vec<String> = manifest.warnings.iter().map(ToString::to_string).collect();
        warnings.extend(websocket.secrets.iter().map(|(what, from)| {
            format!(
                "{file}: {} names the Secret {}, which the operator mounts and this program does not: it counts only where {} names a file",
                what.setting(),
                from.name,
                what.variable()
            )
        }));
        Self {
            settings: websocket.gateway,
            target: Some(websocket.target),
            warnings,
        }
        .with(given)
    }

    fn with(mut self, given: &[(String, String)]) -> anyhow::Result<Self> {
        for (key, text) in given {
            self.set(key, text)?;
            if key == "identity.jwt.secret" {
                let weak = self.settings.jwt.weak_secret();
                self.warnings
                    .extend(weak.map(|weak| format!("{key} {weak}")));
            }
        }
        // Flags and variables can contradict each other and what the document says.
        if let Some((key, message)) = self.settings.heartbeat.contradiction() {
            bail!("--{} ({}): {message}", env::flag(key), env::variable(key));
        }
        if let Some((key, message)) = self.settings.heartbeat.without_effect()
            && given.iter().any(|(given, _)| given == key)
        {
            self.warnings.push(format!("{key} {message}"));
        }
        Ok(self)
    }

    /// A value is read as the plain text it is, or else as YAML, for lists and maps.
    pub(crate) fn set(&mut self, key: &str, text: &str) -> anyhow::Result<()> {
        let plain = Node {
            value: Value::Text(text.to_owned()),
            position: None,
        };
        let yaml = Node::from_yaml(text).ok();
        let mut allowed = String::new();
        for node in std::iter::once(plain).chain(yaml) {
            match self.settings.set(key, &node) {
                Some(Ok(())) => return Ok(()),
                Some(Err(expected)) => allowed = expected,
                None => {}
            }
        }
        bail!(
            "--{} ({}): {text:?} is not allowed here; expected {allowed}",
            env::flag(key),
            env::variable(key)
        )
    }
}

fn target(port: Option<&str>, url: Option<&str>) -> anyhow::Result<Option<CallbackTarget>> {
    let read = |text: &str| Node {
        value: Value::Text(text.to_owned()),
        position: None,
    };
    match (
        port.filter(|port| !port.is_empty()),
        url.filter(|url| !url.is_empty()),
    ) {
        (None, None) => Ok(None),
        (Some(port), Some(path)) => {
            let wrong = |name, text, allowed| {
                format!("{name}: {text:?} is not allowed here; expected {allowed}")
            };
            Ok(Some(CallbackTarget {
                port: AppPort::read(&read(port))
                    .with_context(|| wrong(env::PORT, port, AppPort::ALLOWED))?,
                path: UrlPath::read(&read(path))
                    .with_context(|| wrong(env::URL, path, UrlPath::ALLOWED))?,
            }))
        }
        (Some(_), None) => bail!(
            "{} is set but {} is not; expected both or neither",
            env::PORT,
            env::URL
        ),
        (None, Some(_)) => bail!(
            "{} is set but {} is not; expected both or neither",
            env::URL,
            env::PORT
        ),
    }
}

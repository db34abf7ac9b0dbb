//! Charts and manifests on disk, as the commands that need no cluster read them.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value as Json, json};
use stanza::excerpt::{self, Excerpt};
use stanza::node::Node;

/// The file as Olares calls it, and as it called it before.
const FILES: [&str; 2] = ["OlaresManifest.yaml", "TerminusManifest.yaml"];

/// What a manifest that is a Helm template is rendered with.
#[derive(Clone, Debug, Args)]
pub(super) struct Release {
    /// The release's name; by default the chart's
    #[arg(long)]
    name: Option<String>,
    /// The release's namespace
    #[arg(long, short, default_value = "default")]
    pub(super) namespace: String,
    /// Values over the chart's own, as for `helm install`; may be given several times
    #[arg(long, short = 'f', value_name = "FILE")]
    values: Vec<PathBuf>,
}

/// A manifest's text, and what it is rendered with.
pub(super) struct Source {
    /// How findings call it.
    pub(super) file: String,
    pub(super) text: String,
    /// The release's name.
    pub(super) name: Option<String>,
    context: Json,
}

impl Source {
    /// A chart's folder, a manifest, or `-` for standard input.
    pub(super) fn read(path: &Path, release: &Release) -> anyhow::Result<Self> {
        let folder = path.is_dir();
        let file = if folder {
            let found = FILES
                .iter()
                .map(|name| path.join(name))
                .find(|file| file.is_file());
            match found {
                Some(file) => file,
                None => bail!("{} has no {}", path.display(), FILES[0]),
            }
        } else {
            path.to_owned()
        };
        let text = read(&file)?;
        let beside = |name: &str| {
            let file = path.join(name);
            if folder && file.is_file() {
                yaml(&file)
            } else {
                Ok(Json::Null)
            }
        };
        let chart = beside("Chart.yaml")?;
        let mut values = match beside("values.yaml")? {
            Json::Null => json!({}),
            values => values,
        };
        for file in &release.values {
            excerpt::merge(&mut values, yaml(file)?);
        }
        let name = release
            .name
            .clone()
            .or_else(|| Some(chart.get("name")?.as_str()?.to_owned()));
        let release_name = name.clone().unwrap_or_default();
        let mut context = excerpt::context(&release_name, &release.namespace, 1, &chart, &values);
        if name.is_none() {
            context["Release"]["Name"] = Json::Null;
        }
        Ok(Self {
            file: file.display().to_string(),
            text,
            name,
            context,
        })
    }

    pub(super) fn excerpt(&self) -> Excerpt {
        Excerpt::read(&self.file, &self.text, &self.context)
    }
}

/// A file's text; `-` is standard input.
pub(super) fn read(path: &Path) -> anyhow::Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("cannot read standard input")?;
        return Ok(text);
    }
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn yaml(path: &Path) -> anyhow::Result<Json> {
    let text = read(path)?;
    if text.trim().is_empty() {
        return Ok(Json::Null);
    }
    let root = Node::from_yaml(&text).with_context(|| format!("{} is not YAML", path.display()))?;
    Ok(root.to_json())
}

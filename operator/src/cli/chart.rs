//! Charts and manifests on disk, as the commands that need no cluster read them.

mod package;

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
    /// A chart's folder or package, a manifest, or `-` for standard input.
    pub(super) fn read(path: &Path, release: &Release) -> anyhow::Result<Self> {
        let chart = Chart::read(path)?;
        let of_chart = |name: &str, text: Option<&str>| match text {
            Some(text) => yaml(text).with_context(|| format!("{name} of {}", path.display())),
            None => Ok(Json::Null),
        };
        let about = of_chart("Chart.yaml", chart.about.as_deref())?;
        let mut values = match of_chart("values.yaml", chart.values.as_deref())? {
            Json::Null => json!({}),
            values => values,
        };
        for file in &release.values {
            let text = read(file)?;
            let over = yaml(&text).with_context(|| format!("{} is not YAML", file.display()))?;
            excerpt::merge(&mut values, over);
        }
        let name = release
            .name
            .clone()
            .or_else(|| Some(about.get("name")?.as_str()?.to_owned()));
        let release_name = name.clone().unwrap_or_default();
        let mut context = excerpt::context(&release_name, &release.namespace, 1, &about, values);
        if name.is_none() {
            context["Release"]["Name"] = Json::Null;
        }
        Ok(Self {
            file: chart.file,
            text: chart.manifest,
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

fn yaml(text: &str) -> anyhow::Result<Json> {
    if text.trim().is_empty() {
        return Ok(Json::Null);
    }
    Ok(Node::from_yaml(text).context("not YAML")?.to_json())
}

/// The files of a chart that are read here.
struct Chart {
    /// How findings call the manifest.
    file: String,
    manifest: String,
    about: Option<String>,
    values: Option<String>,
}

impl Chart {
    fn read(path: &Path) -> anyhow::Result<Self> {
        if path.is_dir() {
            return Self::folder(path);
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".tgz") || name.ends_with(".tar.gz") {
            return Self::package(path);
        }
        Ok(Self {
            file: path.display().to_string(),
            manifest: read(path)?,
            about: None,
            values: None,
        })
    }

    fn folder(path: &Path) -> anyhow::Result<Self> {
        let files = FILES.iter().map(|name| path.join(name));
        let Some(file) = files.into_iter().find(|file| file.is_file()) else {
            bail!("{} has no {}", path.display(), FILES[0]);
        };
        let beside = |name: &str| {
            let file = path.join(name);
            file.is_file().then(|| read(&file)).transpose()
        };
        Ok(Self {
            manifest: read(&file)?,
            about: beside("Chart.yaml")?,
            values: beside("values.yaml")?,
            file: file.display().to_string(),
        })
    }

    fn package(path: &Path) -> anyhow::Result<Self> {
        let opened =
            fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let wanted = [FILES[0], FILES[1], "Chart.yaml", "values.yaml"];
        let [manifest, older, about, values] =
            package::files(opened, wanted).with_context(|| path.display().to_string())?;
        let (name, manifest) = match (manifest, older) {
            (Some(manifest), _) => (FILES[0], manifest),
            (None, Some(older)) => (FILES[1], older),
            (None, None) => bail!("{} has no {}", path.display(), FILES[0]),
        };
        Ok(Self {
            file: format!("{}/{name}", path.display()),
            manifest,
            about,
            values,
        })
    }
}

//! The operator's chart as Helm renders it, without a cluster.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value as Json;
use stanza::node::Node;

use crate::cluster::root;

/// Helm 4 and Helm 3.
pub const HELMS: [&str; 2] = ["helm", "helm3"];
/// The oldest Kubernetes that the chart is for.
pub const OLDEST: &str = "1.25.0";

/// A Helm of PATH, or that of the test cluster's cache.
pub fn find(helm: &str) -> Option<PathBuf> {
    let on_path = env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>());
    let cache = env::var_os("WS_CACHE")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("XDG_CACHE_HOME")?).join("ws-operator")))
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache/ws-operator")));
    let built = cache
        .and_then(|cache| std::fs::read_dir(cache.join("cluster")).ok())
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    on_path
        .into_iter()
        .flatten()
        .chain(built)
        .map(|folder| folder.join(helm))
        .find(|program| program.is_file())
}

/// The objects that the chart makes with these `--set` words.
pub fn render(helm: &Path, kubernetes: &str, sets: &[&str]) -> Result<Vec<Json>> {
    render_knowing(helm, kubernetes, &[], sets)
}

/// … where the API server has these kinds too.
pub fn render_knowing(
    helm: &Path,
    kubernetes: &str,
    kinds: &[&str],
    sets: &[&str],
) -> Result<Vec<Json>> {
    objects(&template(helm, kubernetes, kinds, sets)?.map_err(anyhow::Error::msg)?)
}

/// The objects in what Helm or kustomize writes.
pub fn objects(text: &str) -> Result<Vec<Json>> {
    text.split("\n---\n")
        .map(|document| document.trim_start_matches("---\n"))
        .filter(|document| {
            let mut lines = document.lines();
            lines.any(|line| !line.is_empty() && !line.starts_with('#'))
        })
        .map(|document| {
            let root = Node::from_yaml(document).with_context(|| document.to_owned())?;
            Ok(root.to_json())
        })
        .collect()
}

/// What Helm says of values that it does not take.
pub fn refusal(helm: &Path, sets: &[&str]) -> Result<String> {
    match template(helm, OLDEST, &[], sets)? {
        Ok(_) => bail!("{sets:?} were taken"),
        Err(words) => Ok(words),
    }
}

fn template(
    helm: &Path,
    kubernetes: &str,
    kinds: &[&str],
    sets: &[&str],
) -> Result<Result<String, String>> {
    let words = ["--namespace=ws-operator", "--no-hooks", "--kube-version"];
    let mut words: Vec<String> = words.map(str::to_owned).into();
    words.push(kubernetes.to_owned());
    words.extend(kinds.iter().map(|kind| format!("--api-versions={kind}")));
    words.extend(sets.iter().map(|set| format!("--set{set}")));
    run(helm, &root().join("charts/ws-operator"), &words)
}

/// All that a chart makes, hooks included, as the text that Helm writes.
pub fn whole(helm: &Path, chart: &Path, words: &[&str]) -> Result<String> {
    let oldest = format!("--kube-version={OLDEST}");
    let words = words.iter().copied().map(str::to_owned).chain([oldest]);
    run(helm, chart, &words.collect::<Vec<_>>())?.map_err(anyhow::Error::msg)
}

fn run(helm: &Path, chart: &Path, words: &[String]) -> Result<Result<String, String>> {
    let output = Command::new(helm)
        .args(["template", "ws-operator"])
        .args(words)
        .arg(chart)
        .output()
        .with_context(|| format!("cannot start {}", helm.display()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    })
}

/// The one object of that kind, and of that name if one is given.
pub fn object<'a>(objects: &'a [Json], kind: &str, name: &str) -> Result<&'a Json> {
    let mut found = objects.iter().filter(|object| {
        object["kind"] == kind && (name.is_empty() || object["metadata"]["name"] == name)
    });
    let first = found.next().with_context(|| format!("no {kind} {name}"))?;
    ensure!(found.next().is_none(), "more than one {kind} {name}");
    Ok(first)
}

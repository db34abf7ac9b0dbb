//! The example app's chart, as it is or with another manifest.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::cluster::{Namespace, root};
use crate::command::helm;

/// The example's chart in the checkout.
pub fn example() -> PathBuf {
    root().join("manifests/examples/chat")
}

/// The example as one file.
pub fn example_file() -> PathBuf {
    root().join("manifests/examples/chat.yaml")
}

/// The text of that file, with the image that this cluster has.
pub fn one_file() -> Result<String> {
    let text = std::fs::read_to_string(example_file())?;
    Ok(text.replace("image: python:3.13-alpine", &format!("image: {}", image())))
}

/// The image of the example's app.
pub fn image() -> String {
    std::env::var("WS_IMAGE_PYTHON").unwrap_or_else(|_| "python:3.13-alpine".to_owned())
}

/// Its AppManifest, and everything else in it.
pub fn one_file_parts() -> Result<(String, String)> {
    let text = one_file()?;
    let (manifest, rest) = text.split_once("\n---\n").context("only one document")?;
    Ok((manifest.to_owned() + "\n", rest.to_owned()))
}

/// A copy of the example's chart whose OlaresManifest.yaml is changed by `edit`.
pub fn edited(edit: impl FnOnce(&str) -> String) -> Result<TempDir> {
    let copy = copy(&example())?;
    let manifest = copy.path().join("OlaresManifest.yaml");
    let before = std::fs::read_to_string(&manifest)?;
    let after = edit(&before);
    ensure!(after != before, "the edit changed nothing");
    std::fs::write(manifest, after)?;
    Ok(copy)
}

/// A copy that may be changed.
pub fn copy(chart: &Path) -> Result<TempDir> {
    let copy = tempfile::tempdir()?;
    copy_all(chart, copy.path())?;
    Ok(copy)
}

/// The manifest without what asks for WebSockets.
pub fn without_stanza(manifest: &str) -> String {
    manifest
        .split_once("\noptions:")
        .map_or(manifest, |(before, _)| before)
        .to_owned()
        + "\n"
}

/// `helm install`, as a person does it.
pub fn install(namespace: &Namespace, chart: &Path) -> Result<()> {
    helm_with(namespace, chart, &["install", "--wait", "--timeout", "2m"])
}

/// `helm install` that does not wait for the pods.
pub fn begin(namespace: &Namespace, chart: &Path) -> Result<()> {
    helm_with(namespace, chart, &["install"])
}

/// Installed or upgraded, whichever it takes.
pub fn put(namespace: &Namespace, chart: &Path) -> Result<()> {
    let words = ["upgrade", "--install", "--wait", "--timeout", "2m"];
    helm_with(namespace, chart, &words)
}

pub fn upgrade(namespace: &Namespace, chart: &Path) -> Result<()> {
    helm_with(namespace, chart, &["upgrade", "--wait", "--timeout", "2m"])
}

pub fn uninstall(namespace: &Namespace) -> Result<()> {
    let place = ["--wait", "--namespace", &namespace.name];
    helm(["uninstall", "chat"].into_iter().chain(place)).map(drop)
}

fn helm_with(namespace: &Namespace, chart: &Path, words: &[&str]) -> Result<()> {
    let chart = chart.to_str().context("a chart's path that is no text")?;
    let image = format!("--set=image={}", image());
    let place = ["--namespace", &namespace.name, "chat", chart];
    helm(words.iter().copied().chain(place).chain([image.as_str()])).map(drop)
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir(&target)?;
            copy_all(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

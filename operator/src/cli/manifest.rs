//! `ws-operator manifest CHART`: the AppManifest of a chart, for kubectl.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use kube::Resource;
use serde_json::json;
use stanza::Manifest;
use stanza::excerpt;

use super::chart::{Release, Source};
use crate::api::AppManifest;

/// Print the AppManifest of a chart, for kubectl
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  ws-operator manifest ./chat -n chat | kubectl apply -f -")]
pub(super) struct Arguments {
    /// A chart's folder or package (.tgz), an OlaresManifest.yaml, or - for standard input
    chart: PathBuf,
    #[command(flatten)]
    release: Release,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<String> {
    let source = Source::read(&arguments.chart, &arguments.release)?;
    let excerpt = source.excerpt();
    if excerpt.problems.has_errors() {
        bail!("{}", excerpt.problems);
    }
    let Some(root) = excerpt.root else {
        bail!(
            "{}: no options.websocket: the app asks for no WebSockets",
            source.file
        );
    };
    let manifest = Manifest::from_node(&source.file, "", &root)?;
    let Some(name) = source.name.or(manifest.name) else {
        bail!("{}: has no metadata.name: say --name", source.file);
    };
    let object = json!({
        "apiVersion": AppManifest::api_version(&()),
        "kind": AppManifest::kind(&()),
        "metadata": {"name": name, "namespace": arguments.release.namespace},
        "spec": excerpt::to_json(&root),
    });
    Ok(serde_saphyr::to_string(&object)?)
}

//! The files in manifests/ are what the charts say.

use std::sync::Arc;

use anyhow::Result;
use e2e::cluster::{Namespace, root};
use e2e::command::run;

/// Here and not with the other pages, because here is a Helm.
pub(crate) async fn the_one_file_is_what_the_chart_says(_: Arc<Namespace>) -> Result<()> {
    run(
        &root()
            .join("manifests/examples/generate")
            .display()
            .to_string(),
        ["--check"],
    )
    .map(drop)
}

pub(crate) async fn install_yaml_is_what_the_chart_says(_: Arc<Namespace>) -> Result<()> {
    run(
        &root().join("charts/render").display().to_string(),
        ["--check"],
    )
    .map(drop)
}

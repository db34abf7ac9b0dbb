//! The command line.

use clap::{Parser, Subcommand};
use kube::CustomResourceExt;

use crate::api::AppManifest;
use crate::reason;
use crate::run::run;
use crate::settings::Settings;

/// WebSockets for any app on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "ws-operator", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the operator in a cluster
    Run(Box<Settings>),
    /// Print the CustomResourceDefinitions
    Crds,
    /// Print docs/reasons.md
    Reasons,
}

impl Cli {
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Run(settings) => run(*settings).await,
            Command::Crds => {
                print(&crds()?);
                Ok(())
            }
            Command::Reasons => {
                print(&reason::document());
                Ok(())
            }
        }
    }
}

/// What `crds/` holds.
pub fn crds() -> anyhow::Result<String> {
    Ok(serde_saphyr::to_string(&AppManifest::crd())?)
}

#[expect(clippy::print_stdout, reason = "the command line's own output")]
fn print(text: &str) {
    print!("{text}");
}

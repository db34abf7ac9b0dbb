//! The command line.

mod chart;
mod inject;
mod lint;
mod manifest;

use std::process::ExitCode;

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
    Manifest(manifest::Arguments),
    Lint(lint::Arguments),
    Inject(Box<inject::InjectArguments>),
    Uninject(inject::UninjectArguments),
    /// Print the CustomResourceDefinitions
    Crds,
    /// Print docs/reasons.md
    Reasons,
}

impl Cli {
    /// The exit code says whether a check found something.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let output = match self.command {
            Command::Run(settings) => {
                run(*settings).await?;
                return Ok(ExitCode::SUCCESS);
            }
            Command::Manifest(arguments) => manifest::run(&arguments)?.into(),
            Command::Lint(arguments) => lint::run(&arguments)?,
            Command::Inject(arguments) => said(inject::inject(&arguments)?),
            Command::Uninject(arguments) => said(inject::uninject(&arguments)?),
            Command::Crds => crds()?.into(),
            Command::Reasons => reason::document().into(),
        };
        print(&output.text);
        Ok(if output.failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}

/// What a command has to say.
struct Output {
    text: String,
    /// A check found something.
    failed: bool,
}

impl From<String> for Output {
    fn from(text: String) -> Self {
        let failed = false;
        Self { text, failed }
    }
}

/// The decisions go to standard error, the objects to standard output.
fn said(outcome: inject::Outcome) -> Output {
    for line in outcome.said {
        eprintln!("{line}");
    }
    outcome.text.into()
}

/// What `crds/` holds.
pub fn crds() -> anyhow::Result<String> {
    Ok(serde_saphyr::to_string(&AppManifest::crd())?)
}

#[expect(clippy::print_stdout, reason = "the command line's own output")]
fn print(text: &str) {
    print!("{text}");
}

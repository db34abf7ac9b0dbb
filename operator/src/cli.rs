//! The command line.

mod chart;
mod doctor;
mod explain;
mod inject;
mod installed;
mod lint;
mod manifest;
mod object;
mod roll;
mod snapshot;
mod target;

use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use kube::CustomResourceExt;

use crate::api::AppManifest;
use crate::logging;
use crate::reason;
use crate::run::run;
use crate::settings::Settings;
use crate::source::helm_release::reader;
use crate::stand_down::{StandDown, stand_down};

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
    /// Lead every entrance back to its app, before the operator is removed
    StandDown(StandDown),
    Doctor(doctor::Arguments),
    Explain(Box<explain::Arguments>),
    Roll(roll::Arguments),
    Manifest(manifest::Arguments),
    Lint(lint::Arguments),
    Inject(Box<inject::InjectArguments>),
    Uninject(inject::UninjectArguments),
    /// Print the CustomResourceDefinitions
    Crds,
    /// Print docs/reasons.md
    Reasons,
    /// Print the completions of a shell
    #[command(
        after_help = "Example:\n  ws-operator completions bash >/etc/bash_completion.d/ws-operator"
    )]
    Completions {
        shell: clap_complete::Shell,
    },
    /// Read one Helm release from standard input: what `run` starts for each
    #[command(name = reader::COMMAND, hide = true)]
    ReadRelease,
}

/// kubectl runs a program of this name as `kubectl ws`.
const PLUGIN: &str = "kubectl-ws";

impl Cli {
    /// Reads the command line. Under the name of a kubectl plugin the help says so.
    pub fn read() -> Self {
        let name = std::env::args_os().next().unwrap_or_default();
        let plugin = Path::new(&name)
            .file_stem()
            .is_some_and(|name| name == PLUGIN);
        let mut command = Self::command();
        if plugin {
            command = command.bin_name("kubectl ws");
        }
        Self::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
    }

    /// The exit code says whether a check found something.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Run(_) => logging::start()?,
            _ => logging::start_command(),
        }
        let output = match self.command {
            Command::Run(settings) => {
                run(*settings).await?;
                return Ok(ExitCode::SUCCESS);
            }
            Command::StandDown(settings) => {
                stand_down(settings).await?;
                return Ok(ExitCode::SUCCESS);
            }
            Command::ReadRelease => {
                reader::main()?;
                return Ok(ExitCode::SUCCESS);
            }
            Command::Doctor(arguments) => doctor::run(&arguments).await?,
            Command::Roll(arguments) => roll::run(&arguments).await?,
            Command::Explain(arguments) => explain::run(&arguments).await?.into(),
            Command::Manifest(arguments) => manifest::run(&arguments)?.into(),
            Command::Lint(arguments) => lint::run(&arguments)?,
            Command::Inject(arguments) => said(inject::inject(&arguments)?),
            Command::Uninject(arguments) => said(inject::uninject(&arguments)?),
            Command::Crds => crds()?.into(),
            Command::Reasons => reason::document().into(),
            Command::Completions { shell } => completions(shell).into(),
        };
        print(&output.text);
        Ok(if output.failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}

/// For people, or for programs.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
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
    Output {
        text: outcome.text,
        failed: outcome.failed,
    }
}

fn completions(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ws-operator", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// What `crds/` holds.
pub fn crds() -> anyhow::Result<String> {
    Ok(serde_saphyr::to_string(&AppManifest::crd())?)
}

#[expect(clippy::print_stdout, reason = "the command line's own output")]
fn print(text: &str) {
    print!("{text}");
}

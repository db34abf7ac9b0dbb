//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::gateway::Expose;
use crate::strangers::Kind;
use crate::{app, container, run, strangers};

/// Attacks the gateway while fifty clients talk, and says what they noticed.
#[derive(Parser)]
#[command(name = "attack/run", version)]
struct Cli {
    #[command(flatten)]
    run: RunArgs,
    #[command(subcommand)]
    inner: Option<Inner>,
}

#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// How long each kind of strangers works
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub seconds: u64,
    /// Judge counts only (closed, lost, memory, restarts), and measure nothing before the attack: for a busy machine
    #[arg(long)]
    pub counts: bool,
    /// Only these kinds of strangers: --list names them
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = kind)]
    pub kind: Vec<&'static Kind>,
    /// All kinds but these
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = kind)]
    pub except: Vec<&'static Kind>,
    /// Only this exposure
    #[arg(long, value_name = "EXPOSURE")]
    pub expose: Option<Expose>,
    /// Name the kinds of strangers, and end
    #[arg(long)]
    pub list: bool,
    /// What is printed at the end
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Output,
    /// A page for the table
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// The gateway's program
    #[arg(long, value_name = "FILE", default_value = "target/release/ws-gateway")]
    pub gateway: PathBuf,
    /// How this run was asked for
    #[arg(long, value_name = "LINE", default_value = "attack/run", hide = true)]
    pub command: String,
    /// The gateway's container, made by attack/run
    #[arg(long, value_name = "DIR", hide = true)]
    pub cgroup: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Table,
    Json,
}

#[derive(Subcommand)]
enum Inner {
    /// Becomes a program in the pod
    #[command(hide = true)]
    Inside(container::InsideArgs),
    /// Is the app behind the gateway
    #[command(hide = true)]
    App(app::AppArgs),
    /// Are strangers, until killed
    #[command(hide = true)]
    Strangers {
        #[arg(value_parser = kind)]
        kind: &'static Kind,
    },
}

fn kind(name: &str) -> Result<&'static Kind, String> {
    strangers::named(name).ok_or_else(|| {
        let names: Vec<_> = strangers::ALL.iter().map(|kind| kind.name).collect();
        format!("there are {}", names.join(", "))
    })
}

pub(crate) fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let done = match cli.inner {
        Some(Inner::Inside(args)) => container::main(&args),
        Some(Inner::App(args)) => app::main(args),
        Some(Inner::Strangers { kind }) => strangers::main(kind),
        None if cli.run.list => list(),
        None => {
            let cgroup = cli.run.cgroup.as_deref();
            return run::main(&cli.run, cgroup.context("attack/run starts this")?);
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}

#[allow(clippy::print_stdout, reason = "the command's output")]
#[allow(clippy::unnecessary_wraps, reason = "as the other commands")]
fn list() -> anyhow::Result<()> {
    for kind in strangers::ALL {
        println!("{:20} {}", kind.name, kind.about);
    }
    Ok(())
}

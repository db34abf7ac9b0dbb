//! The command line.

use std::process::ExitCode;

use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::args::{DevArgs, RunArgs, given_settings, with_settings};
use crate::{connect, dev, drain, echo, healthcheck, run};

/// Gives an app WebSockets: it gets every open, message and close as an HTTP POST, and sends,
/// closes and lists through an HTTP API on the same port.
#[derive(Parser)]
#[command(name = "ws-gateway", version, arg_required_else_help = false)]
struct Cli {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Serve clients (the default)
    Run(Box<RunArgs>),
    /// Serve a chart's app on loopback, with the settings of its OlaresManifest.yaml
    Dev(Box<DevArgs>),
    /// Talk to a gateway: lines from standard input are sent, messages are printed
    Connect(connect::ConnectArgs),
    /// Run a minimal echo app for testing
    Echo(echo::EchoArgs),
    /// Exit 0 if a running gateway is alive (for exec probes)
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Make a running gateway close its clients, and wait until the app has every close (a preStop hook)
    Drain(drain::command::DrainArgs),
}

pub fn main() -> ExitCode {
    let matches =
        command().get_matches_from(with_default_subcommand(std::env::args_os().collect()));
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let given = matches
        .subcommand()
        .map(|(_, matches)| given_settings(matches))
        .unwrap_or_default();
    let result = match cli.command {
        Subcommands::Run(args) => run::main(&args, &given),
        Subcommands::Dev(args) => dev::main(&args, &given),
        Subcommands::Connect(args) => connect::main(&args),
        Subcommands::Echo(args) => echo::main(&args),
        Subcommands::Healthcheck(args) => healthcheck::main(&args),
        Subcommands::Drain(args) => drain::command::main(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("ws-gateway: {error:#}\n").as_bytes(),
            );
            ExitCode::FAILURE
        }
    }
}

/// The whole command line, with a flag for each setting of the stanza.
pub fn command() -> Command {
    Cli::command()
        .mut_subcommand("run", with_settings)
        .mut_subcommand("dev", with_settings)
}

/// `ws-gateway --port 8888` is `ws-gateway run --port 8888`.
fn with_default_subcommand(mut args: Vec<std::ffi::OsString>) -> Vec<std::ffi::OsString> {
    let first = args.get(1).and_then(|arg| arg.to_str()).unwrap_or_default();
    let for_run = first.starts_with("--") && !matches!(first, "--help" | "--version");
    if args.len() < 2 || for_run {
        args.insert(1.min(args.len()), "run".into());
    }
    args
}

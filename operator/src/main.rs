//! `ws-operator`: see `--help`.

use clap::Parser;
use ws_operator::{cli::Cli, logging};

#[tokio::main]
async fn main() -> anyhow::Result<std::process::ExitCode> {
    let cli = Cli::parse();
    logging::start();
    cli.run().await
}

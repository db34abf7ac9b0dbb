//! `ws-operator`: see `--help`.

use ws_operator::{cli::Cli, logging};

#[tokio::main]
async fn main() -> anyhow::Result<std::process::ExitCode> {
    let cli = Cli::read();
    logging::start();
    cli.run().await
}

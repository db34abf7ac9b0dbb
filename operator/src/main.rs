//! `ws-operator`: see `--help`.

use ws_operator::cli::Cli;

#[tokio::main]
async fn main() -> anyhow::Result<std::process::ExitCode> {
    Cli::read().run().await
}

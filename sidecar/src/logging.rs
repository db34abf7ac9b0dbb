//! Logs to standard error.

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::cli::ProcessArgs;

pub(crate) fn start(args: &ProcessArgs) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&args.log).with_context(|| format!("--log: {:?}", args.log))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let result = match args.log_format.as_str() {
        "json" => builder.json().try_init(),
        _ => builder
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .try_init(),
    };
    result.map_err(|error| anyhow::anyhow!("logging: {error}"))
}

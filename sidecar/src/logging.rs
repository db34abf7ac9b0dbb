//! Logs to standard error.

use anyhow::Context;
use telemetry::log_filter::Modules;

use crate::args::ProcessArgs;

const MODULES: Modules<'_> = Modules {
    own: "ws_gateway",
    root: include_str!("lib.rs"),
    others: &["hyper", "rustls", "tokio"],
};

pub(crate) fn start(args: &ProcessArgs) -> anyhow::Result<()> {
    let filter = MODULES.filter(&args.log).context("--log, or WS_LOG")?;
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

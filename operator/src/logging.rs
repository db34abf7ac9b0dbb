//! Logs: JSON lines in a cluster, plain text on a terminal; `RUST_LOG` chooses what.

use std::io::IsTerminal;

use anyhow::Context;
use telemetry::log_filter::Modules;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

const MODULES: Modules<'_> = Modules {
    own: "ws_operator",
    root: include_str!("lib.rs"),
    others: &["hyper", "kube_client", "kube_runtime", "rustls", "tower"],
};

/// Of the operator in a cluster: what it could not understand would be silence.
pub fn start() -> anyhow::Result<()> {
    let text = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    let text = if text.is_empty() { "info" } else { &text };
    let filter = MODULES
        .filter(text)
        .context("RUST_LOG (the chart's value log)")?;
    write(filter);
    Ok(())
}

/// Of a command at somebody's desk, whose `RUST_LOG` may be for another program.
pub fn start_command() {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env_lossy();
    write(filter);
}

fn write(filter: EnvFilter) {
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        logs.init();
    } else {
        logs.json().flatten_event(true).init();
    }
}

//! `ws-gateway healthcheck`: a probe that needs no shell, no curl and no open port of its own.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use http::Method;

use crate::ask::{Whom, ask};

#[derive(Args, Clone, Debug)]
pub(crate) struct HealthcheckArgs {
    /// Ask whether it is ready for clients, not only whether it is alive
    #[arg(long)]
    ready: bool,
    #[command(flatten)]
    whom: Whom,
    /// How long it may take
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    timeout: u64,
}

pub(crate) fn main(args: &HealthcheckArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let patience = Duration::from_secs(args.timeout);
    let path = if args.ready { "/readyz" } else { "/healthz" };
    let checked = runtime.block_on(async {
        tokio::time::timeout(patience, ask(&args.whom, Method::GET, path)).await
    });
    checked.with_context(|| format!("no answer within {patience:?}"))?
}

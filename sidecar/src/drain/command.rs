//! `ws-gateway drain`: a preStop hook for pods whose containers end one after the other.

use clap::Args;
use http::Method;

use super::PATH;
use crate::ask::{Whom, ask};

#[derive(Args, Clone, Debug)]
pub(crate) struct DrainArgs {
    #[command(flatten)]
    whom: Whom,
}

/// The gateway itself keeps to `drain.timeout`, and who runs hooks has a patience of its own.
pub(crate) fn main(args: &DrainArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(ask(&args.whom, Method::POST, PATH))
}

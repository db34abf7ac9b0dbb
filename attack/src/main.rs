//! `ws-attack`: strangers at work on the gateway, and what its other clients notice of them.

#![allow(clippy::print_stderr, reason = "progress is for the one who waits")]
#![allow(
    clippy::cast_precision_loss,
    reason = "counts and bytes become figures in tables"
)]

mod app;
mod bystander;
mod cgroup;
mod cli;
mod container;
mod cores;
mod gateway;
mod marks;
mod network;
mod newcomer;
mod outcome;
mod report;
mod round;
mod run;
mod strangers;
mod wire;

fn main() -> anyhow::Result<std::process::ExitCode> {
    cli::main()
}

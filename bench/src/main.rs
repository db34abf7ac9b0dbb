//! `ws-bench`: loads for the gateway and its peers, and what each cost them.

#![allow(clippy::print_stderr, reason = "progress is for the one who waits")]
#![allow(
    clippy::cast_precision_loss,
    reason = "counts and bytes become figures in tables"
)]

mod cli;
mod codec;
mod engine;
mod floor;
mod inner;
mod load;
mod machine;
mod net;
mod peer;
mod process;
mod report;
mod run;
mod sessions;
mod target;
mod wire;

/// The gateway's, as its sessions are also measured inside this program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> anyhow::Result<()> {
    cli::main()
}

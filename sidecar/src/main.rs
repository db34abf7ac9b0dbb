//! `ws-gateway`: see `ws-gateway --help`.

use std::process::ExitCode;

/// Returns pages as soon as they are free: a gateway that once held ten thousand connections
/// must not keep their memory.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    ws_gateway::cli::main()
}

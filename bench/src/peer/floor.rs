//! The kernel's floor: [`crate::floor`] as a server of its own.

use crate::process::{Server, free_port};
use crate::target::{Dialect, Target};

pub(super) fn start(server: &mut Server) -> anyhow::Result<Target> {
    let port = free_port()?;
    server.spawn(std::env::current_exe()?, &["floor", &port.to_string()], &[])?;
    Ok(Target::local(port, "/ws", port, Dialect::Gateway))
}

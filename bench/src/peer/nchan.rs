//! Not written yet.

use anyhow::bail;

use crate::process::Server;
use crate::target::Target;

pub(super) fn check() -> anyhow::Result<()> {
    bail!("not written yet")
}

pub(super) fn start(_: &mut Server) -> anyhow::Result<Target> {
    bail!("not written yet")
}

//! Peers that Debian has.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

/// Installs a package unless its files are there; only root can.
pub(super) fn install(package: &str, files: &[&str]) -> anyhow::Result<()> {
    let there = || files.iter().all(|file| Path::new(file).is_file());
    if there() {
        return Ok(());
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("not installed: apt-get install {package}");
    }
    let output = Command::new("apt-get")
        .args(["install", "--yes", "--no-install-recommends", package])
        // The second keeps the package from starting its service.
        .envs([("DEBIAN_FRONTEND", "noninteractive"), ("RUNLEVEL", "1")])
        .output()
        .context("apt-get could not be run")?;
    if !output.status.success() || !there() {
        bail!(
            "apt-get install {package} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

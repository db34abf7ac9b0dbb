//! The gateway itself.

use super::Setup;
use crate::process::{Server, free_port};
use crate::target::{Dialect, Target};

pub(super) fn start(setup: &Setup, server: &mut Server, app: u16) -> anyhow::Result<Target> {
    let (clients, ops) = (free_port()?, free_port()?);
    let (listen, ops_listen) = (format!("127.0.0.1:{clients}"), format!("127.0.0.1:{ops}"));
    let args = [
        "--listen",
        &listen,
        "--ops-listen",
        &ops_listen,
        "--limits-connections",
        "20000",
        // All of them come at once, and nameless.
        "--limits-connections-anonymous",
        "0",
        "--limits-connect-rate",
        "0",
    ];
    let env = [
        ("WS_PORT", app.to_string()),
        ("WS_URL", "/ws/message".to_owned()),
    ];
    let env = [(env[0].0, env[0].1.as_str()), (env[1].0, env[1].1.as_str())];
    server.spawn(&setup.gateway, &args, &env)?;
    Ok(Target::local(clients, "/ws", clients, Dialect::Gateway))
}

/// `expose: entrance`: what is not the gateway's goes to the app.
pub(super) fn start_proxy(setup: &Setup, server: &mut Server, app: u16) -> anyhow::Result<Target> {
    let (clients, ops, app) = (free_port()?, free_port()?, app.to_string());
    let (listen, ops_listen) = (format!("127.0.0.1:{clients}"), format!("127.0.0.1:{ops}"));
    let args = ["--listen", &listen, "--ops-listen", &ops_listen];
    let env = [
        ("WS_PORT", app.as_str()),
        ("WS_URL", "/ws/message"),
        ("WS_POD_IP", "127.0.0.1"),
        ("WS_UPSTREAM_PORT", &app),
    ];
    server.spawn(&setup.gateway, &args, &env)?;
    Ok(Target::local(clients, "/ws", clients, Dialect::Web))
}

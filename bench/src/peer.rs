//! The servers that are compared, each started with what it needs.

mod debian;
mod envoy;
mod floor;
mod gateway;
mod nginx;
mod node;
mod pushpin;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::engine::{ClientId, Engine, Io, Manner, Script};
use crate::process::Server;

/// What every server is started with.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub server_core: usize,
    pub gateway: PathBuf,
    /// Another build of it.
    pub before: Option<PathBuf>,
    /// Where peers are installed.
    pub cache: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    Gateway,
    /// Another build of the gateway, such as the last release's.
    Before,
    NodeWs,
    Midway,
    Pushpin,
    Nchan,
    Nginx,
    Envoy,
    Tungstenite,
    Floor,
}

/// What a server is started as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Sockets,
    /// In front of the app.
    Proxy,
}

impl Peer {
    pub(crate) const ALL: [Self; 10] = [
        Self::Gateway,
        Self::Before,
        Self::NodeWs,
        Self::Midway,
        Self::Pushpin,
        Self::Nchan,
        Self::Nginx,
        Self::Envoy,
        Self::Tungstenite,
        Self::Floor,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gateway => "ws-gateway",
            Self::Before => "ws-gateway-before",
            Self::NodeWs => "node-ws",
            Self::Midway => "midway",
            Self::Pushpin => "pushpin",
            Self::Nchan => "nchan",
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
            Self::Tungstenite => "tungstenite",
            Self::Floor => "floor",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|peer| peer.name() == name)
    }

    /// Whether it tells the app of events.
    pub(crate) fn takes_callbacks(self) -> bool {
        matches!(
            self,
            Self::Gateway | Self::Before | Self::NodeWs | Self::Midway | Self::Pushpin
        )
    }

    /// Whether it is compared as a server of WebSockets.
    pub(crate) fn holds_sockets(self) -> bool {
        self.takes_callbacks() || matches!(self, Self::Nchan | Self::Floor)
    }

    /// Whether it is compared as a reverse proxy.
    pub(crate) fn proxies(self) -> bool {
        matches!(
            self,
            Self::Gateway | Self::Before | Self::Nginx | Self::Envoy
        )
    }

    /// Whether it is the gateway, in this build or in another.
    pub(crate) fn is_gateway(self) -> bool {
        matches!(self, Self::Gateway | Self::Before)
    }

    /// Installs what is missing; the error says why the peer is left out.
    pub(crate) fn prepare(self, setup: &Setup) -> anyhow::Result<()> {
        match self {
            Self::Gateway | Self::Before => gateway::prepare(gateway::program(self, setup)?),
            Self::NodeWs => node::install_ws(setup),
            Self::Midway => node::install_midway(setup),
            Self::Pushpin => debian::install("pushpin", &["/usr/bin/pushpin", "/usr/bin/zurl"]),
            Self::Nchan => debian::install("libnginx-mod-nchan", &[nginx::NCHAN]),
            Self::Nginx => debian::install("nginx-light", &[nginx::PROGRAM]),
            Self::Envoy => envoy::install(setup),
            Self::Tungstenite | Self::Floor => Ok(()),
        }
    }

    /// Starts the server and waits until a client gets in.
    pub(crate) fn start(
        self,
        setup: &Setup,
        engine: &mut Engine,
        role: Role,
    ) -> anyhow::Result<Server> {
        let mut server = Server::new(setup.server_core)?;
        let app = engine.io.app_port()?;
        engine.io.target = match self {
            Self::Gateway | Self::Before => {
                gateway::start(gateway::program(self, setup)?, &mut server, app, role)
            }
            Self::NodeWs => node::start_ws(setup, &mut server, app),
            Self::Midway => node::start_midway(setup, &mut server, app),
            Self::Pushpin => pushpin::start(&mut server, app),
            Self::Nchan => nginx::start_nchan(&mut server),
            Self::Nginx => nginx::start_proxy(&mut server, app),
            Self::Envoy => envoy::start(setup, &mut server, app),
            Self::Floor => floor::start(&mut server),
            // A library: its load starts no server.
            Self::Tungstenite => bail!("tungstenite is no server"),
        }?;
        let ready = match role {
            Role::Sockets => wait_until_ready(engine),
            Role::Proxy => wait_until_it_proxies(engine),
        };
        ready.with_context(|| format!("{} did not come up:\n{}", self.name(), server.log()))?;
        Ok(server)
    }
}

fn wait_until_ready(engine: &mut Engine) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        let mut probe = Probe::default();
        engine.io.connect(Manner::default())?;
        let soon = Instant::now() + Duration::from_secs(5);
        engine.run(&mut probe, soon, |probe| probe.opened || probe.gone)?;
        if probe.opened {
            engine.io.close(0);
            let soon = Instant::now() + Duration::from_secs(1);
            engine.run(&mut probe, soon, |probe| probe.gone)?;
            engine.io.hang_up();
            // What starting left to do is not to be measured.
            return engine.run_for(&mut Probe::default(), Duration::from_millis(300));
        }
        engine.io.hang_up();
        engine.run_for(&mut probe, Duration::from_millis(50))?;
    }
    bail!("no client got in within 30 s")
}

fn wait_until_it_proxies(engine: &mut Engine) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        let mut probe = Probe::default();
        if engine.io.call(crate::target::Target::get()).is_ok() {
            let soon = Instant::now() + Duration::from_secs(1);
            engine.run(&mut probe, soon, |probe| probe.status != 0)?;
        }
        if probe.status == 200 {
            return Ok(());
        }
        engine.io.forget_calls();
        engine.run_for(&mut probe, Duration::from_millis(50))?;
    }
    bail!("no page came within 30 s")
}

#[derive(Debug, Default)]
struct Probe {
    opened: bool,
    gone: bool,
    status: u16,
}

impl Script for Probe {
    fn opened(&mut self, _: &mut Io, _: ClientId) {
        self.opened = true;
    }

    fn gone(&mut self, _: &mut Io, _: ClientId, _: Option<u16>) {
        self.gone = true;
    }

    fn called(&mut self, _: &mut Io, status: u16, _: Duration) {
        self.status = status;
    }
}

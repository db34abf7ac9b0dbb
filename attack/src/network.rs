//! Two network namespaces with a cable between them: the pod's, and the world outside.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::process::Command;

use anyhow::{Context, ensure};
use nix::sched::{CloneFlags, unshare};

/// RFC 5737: for documentation, so nobody's.
pub(crate) const POD: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Where bystanders and newcomers come from: the last proxy on the way, say.
pub(crate) const HONEST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub(crate) const STRANGER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 3);

/// The app's callbacks arrive here, on loopback.
pub(crate) const APP_PORT: u16 = 8888;
/// The app's own port, which `expose: entrance` stands in front of.
pub(crate) const WEB_PORT: u16 = 8080;

/// The pod's network namespace; the process itself is outside of it.
#[derive(Debug)]
pub(crate) struct PodNetwork(File);

impl PodNetwork {
    /// Called in a fresh network namespace, which becomes the pod's, while the process has one
    /// thread only: those that it starts later are outside.
    pub(crate) fn lay() -> anyhow::Result<Self> {
        let pod = Self(File::open("/proc/self/ns/net")?);
        run("ip link set lo up")?;
        // Else one of the app's own connections may have one of them when the gateway starts.
        let [first, .., last] = stanza::env::GATEWAY_PORTS;
        std::fs::write(
            "/proc/sys/net/ipv4/ip_local_reserved_ports",
            format!("{first}-{last}"),
        )?;
        run("ip link add pod type veth peer name outside")?;
        run(&format!("ip address add {POD}/24 dev pod"))?;
        run("ip link set pod up")?;
        unshare(CloneFlags::CLONE_NEWNET).context("no second network namespace")?;
        run(&format!(
            "nsenter --net={} ip link set outside netns {}",
            pod.path(),
            std::process::id()
        ))?;
        run("ip link set lo up")?;
        for address in [HONEST, STRANGER] {
            run(&format!("ip address add {address}/24 dev outside"))?;
        }
        run("ip link set outside up")?;
        // One stranger's address has to do for tens of thousands of sockets.
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "1024 65535")?;
        Ok(pod)
    }

    /// What `nsenter` and the like take, from any process of this run.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

fn run(line: &str) -> anyhow::Result<()> {
    let mut words = line.split(' ');
    let program = words.next().context("an empty command")?;
    let output = Command::new(program)
        .args(words)
        .output()
        .with_context(|| format!("{program} could not be started"))?;
    let why = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{line}: {}", why.trim());
    Ok(())
}

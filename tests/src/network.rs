//! Who reaches whom where NetworkPolicies are enforced, asked from inside pods.

use std::time::Duration;

use anyhow::Result;

use crate::app::is_ready;
use crate::cluster::{Namespace, in_its_network, root};
use crate::command::{kubectl, run};
use crate::small::{Small, apply};
use crate::wait::{Look, until, within};

/// Asks all at once and prints a line for each: `open` for tcp://, the status for http://, and for
/// ws:// also the example app's greeting. `silence`: no answer to the attempt to connect, which is
/// what a policy makes of it; a refusal would mean that the packets arrived.
const ASK: &str = r#"
import socket, sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

UPGRADE = "Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="

def ask(target):
    url = urlsplit(target)
    try:
        peer = socket.create_connection((url.hostname, url.port), 1)
    except TimeoutError:
        return "silence"
    with peer:
        if url.scheme == "tcp":
            return "open"
        peer.settimeout(10)
        connection = UPGRADE if url.scheme == "ws" else "close"
        peer.sendall(f"GET {url.path} HTTP/1.1\r\nHost: {url.hostname}\r\nConnection: {connection}\r\n\r\n".encode())
        heard = peer.recv(4096)
        status = heard.split()[1].decode()
        while status == "101" and b"hello" not in heard:
            heard += peer.recv(4096)
        return "hello" if status == "101" else status

def line(target):
    try:
        return ask(target)
    except Exception as error:
        return repr(error)

print(*ThreadPoolExecutor().map(line, sys.argv[1:]), sep="\n")
"#;

/// What a careful namespace begins with.
pub const DENY: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny}
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
";

/// Has policies enforced from now on; or says why they are not: in an existing cluster whose
/// network looks away.
pub async fn unenforced() -> Result<Option<&'static str>> {
    if in_its_network() {
        let enforce = root().join("tests/cluster/enforce");
        run(&enforce.display().to_string(), [] as [&str; 0])?;
        return Ok(None);
    }
    let namespace = Namespace::create("e2e-network").await?;
    let path = "jsonpath={.spec.clusterIP}";
    let server = kubectl(["-n", "default", "get", "service", "kubernetes", "-o", path])?;
    let server = format!("tcp://{server}:443");
    let asker = Asker::start(&namespace).await?;
    asker.hears("the API server", &[(&server, "open")]).await?;
    namespace.apply(DENY)?;
    let enforced = within(Duration::from_secs(20), "silence", || async {
        let found = asker.ask(&[&server])?;
        Ok(Look::when(found == ["silence"], (), format!("{found:?}")))
    });
    let why = "this cluster's network enforces no NetworkPolicies";
    let why = enforced.await.is_err().then_some(why);
    namespace.delete().await?;
    Ok(why)
}

/// A pod that asks.
pub struct Asker {
    namespace: String,
}

impl Asker {
    pub async fn start(namespace: &Namespace) -> Result<Self> {
        let small = Small::deployment("asker");
        apply(namespace, &[small.workload()])?;
        let name = namespace.name.clone();
        until("a pod that asks", || async {
            let pods = small.pods(namespace).await?;
            Ok(Look::when(pods.iter().any(is_ready), (), pods.len()))
        })
        .await?;
        Ok(Self { namespace: name })
    }

    /// What each of them answers.
    pub fn ask(&self, targets: &[&str]) -> Result<Vec<String>> {
        let place = ["-n", &self.namespace, "exec", "deployment/asker", "--"];
        let words = ["python3", "-c", ASK];
        let found = kubectl(place.iter().chain(&words).chain(targets))?;
        Ok(found.lines().map(str::to_owned).collect())
    }

    /// Waits until each of them answers so: policies and routes take a moment.
    pub async fn hears(&self, what: &str, wanted: &[(&str, &str)]) -> Result<()> {
        hears(what, wanted, |targets| self.ask(targets)).await
    }
}

/// A machine beside the nodes, in a network namespace of its own.
pub struct Outsider {
    name: String,
}

impl Outsider {
    /// At that address of the nodes' network.
    pub fn at(address: &str) -> Result<Self> {
        let name = format!("o{}", address.replace('.', ""));
        let outsider = Self { name };
        let name = outsider.name.as_str();
        let node = kubectl(["get", "nodes", "-o", NODE])?;
        let link = ["type", "veth", "peer", "name", "eth0", "netns", name];
        ip(&["netns", "add", name])?;
        ip(&[&["link", "add", name], &link[..]].concat())?;
        ip(&["link", "set", name, "master", "node0", "up"])?;
        ip(&[
            "-n",
            name,
            "address",
            "add",
            &format!("{address}/24"),
            "dev",
            "eth0",
        ])?;
        ip(&["-n", name, "link", "set", "eth0", "up"])?;
        ip(&["-n", name, "route", "add", "default", "via", &node])?;
        Ok(outsider)
    }

    pub async fn hears(&self, what: &str, wanted: &[(&str, &str)]) -> Result<()> {
        hears(what, wanted, |targets| {
            let inside = ["netns", "exec", &self.name, "python3", "-c", ASK];
            let found = run("ip", inside.iter().chain(targets))?;
            Ok(found.lines().map(str::to_owned).collect())
        })
        .await
    }
}

impl Drop for Outsider {
    fn drop(&mut self) {
        // Its link goes with it; what is left goes with the cluster.
        let _ = ip(&["netns", "delete", &self.name]);
    }
}

const NODE: &str = "jsonpath={.items[0].status.addresses[?(@.type==\"InternalIP\")].address}";

fn ip(words: &[&str]) -> Result<()> {
    run("ip", words).map(drop)
}

async fn hears(
    what: &str,
    wanted: &[(&str, &str)],
    ask: impl Fn(&[&str]) -> Result<Vec<String>>,
) -> Result<()> {
    let targets: Vec<&str> = wanted.iter().map(|(target, _)| *target).collect();
    until(what, || async {
        let found = ask(&targets)?;
        let holds = found.iter().eq(wanted.iter().map(|(_, answer)| answer));
        let seen: Vec<_> = targets.iter().zip(&found).collect();
        Ok(Look::when(holds, (), format!("{seen:?}")))
    })
    .await
}

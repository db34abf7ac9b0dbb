//! `ws-gateway dev CHART`, as an app author runs it.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Stdio;
use std::time::{Duration, Instant};

use support::{App, Client, free_port, http};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

struct Dev {
    ports: [u16; 2],
    _child: Child,
    _chart: tempfile::TempDir,
}

impl Dev {
    async fn start(app: &App, more: &[&str]) -> Self {
        let chart = tempfile::tempdir().unwrap();
        let manifest = format!(
            "entrances: [{{name: a, host: a, port: 80}}]\noptions:\n  websocket:\n    url: /ws/message\n    \
             port: {}\n    origins: ['https://app.example']\n    identity: {{trustedProxies: [10.0.0.0/8]}}\n",
            app.port()
        );
        std::fs::write(chart.path().join("OlaresManifest.yaml"), manifest).unwrap();
        let ports = [free_port(), free_port()];
        let child = Command::new(env!("CARGO_BIN_EXE_ws-gateway"))
            .arg("dev")
            .arg(chart.path())
            .arg(format!("--listen=[::]:{}", ports[0]))
            .arg(format!("--ops-listen=[::]:{}", ports[1]))
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let dev = Self {
            ports,
            _child: child,
            _chart: chart,
        };
        let ready = SocketAddr::from((Ipv4Addr::LOCALHOST, ports[1]));
        support::eventually("the gateway", async || {
            let answer = http::try_call(ready, "GET", "/readyz", &[], b"").await;
            (answer.ok()?.status == 200).then_some(())
        })
        .await;
        dev
    }

    async fn upgrade(&self, ip: IpAddr, headers: &[(&str, &str)]) -> u16 {
        let to = SocketAddr::new(ip, self.ports[0]);
        http::upgrade(to, "/ws", headers).await.status
    }
}

/// Whatever `localhost` is on this machine.
#[tokio::test]
async fn localhost_is_both_families_and_nothing_else() {
    let app = App::start().await;
    let dev = Dev::start(&app, &[]).await;
    for ip in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
        assert_eq!(dev.upgrade(ip, &[]).await, 101, "{ip}");
        for port in dev.ports {
            TcpStream::connect(SocketAddr::new(ip, port)).await.unwrap();
        }
    }
    // It does not listen on all addresses.
    let other = SocketAddr::from(([127, 0, 0, 2], dev.ports[0]));
    TcpStream::connect(other).await.unwrap_err();
}

/// `ws-gateway connect … --user ann`: the edge that the chart names is not here.
#[tokio::test]
async fn the_author_may_be_anyone() {
    let mut app = App::start().await;
    let dev = Dev::start(&app, &[]).await;
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, dev.ports[0]));
    let _ann = Client::to(to, "/ws", &[("X-BFL-USER", "ann")]).await;
    assert_eq!(app.next_of("open").await.field("user_name"), "ann");
}

/// A page of any site that the author looks at meanwhile is none of the app's.
#[tokio::test]
async fn only_pages_of_this_machine() {
    let app = App::start().await;
    let dev = Dev::start(&app, &[]).await;
    for (origin, status) in [
        ("http://localhost:5173", 101),
        ("http://chat.localhost", 101),
        ("https://127.0.0.1:8443", 101),
        ("http://[::1]:3000", 101),
        ("https://evil.example", 403),
        ("https://app.example", 403),
        ("http://localhost.evil.example", 403),
        ("null", 403),
    ] {
        let found = dev
            .upgrade(Ipv4Addr::LOCALHOST.into(), &[("Origin", origin)])
            .await;
        assert_eq!(found, status, "{origin}");
    }
    // DNS rebinding: the page's own name leads here.
    let rebound = [("Host", "evil.example"), ("Origin", "http://evil.example")];
    assert_eq!(dev.upgrade(Ipv4Addr::LOCALHOST.into(), &rebound).await, 403);

    let opened = Dev::start(&app, &["--origins=https://app.example"]).await;
    let page = [("Origin", "https://app.example")];
    assert_eq!(opened.upgrade(Ipv4Addr::LOCALHOST.into(), &page).await, 101);
}

/// Bodhi's `conf/socket.yaml` is no manifest: README.md has what its keys become.
#[tokio::test]
async fn bodhis_own_file_is_refused_with_what_to_write() {
    let chart = tempfile::tempdir().unwrap();
    let own = "gateway:\n  socket:\n    path: \"/connect\"\n    onconnect:\n      publish: \"socket:connection\"\n    \
               onmessage:\n      publish: \"socket:generalMessage\"\n      types:\n          - type: \"message_type_one\"\n            \
               publish: \"socket:type_one\"\n    onclose:\n      publish: \"socket:close\"\n    send:\n      subscribe: \
               \"socket:send\"\n";
    std::fs::create_dir(chart.path().join("conf")).unwrap();
    std::fs::write(chart.path().join("conf/socket.yaml"), own).unwrap();
    let running = Command::new(env!("CARGO_BIN_EXE_ws-gateway"))
        .args(["dev", "conf/socket.yaml"])
        .current_dir(chart.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = support::soon("its end", running).await.unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    let lines = "conf/socket.yaml has no options.websocket; add\n\noptions:\n  websocket:\n    url: /ws/message\n    port: 8888\n";
    assert!(said.contains(lines), "{said}");
}

/// An app that goes on keeps the gateway for `drain.timeout` (20 s): not whoever sits there.
#[tokio::test]
async fn ctrl_c_on_a_terminal_ends_at_once() {
    let app = App::start().await;
    let chart = tempfile::tempdir().unwrap();
    let manifest = "entrances: []\noptions: {websocket: {url: /ws/message, port: PORT}}\n";
    let manifest = manifest.replace("PORT", &app.port().to_string());
    let file = chart.path().join("OlaresManifest.yaml");
    std::fs::write(&file, manifest).unwrap();
    let program = env!("CARGO_BIN_EXE_ws-gateway");
    let dev = format!("{program} dev {}", file.display());
    let run = format!("{program} run --port={} --url=/ws/message", app.port());
    for command in [dev, run] {
        let ports = [free_port(), free_port()];
        let command = format!(
            "exec {command} --listen=127.0.0.1:{} --ops-listen=127.0.0.1:{} --pod-ip=127.0.0.1 --upstream-port={}",
            ports[0],
            ports[1],
            app.port()
        );
        // util-linux' script gives it a terminal of its own, and takes its input for typing. A shell that stays between
        // the two would have an end of its own (dash says 130).
        let mut terminal = Command::new("script")
            .args(["--quiet", "--return", "--command", &command, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let to = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        support::eventually("the gateway", async || {
            let answer = http::try_call(to(ports[1]), "GET", "/readyz", &[], b"").await;
            (answer.ok()?.status == 200).then_some(())
        })
        .await;
        let _client = Client::to(to(ports[0]), "/ws", &[]).await;
        let typed = Instant::now();
        let mut keyboard = terminal.stdin.take().unwrap();
        keyboard.write_all(b"\x03").await.unwrap();
        let ended = support::soon("its end", terminal.wait()).await.unwrap();
        let took = typed.elapsed();
        let mut screen = String::new();
        let output = terminal.stdout.as_mut().unwrap();
        output.read_to_string(&mut screen).await.unwrap();
        assert!(ended.success(), "{command}: {screen}");
        assert!(screen.contains("ending at once"), "{command}: {screen}");
        assert!(
            took < Duration::from_secs(10),
            "{command}: {took:?}\n{screen}"
        );
    }
}

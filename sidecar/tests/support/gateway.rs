//! The real program in a process of its own, ended with the test.

use std::fs::File;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;
use tokio::process::{Child, Command};

use super::http::{self, Response};
use super::{App, PATIENCE, free_port, soon};

/// A command line to be.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    args: Vec<String>,
    env: Vec<(String, String)>,
    ports: Option<[u16; 3]>,
    ip: Option<IpAddr>,
}

pub struct Gateway {
    /// Where the test's clients connect to: loopback.
    pub clients: SocketAddr,
    pub ops: SocketAddr,
    /// Where the remote admin API is, if it is at all.
    pub remote_admin: SocketAddr,
    launch: Launch,
    child: Child,
    log: PathBuf,
    /// Removes the log with the gateway.
    _directory: tempfile::TempDir,
}

pub const PATH: &str = "/ws/message";
/// What a guarded gateway's admin API is asked with.
pub const BEARER: (&str, &str) = ("Authorization", "Bearer s3cret");

impl Launch {
    pub fn new() -> Self {
        Self::default()
    }

    /// With callbacks to this app.
    pub fn for_app(app: &App) -> Self {
        Self::for_port(app.port())
    }

    pub fn for_port(port: u16) -> Self {
        Self::new()
            .arg("--port", &port.to_string())
            .arg("--url", PATH)
    }

    pub fn arg(mut self, flag: &str, value: &str) -> Self {
        self.args.push(format!("{flag}={value}"));
        self
    }

    /// A setting of the stanza, by its key: `heartbeat.timeout`.
    pub fn set(self, key: &str, value: &str) -> Self {
        self.arg(&format!("--{}", stanza::env::flag(key)), value)
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn journal(self, folder: &Path) -> Self {
        self.arg("--journal", folder.to_str().unwrap())
    }

    /// Its admin API asks for [`BEARER`].
    pub fn guarded(self) -> Self {
        self.env("WS_ADMIN_TOKEN", "s3cret")
    }

    /// Listens on this address instead of on all.
    pub fn listen_on(self, ip: IpAddr) -> Self {
        Self {
            ip: Some(ip),
            ..self
        }
    }

    fn command(&self, [clients, ops, admin]: [u16; 3], log: File) -> Command {
        let ip = self.ip.unwrap_or(Ipv6Addr::UNSPECIFIED.into());
        let mut command = Command::new(env!("CARGO_BIN_EXE_ws-gateway"));
        command
            .arg("run")
            .arg(format!("--listen={}", SocketAddr::new(ip, clients)))
            .arg(format!("--ops-listen={}", SocketAddr::new(ip, ops)))
            .arg(format!("--admin-listen={}", SocketAddr::new(ip, admin)))
            .args(&self.args)
            .env_clear()
            .envs(self.env.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        command
    }

    /// Started, and ready by its own word.
    pub async fn start(&self) -> Gateway {
        let gateway = self.spawn().await;
        gateway.ready().await;
        gateway
    }

    /// Started, and answering, but perhaps not ready.
    pub async fn spawn(&self) -> Gateway {
        for _ in 0..10 {
            let mut gateway = self.spawn_once();
            if gateway.answers().await {
                return gateway;
            }
            let log = gateway.log();
            // Somebody else may have taken the port since it was looked at.
            assert!(
                log.contains("cannot listen") && self.ports.is_none(),
                "the gateway ended:\n{log}"
            );
        }
        panic!("no free ports");
    }

    fn spawn_once(&self) -> Gateway {
        let ports = self
            .ports
            .unwrap_or_else(|| [free_port(), free_port(), free_port()]);
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let child = self
            .command(ports, File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let to = |port| match self.ip {
            Some(ip) => SocketAddr::new(ip, port),
            None => SocketAddr::from(([127, 0, 0, 1], port)),
        };
        let [clients, ops, remote_admin] = ports.map(to);
        let launch = Self {
            ports: Some(ports),
            ..self.clone()
        };
        Gateway {
            clients,
            ops,
            remote_admin,
            launch,
            child,
            log,
            _directory: directory,
        }
    }
}

impl Gateway {
    /// With the defaults, for this app.
    pub async fn start(app: &App) -> Self {
        Launch::for_app(app).start().await
    }

    /// Whether it came so far as to answer; `false` if it ended.
    async fn answers(&mut self) -> bool {
        let asking = async {
            loop {
                if let Ok(Some(_)) = self.child.try_wait() {
                    return false;
                }
                if let Ok(Response { status: 200, .. }) =
                    http::try_call(self.ops, "GET", "/healthz", &[], b"").await
                {
                    return true;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, asking)
            .await
            .unwrap_or_else(|_| panic!("it does not answer:\n{}", self.log()))
    }

    pub async fn ready(&self) {
        let ready = async || (http::get(self.ops, "/readyz").await.status == 200).then_some(());
        super::eventually("/readyz", ready).await;
    }

    /// The same command line on the same ports, once this process has ended.
    pub fn launch(&self) -> Launch {
        self.launch.clone()
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("a running gateway")
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// It does nothing until [`Self::resume`]; what comes meanwhile, it then finds all at once.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// `ws-gateway drain`, as kubelet runs it.
    pub fn drain(&self) -> Child {
        Command::new(env!("CARGO_BIN_EXE_ws-gateway"))
            .arg("drain")
            .arg(format!("--ops-listen={}", self.ops))
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    pub async fn exited(&mut self) -> ExitStatus {
        soon("the gateway's end", self.child.wait()).await.unwrap()
    }

    /// SIGKILL.
    pub async fn kill(&mut self) {
        soon("the gateway's end", self.child.kill()).await.unwrap();
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    // --- the admin API ---

    pub async fn send(&self, body: &Json) -> Json {
        self.admin("send", body).await
    }

    pub async fn close(&self, body: &Json) -> Json {
        self.admin("close", body).await
    }

    /// The answer's data; the call has to succeed.
    async fn admin(&self, call: &str, body: &Json) -> Json {
        let answer = self.try_admin(call, &body.to_string()).await;
        assert_eq!(answer.status, 200, "{call} {body}: {}", answer.text());
        answer.json()["data"].clone()
    }

    pub async fn try_admin(&self, call: &str, body: &str) -> Response {
        let headers = [("Content-Type", "application/json")];
        http::call(
            self.clients,
            "POST",
            &format!("/tapr/ws/conn/{call}"),
            &headers,
            body.as_bytes(),
        )
        .await
    }

    pub async fn list(&self, query: &str) -> Json {
        let answer = http::get(self.clients, &format!("/tapr/ws/conn/list{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// How many connections are listed.
    pub async fn open_connections(&self) -> usize {
        let users = self.list("").await["data"].clone();
        users
            .as_array()
            .unwrap()
            .iter()
            .map(|user| user["conns"].as_array().unwrap().len())
            .sum()
    }

    // --- what it costs ---

    /// The value of the first metric whose line begins so.
    pub async fn metric(&self, name: &str) -> u64 {
        let text = http::get(self.ops, "/metrics").await.text();
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.rsplit_once(' '))
            .map_or(0, |(_, value)| value.parse().unwrap())
    }

    /// Resident memory in KiB: now (`VmRSS`) or at most ever (`VmHWM`).
    pub fn memory(&self, which: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(which)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(30).collect();
            eprintln!("--- the gateway's last words ---");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

//! The gateway's container: its process in the pod's network with its memory limit and its
//! journal, and what kubelet would do with it.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde::{Deserialize, Serialize};
use stanza::env;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;

use crate::app::CALLBACK;
use crate::cgroup::Cgroup;
use crate::cores::Cores;
use crate::network::{APP_PORT, POD, PodNetwork, WEB_PORT};

/// How long a start may take, with everything that a journal says: half a minute of kubelet's.
const START: Duration = Duration::from_secs(30);

/// How clients come to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Expose {
    /// By a Service of its own.
    Service,
    /// In front of the app's own port.
    Entrance,
}

impl Expose {
    pub(crate) const ALL: [Self; 2] = [Self::Service, Self::Entrance];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Entrance => "entrance",
        }
    }
}

/// The pod: what a gateway's container is made of, again and again.
#[derive(Debug)]
pub(crate) struct Pod {
    pub network: PodNetwork,
    pub cgroup: Cgroup,
    pub cores: Cores,
    pub program: PathBuf,
    pub dir: tempfile::TempDir,
}

impl Pod {
    pub(crate) fn journal(&self) -> PathBuf {
        self.dir.path().join("journal")
    }

    /// An emptyDir in memory, as the operator has it made: it outlives the container.
    pub(crate) fn empty_journal(&self) -> anyhow::Result<Journal> {
        let dir = self.journal();
        std::fs::create_dir_all(&dir)?;
        let options = format!(
            "size={}",
            env::JOURNAL_SIZE.to_lowercase().trim_end_matches('i')
        );
        mount(
            Some("tmpfs"),
            &dir,
            Some("tmpfs"),
            MsFlags::empty(),
            Some(options.as_str()),
        )
        .with_context(|| format!("no tmpfs at {}", dir.display()))?;
        Ok(Journal(dir))
    }

    pub(crate) fn start(&self, expose: Expose, flags: &[&str]) -> anyhow::Result<Gateway> {
        let mut command = self.inside(&self.program, true);
        command
            .args(["run", "--journal"])
            .arg(self.journal())
            .arg(format!("--port={APP_PORT}"))
            .arg(format!("--url={CALLBACK}"));
        if expose == Expose::Entrance {
            command
                .arg(format!("--upstream-port={WEB_PORT}"))
                .arg(format!("--pod-ip={POD}"));
        }
        command
            .args(flags)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let lines = child.stderr.take().context("its log")?;
        Ok(Gateway {
            child,
            log: Log::keep(lines),
        })
    }

    /// A program in the pod; `contained`: within the gateway's memory limit, on its core.
    pub(crate) fn inside(&self, program: &Path, contained: bool) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.args(["inside", "--net"]).arg(self.network.path());
        if contained {
            command.arg("--cgroup").arg(&self.cgroup.dir);
            if let Some(core) = self.cores.gateway {
                command.arg(format!("--core={core}"));
            }
        }
        command
            .arg("--")
            .arg(program)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("WS_") {
                command.env_remove(name);
            }
        }
        command
    }

    /// As kubelet probes it.
    pub(crate) async fn probe(&self, ready: bool) -> bool {
        let mut command = self.inside(&self.program, false);
        command.arg("healthcheck").args(ready.then_some("--ready"));
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().await.is_ok_and(|status| status.success())
    }
}

/// Removes the volume with the pod.
#[derive(Debug)]
pub(crate) struct Journal(PathBuf);

impl Drop for Journal {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

#[derive(Debug)]
pub(crate) struct Gateway {
    child: Child,
    log: Log,
}

/// Read from a pipe, as the kubelet's runtime does: a file's pages would count as the gateway's.
#[derive(Debug)]
struct Log {
    kept: Arc<Mutex<Kept>>,
    reading: AbortOnDrop,
}

#[derive(Debug, Default)]
struct Kept {
    lines: usize,
    last: String,
}

#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Log {
    fn keep(stderr: ChildStderr) -> Self {
        let kept = Arc::<Mutex<Kept>>::default();
        let into = Arc::clone(&kept);
        let reading = tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let mut kept = into.lock().expect("nobody panics");
                kept.lines += 1;
                kept.last = line;
            }
        });
        Self {
            kept,
            reading: AbortOnDrop(reading),
        }
    }
}

impl Gateway {
    /// How long it took until it was ready; the error has the end of its log.
    pub(crate) async fn ready(&mut self, pod: &Pod) -> anyhow::Result<Duration> {
        let began = Instant::now();
        while began.elapsed() < START {
            if let Some(status) = self.exited()? {
                bail!("it ends with {status}: {}", self.last_words().await);
            }
            if pod.probe(true).await {
                return Ok(began.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!(
            "it is not ready after {START:?}: {}",
            self.last_words().await
        )
    }

    pub(crate) fn exited(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    pub(crate) async fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill().await;
    }

    /// Resident bytes.
    pub(crate) fn resident(&self) -> u64 {
        let Some(pid) = self.child.id() else { return 0 };
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    }

    pub(crate) fn log_lines(&self) -> usize {
        self.log.kept.lock().expect("nobody panics").lines
    }

    /// Once it has ended.
    async fn last_words(&mut self) -> String {
        let reading = &mut self.log.reading.0;
        let _ = tokio::time::timeout(Duration::from_secs(1), reading).await;
        self.log.kept.lock().expect("nobody panics").last.clone()
    }
}

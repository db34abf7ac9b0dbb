//! Server processes: pinned to a core, with what they cost from the kernel's books.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::time::ClockId;
use nix::unistd::Pid;

/// A server and what it started; ended when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    children: Vec<Child>,
    /// Settings and logs.
    pub dir: tempfile::TempDir,
    core: usize,
}

/// What a server has used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub cpu: Duration,
    /// Resident bytes.
    pub resident: u64,
}

impl Server {
    pub(crate) fn new(core: usize) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("ws-bench-").tempdir()?;
        Ok(Self {
            children: Vec::new(),
            dir,
            core,
        })
    }

    pub(crate) fn file(&self, name: &str, content: &str) -> anyhow::Result<PathBuf> {
        let path = self.dir.path().join(name);
        fs::write(&path, content)?;
        Ok(path)
    }

    /// Starts a program on the server's core, by way of `ws-bench pinned`, so that every thread
    /// it ever has is there.
    pub(crate) fn spawn(
        &mut self,
        program: impl Into<OsString>,
        args: &[&str],
        env: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        let program = program.into();
        let log = fs::File::create(self.dir.path().join(format!("log-{}", self.children.len())))?;
        let child = Command::new(std::env::current_exe()?)
            .arg("pinned")
            .arg(self.core.to_string())
            .arg(&program)
            .args(args)
            .envs(env.iter().copied())
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} could not be started", program.display()))?;
        self.children.push(child);
        Ok(())
    }

    /// The end of what the server wrote, for when it does not come up.
    pub(crate) fn log(&self) -> String {
        let files = fs::read_dir(self.dir.path())
            .into_iter()
            .flatten()
            .flatten();
        let is_log = |name: &str| {
            name.starts_with("log-") || Path::new(name).extension().is_some_and(|ext| ext == "log")
        };
        let text: String = files
            .filter(|file| file.file_name().to_str().is_some_and(is_log))
            .filter_map(|file| fs::read_to_string(file.path()).ok())
            .collect();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    pub(crate) fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for pid in self.processes() {
            // One that has just ended is of no account.
            let Ok(clock) = ClockId::pid_cpu_clock_id(Pid::from_raw(pid)) else {
                continue;
            };
            let Ok(cpu) = clock.now() else { continue };
            usage.cpu += Duration::from(cpu);
            usage.resident += resident(pid).unwrap_or(0);
        }
        usage
    }

    /// Memory of the server's own, by kind, as `smaps_rollup` has it.
    pub(crate) fn private(&self) -> u64 {
        let of = |pid| {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            field(&text, "Private_Clean:").unwrap_or(0)
                + field(&text, "Private_Dirty:").unwrap_or(0)
        };
        self.processes().into_iter().map(of).sum()
    }

    /// The children and theirs.
    fn processes(&self) -> Vec<i32> {
        let mut pids: Vec<i32> = self
            .children
            .iter()
            .filter_map(|child| child.id().try_into().ok())
            .collect();
        let mut index = 0;
        while let Some(pid) = pids.get(index) {
            // A child belongs to the thread that started it.
            for task in fs::read_dir(format!("/proc/{pid}/task"))
                .into_iter()
                .flatten()
                .flatten()
            {
                let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
                pids.extend(
                    children
                        .split_whitespace()
                        .filter_map(|pid| pid.parse::<i32>().ok()),
                );
            }
            index += 1;
        }
        pids
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pids = self.processes();
        for pid in pids.into_iter().rev() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        for child in &mut self.children {
            let _ = child.wait();
        }
    }
}

fn resident(pid: i32) -> Option<u64> {
    field(
        &fs::read_to_string(format!("/proc/{pid}/status")).ok()?,
        "VmRSS:",
    )
}

/// A line such as `VmRSS:  1024 kB`, in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Binds this process, and what it becomes, to one core.
pub(crate) fn pin(core: usize) -> anyhow::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &cores)
        .with_context(|| format!("cannot run on core {core}"))
}

/// `ws-bench pinned CORE PROGRAM ARGS…`
pub(crate) fn become_pinned(core: usize, command: &[OsString]) -> anyhow::Result<()> {
    pin(core)?;
    let (program, args) = command.split_first().context("no program is given")?;
    Err(Command::new(program).args(args).exec().into())
}

/// A port that is free now.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

pub(crate) fn is_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([Path::new("/usr/sbin").into()])
        .any(|dir| dir.join(name).is_file())
}

//! The container's memory limit, and what the kernel counts against it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// What the operator gives the gateway's container by default.
pub(crate) const LIMIT: u64 = 256 << 20;

/// A cgroup of version 2, or of version 1 with the memory controller.
#[derive(Clone, Debug)]
pub(crate) struct Cgroup {
    pub dir: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Cgroup {
    pub(crate) fn at(dir: &Path) -> Self {
        let version = if dir.join("memory.max").exists() {
            Version::Two
        } else {
            Version::One
        };
        Self {
            dir: dir.to_owned(),
            version,
        }
    }

    pub(crate) fn limit(&self) -> anyhow::Result<()> {
        let limit = LIMIT.to_string();
        match self.version {
            Version::One => {
                self.write("memory.limit_in_bytes", &limit)?;
                // Only with a limit of its own does version 1 count what sockets hold.
                self.write("memory.kmem.tcp.limit_in_bytes", &limit)
            }
            Version::Two => {
                self.write("memory.max", &limit)?;
                if self.dir.join("memory.swap.max").exists() {
                    self.write("memory.swap.max", "0")?;
                }
                Ok(())
            }
        }
    }

    /// Everything that counts: pages of the process, of the journal's tmpfs, of the kernel, of
    /// sockets.
    pub(crate) fn used(&self) -> u64 {
        match self.version {
            Version::One => {
                self.number("memory.usage_in_bytes") + self.number("memory.kmem.tcp.usage_in_bytes")
            }
            Version::Two => self.number("memory.current"),
        }
    }

    /// How many processes the kernel has killed for want of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        let file = match self.version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        let text = fs::read_to_string(self.dir.join(file)).unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix("oom_kill "))
            .and_then(|count| count.trim().parse().ok())
            .unwrap_or(0)
    }

    /// The file system that a container finds at /sys/fs/cgroup: where, which, with what data.
    pub(crate) fn mount(&self) -> (&'static str, &'static str, Option<&'static str>) {
        match self.version {
            Version::One => ("/sys/fs/cgroup/memory", "cgroup", Some("memory")),
            Version::Two => ("/sys/fs/cgroup", "cgroup2", None),
        }
    }

    pub(crate) fn enter(&self) -> anyhow::Result<()> {
        self.write("cgroup.procs", "0")
    }

    fn write(&self, file: &str, text: &str) -> anyhow::Result<()> {
        let path = self.dir.join(file);
        fs::write(&path, text).with_context(|| format!("{} takes no {text}", path.display()))
    }

    fn number(&self, file: &str) -> u64 {
        let text = fs::read_to_string(self.dir.join(file)).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }
}

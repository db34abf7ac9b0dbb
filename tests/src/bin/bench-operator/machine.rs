//! This machine, which everything runs on: the operator's memory, how busy the cores are.

use anyhow::{Context, Result, ensure};

/// Of one replica, in KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    /// The most it ever was.
    pub(crate) peak: u64,
}

/// Of every replica.
pub(crate) fn memory(replicas: &[String]) -> Result<Vec<Memory>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let folder = entry?.path();
        let name = std::fs::read_to_string(folder.join("comm")).unwrap_or_default();
        if name.trim() != "ws-operator" {
            continue;
        }
        let status = std::fs::read_to_string(folder.join("status"))?;
        all.push(Memory {
            resident: line(&status, "VmRSS:")?,
            peak: line(&status, "VmHWM:")?,
        });
    }
    ensure!(
        all.len() == replicas.len(),
        "{} processes of {} replicas are on this machine",
        all.len(),
        replicas.len()
    );
    Ok(all)
}

fn line(status: &str, name: &str) -> Result<u64> {
    let line = status.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(value.context("no such line")?.parse()?)
}

/// Processor time of all cores, in ticks.
pub(crate) struct Work {
    idle: f64,
    all: f64,
}

impl Work {
    pub(crate) fn read() -> Result<Self> {
        let stat = std::fs::read_to_string("/proc/stat")?;
        let line = stat.lines().next().unwrap_or_default();
        let ticks: Vec<f64> = line
            .split_whitespace()
            .skip(1)
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        // proc_stat(5): user, nice, system, idle, iowait
        let idle = ticks.iter().skip(3).take(2).sum();
        let all = ticks.iter().sum();
        Ok(Self { idle, all })
    }

    /// Which part of the cores was at work.
    pub(crate) fn since(&self, before: &Self) -> f64 {
        1.0 - (self.idle - before.idle) / (self.all - before.all)
    }
}

/// What it ran on, in words.
pub(crate) fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("", |value| value.trim_start_matches([':', '\t', ' ']));
    let load = read("/proc/loadavg");
    let load = load.split_whitespace().next().unwrap_or_default();
    format!("{model}, {cores} cores, load average at the end {load}")
}

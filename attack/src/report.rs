//! The table: on a terminal, as JSON, as a page of the docs.

use std::fmt::Write as _;

use serde::Serialize;

use crate::bystander::BYSTANDERS;
use crate::cgroup::LIMIT;
use crate::cores::Cores;
use crate::marks;
use crate::outcome::Outcome;
use crate::strangers;

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub command: String,
    pub machine: Machine,
    pub seconds: u64,
    /// Times were measured, and are judged.
    pub times: bool,
    pub outcomes: Vec<Outcome>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub cpu: String,
    pub cores: usize,
    /// The gateway has one of them for itself.
    pub apart: bool,
    pub kernel: String,
    /// UTC.
    pub date: String,
}

const HEADS: [&str; 12] = [
    "exposure",
    "strangers",
    "connections",
    "at once",
    "MB sent",
    "closed",
    "lost",
    "p99, ms",
    "newcomer, ms",
    "MiB",
    "again, ms",
    "marks",
];

impl Machine {
    pub(crate) fn look(cores: Cores) -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let date = std::process::Command::new("date")
            .args(["-u", "+%F"])
            .output();
        let date = date.map(|output| output.stdout).unwrap_or_default();
        Self {
            cpu: model.map_or("unknown", |(_, model)| model).to_owned(),
            cores: cores.all,
            apart: cores.gateway.is_some(),
            kernel: kernel.trim().to_owned(),
            date: String::from_utf8_lossy(&date).trim().to_owned(),
        }
    }
}

impl Report {
    pub(crate) fn missed(&self, outcome: &Outcome) -> Vec<String> {
        marks::missed(outcome, self.times)
    }

    #[allow(clippy::print_stdout, reason = "the command's output")]
    pub(crate) fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            println!("{}", serde_json::to_string_pretty(self)?);
        } else {
            print!("{}", aligned(&self.rows()));
        }
        Ok(())
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let mut rows = vec![HEADS.map(str::to_owned).to_vec()];
        rows.extend(self.outcomes.iter().map(|outcome| self.row(outcome)));
        rows
    }

    fn row(&self, outcome: &Outcome) -> Vec<String> {
        let Outcome {
            strangers,
            talk,
            newcomers,
            memory,
            restarts,
            ..
        } = outcome;
        let missed = self.missed(outcome);
        let p99 = match (talk.quiet_p99_ms, talk.p99_ms) {
            (Some(quiet), Some(now)) => format!("{quiet:.1} → {now:.1}"),
            (None, Some(now)) => format!("{now:.1}"),
            _ => "–".to_owned(),
        };
        vec![
            outcome.expose.name().to_owned(),
            outcome.kind.to_owned(),
            strangers.connected.to_string(),
            strangers.held.to_string(),
            strangers.megabytes_sent.to_string(),
            talk.closed.to_string(),
            format!("{} of {}", talk.lost, talk.messages),
            p99,
            whole(newcomers.slowest_ms),
            format!("{} ({})", memory.peak() >> 20, memory.resident >> 20),
            whole(restarts.after),
            if missed.is_empty() {
                "held".to_owned()
            } else {
                missed.join("; ")
            },
        ]
    }

    /// A page of its own: everything in it is from here.
    pub(crate) fn page(&self) -> String {
        let Machine {
            cpu,
            cores,
            apart,
            kernel,
            date,
        } = &self.machine;
        let place = if *apart {
            "The gateway has a core of its own. Clients and app share the rest, and strangers get what those leave (`SCHED_IDLE`), as real ones have machines of their own. "
        } else {
            "All share the cores; strangers get what the others leave (`SCHED_IDLE`). "
        };
        let mut text = format!(
            "<!-- Written by `make attack`; do not edit. -->\n\n# Under attack\n\n\
             Strangers at work on the gateway, each kind for {} s, while {BYSTANDERS} other clients talk. \
             The gateway has {} MiB, as its container has by default, its journal on a tmpfs, and default settings. \
             The strangers have an address and a network namespace of their own. {place}\
             After each attack the gateway is killed and started again.\n\n\
             {date}, {cpu}, {cores} cores, Linux {kernel}; `{}`.\n",
            self.seconds,
            LIMIT >> 20,
            self.command,
        );
        text.push_str(
            "\n## Strangers\n\n| | what they do | flags beside the defaults |\n|---|---|---|\n",
        );
        for kind in strangers::ALL {
            let flags: Vec<_> = kind
                .flags
                .iter()
                .map(|flag| format!("`{}`", name_of(flag)))
                .collect();
            let _ = writeln!(
                text,
                "| {} | {} | {} |",
                kind.name,
                kind.about,
                flags.join(", ")
            );
        }
        let _ = write!(
            text,
            "\n## Marks\n\n\
             - 0 bystanders closed, 0 of their messages lost. Half are answered in the callback's answer, half by the admin API.\n\
             - Their p99 is under {} times that of five quiet seconds just before (*p99*: quiet → under attack).\n\
             - Newcomers are let in and answered within {:.0} s, however often they were turned away (*newcomer*: the slowest).\n\
             - Under {} MiB of memory: what the cgroup counts (in brackets: the process alone).\n\
             - No restart, no process killed for want of memory; after a kill it comes up with the same journal (*again*).\n",
            marks::SLOWER,
            marks::NEWCOMER_MS / 1000.0,
            marks::MEMORY >> 20,
        );
        text.push_str("\n## Measured\n\n");
        let mut rows = self.rows().into_iter();
        let heads = rows.next().unwrap_or_default();
        let _ = writeln!(
            text,
            "| {} |\n|{}",
            heads.join(" | "),
            "---|".repeat(heads.len())
        );
        for row in rows {
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
        text
    }
}

/// A flag without its value.
fn name_of(flag: &str) -> &str {
    flag.split_once('=').map_or(flag, |(name, _)| name)
}

fn whole(ms: Option<f64>) -> String {
    ms.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.0}"))
}

fn aligned(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<_> = (0..HEADS.len())
        .map(|column| width(column).unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        let line: Vec<_> = cells.collect();
        let _ = writeln!(text, "{}", line.join("  ").trim_end());
    }
    text
}

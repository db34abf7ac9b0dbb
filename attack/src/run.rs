//! All rounds, one after the other, and what comes of them.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::cgroup::Cgroup;
use crate::cli::{Output, RunArgs};
use crate::cores::Cores;
use crate::gateway::{Expose, Pod};
use crate::marks;
use crate::network::PodNetwork;
use crate::outcome::Outcome;
use crate::report::{self, Report};
use crate::round::{self, Pace};
use crate::strangers::{self, Kind};

/// How long bystanders talk among themselves first: their p99 then is what the marks refer to.
const QUIET: Duration = Duration::from_secs(5);
/// Of this process and all that it starts: as a container has it, where that is allowed.
const FILES: u64 = 1 << 20;

pub(crate) fn main(args: &RunArgs, cgroup: &Path) -> anyhow::Result<ExitCode> {
    if setrlimit(Resource::RLIMIT_NOFILE, FILES, FILES).is_err() {
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    }
    let cores = Cores::part(!args.counts).context("no core for the gateway")?;
    let network = PodNetwork::lay().context("no network of its own")?;
    let cgroup = Cgroup::at(cgroup);
    cgroup.limit()?;
    let pod = Pod {
        network,
        cgroup,
        cores,
        program: std::path::absolute(&args.gateway)?,
        dir: tempfile::Builder::new().prefix("ws-attack-").tempdir()?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (mut interrupt, mut terminate) = (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        );
        tokio::select! {
            done = all(&pod, args) => done,
            _ = interrupt.recv() => Ok(ExitCode::from(130)),
            _ = terminate.recv() => Ok(ExitCode::from(143)),
        }
    })
}

async fn all(pod: &Pod, args: &RunArgs) -> anyhow::Result<ExitCode> {
    let mut kinds: Vec<&'static Kind> = if args.kind.is_empty() {
        strangers::ALL.iter().collect()
    } else {
        args.kind.clone()
    };
    kinds.retain(|kind| args.except.iter().all(|other| other.name != kind.name));
    let pace = Pace {
        quiet: if args.counts { Duration::ZERO } else { QUIET },
        attack: Duration::from_secs(args.seconds),
    };
    let mut report = Report {
        command: args.command.clone(),
        machine: report::Machine::look(pod.cores),
        seconds: args.seconds,
        times: !args.counts,
        outcomes: Vec::new(),
    };
    for expose in Expose::ALL {
        if args.expose.is_some_and(|only| only != expose) {
            continue;
        }
        for kind in &kinds {
            let name = format!("{} at {}", kind.name, expose.name());
            eprintln!("{name} ...");
            let outcome = round::play(pod, kind, expose, pace).await;
            let outcome = outcome.with_context(|| format!("{name} could not be played"))?;
            progress(&outcome, &report);
            report.outcomes.push(outcome);
        }
    }
    report.print(args.output == Output::Json)?;
    if let Some(file) = &args.write {
        std::fs::write(file, report.page()).with_context(|| file.display().to_string())?;
    }
    let missed = report
        .outcomes
        .iter()
        .any(|it| !report.missed(it).is_empty());
    Ok(if missed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn progress(outcome: &Outcome, report: &Report) {
    let missed = marks::missed(outcome, report.times);
    if missed.is_empty() {
        eprintln!("  holds");
    }
    for missed in missed {
        eprintln!("  BREAKS: {missed}");
    }
    for (why, count) in &outcome.talk.closed_because {
        eprintln!("  {count} bystanders: {why}");
    }
}

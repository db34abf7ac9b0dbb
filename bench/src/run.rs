//! A whole comparison: every load on every server, over and over, then the tables.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::cli::RunArgs;
use crate::engine::Engine;
use crate::load::{Load, Metrics, Pace, World};
use crate::machine::Machine;
use crate::peer::{Peer, Setup};
use crate::{codec, machine, process, report, sessions};

/// One load on one server, once.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub load: Load,
    pub peer: Peer,
    pub run: usize,
    /// The machine's when it began.
    pub load_average: f64,
    pub metrics: Metrics,
}

/// Everything a report is made of.
#[derive(Debug)]
pub(crate) struct Results {
    pub machine: Machine,
    pub quick: bool,
    pub runs: usize,
    pub samples: Vec<Sample>,
    /// What could not be measured, and why.
    pub skipped: Vec<(String, String)>,
}

impl Results {
    /// What was measured.
    pub(crate) fn loads(&self) -> Vec<Load> {
        let measured = |load: &Load| self.samples.iter().any(|sample| sample.load == *load);
        Load::all(false).into_iter().filter(measured).collect()
    }

    /// Takes over what was measured earlier of other loads.
    pub(crate) fn keep(&mut self, earlier: Vec<Sample>) {
        let now = self.loads();
        let others = earlier
            .into_iter()
            .filter(|sample| !now.contains(&sample.load));
        self.samples.extend(others);
        let runs = self.samples.iter().map(|sample| sample.run);
        self.runs = runs.max().unwrap_or(self.runs);
    }
}

pub(crate) fn main(args: &RunArgs) -> anyhow::Result<()> {
    let &[server_core, load_core] = args.cores.as_slice() else {
        bail!("--cores takes two")
    };
    let setup = Setup {
        server_core,
        gateway: std::path::absolute(&args.gateway)?,
        before: args.before.as_ref().map(std::path::absolute).transpose()?,
        cache: cache(args)?,
    };
    let pace = Pace {
        quick: args.quick,
        rest: Duration::from_secs(args.rest.unwrap_or(if args.quick { 0 } else { 60 })),
    };
    let loads = chosen_loads(args)?;
    let mut results = Results {
        machine: Machine::look(server_core, load_core),
        quick: args.quick,
        runs: args.runs.unwrap_or(if args.quick { 1 } else { 3 }),
        samples: Vec::new(),
        skipped: Vec::new(),
    };
    let peers = prepare(&chosen_peers(args)?, &setup, &mut results);
    process::pin(load_core)?;
    for run in 1..=results.runs {
        for &load in &loads {
            for &peer in peers.iter().filter(|&&peer| load.suits(peer)) {
                let load_average = machine::load_average();
                match measure(load, peer, &setup, pace) {
                    Ok(metrics) => {
                        eprintln!(
                            "run {run}: {} on {}: {}",
                            load.name(),
                            peer.name(),
                            report::line(&metrics)
                        );
                        results.samples.push(Sample {
                            load,
                            peer,
                            run,
                            load_average,
                            metrics,
                        });
                    }
                    Err(error) => {
                        let what = format!("{} on {}", load.name(), peer.name());
                        eprintln!("run {run}: {what}: {error:#}");
                        results.skipped.push((what, format!("{error:#}")));
                    }
                }
            }
        }
    }
    report::write(results, &args.out)
}

fn prepare(peers: &[Peer], setup: &Setup, results: &mut Results) -> Vec<Peer> {
    let mut ready = Vec::new();
    for &peer in peers {
        match peer.prepare(setup) {
            Ok(()) => ready.push(peer),
            Err(error) => {
                eprintln!("{} is left out: {error:#}", peer.name());
                results
                    .skipped
                    .push((peer.name().to_owned(), format!("{error:#}")));
            }
        }
    }
    ready
}

fn measure(load: Load, peer: Peer, setup: &Setup, pace: Pace) -> anyhow::Result<Metrics> {
    match load {
        Load::Sessions(count) => return sessions::measure(setup.server_core, count),
        Load::Codec => return codec::measure(setup.server_core, peer),
        _ => {}
    }
    let mut engine = Engine::new()?;
    let server = peer.start(setup, &mut engine, load.role())?;
    let mut world = World {
        engine,
        server,
        peer,
        pace,
    };
    load.measure(&mut world)
}

fn chosen_loads(args: &RunArgs) -> anyhow::Result<Vec<Load>> {
    let all = Load::all(args.quick && args.only.is_empty());
    let wanted = |load: &Load| {
        args.only.is_empty()
            || args
                .only
                .iter()
                .any(|only| *only == load.family() || *only == load.name())
    };
    let chosen: Vec<_> = all.into_iter().filter(wanted).collect();
    if chosen.is_empty() {
        bail!("there is no load {}", args.only.join(" or "));
    }
    Ok(chosen)
}

fn chosen_peers(args: &RunArgs) -> anyhow::Result<Vec<Peer>> {
    if args.peers.is_empty() {
        let there = |peer: &Peer| *peer != Peer::Before || args.before.is_some();
        return Ok(Peer::ALL.into_iter().filter(there).collect());
    }
    let named =
        |name: &String| Peer::named(name).with_context(|| format!("there is no peer {name}"));
    let mut peers: Vec<_> = args
        .peers
        .iter()
        .map(named)
        .collect::<anyhow::Result<_>>()?;
    peers.push(Peer::Gateway);
    peers.extend(args.before.is_some().then_some(Peer::Before));
    peers.sort_unstable();
    peers.dedup();
    Ok(peers)
}

fn cache(args: &RunArgs) -> anyhow::Result<PathBuf> {
    if let Some(cache) = &args.cache {
        return Ok(cache.join("bench"));
    }
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    Ok(base
        .context("neither WS_CACHE, XDG_CACHE_HOME nor HOME is set")?
        .join("ws-operator/bench"))
}

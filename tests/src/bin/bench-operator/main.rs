//! `make bench-operator`: what a thousand apps cost the operator, on a real API server.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

mod figures;
mod load;
mod machine;
mod numbers;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use e2e::command::kubectl;
use e2e::wait::{Look, within};
use e2e::{cluster, operator};

use figures::Figures;
use load::Load;
use numbers::Numbers;

/// A busy machine takes some minutes for thousands of pods.
const PATIENCE: Duration = Duration::from_mins(20);
/// Nothing was written for so long: the operator is through.
const QUIET: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    let (load, out) = arguments()?;
    if let Some(why) = cluster::missing() {
        bail!("{why}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let figures = runtime.block_on(measure(load))?;
    let page = figures.page();
    println!("{page}");
    if let Some(out) = out {
        std::fs::write(&out, &page).with_context(|| out.clone())?;
    }
    Ok(figures.holds())
}

fn arguments() -> Result<(Load, Option<String>)> {
    let mut load = Load {
        apps: 1000,
        pods_per_app: 5,
        rate: 20,
        replaced: 2000,
    };
    let mut out = None;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words
            .next()
            .with_context(|| format!("{word}: a value is missing"))?;
        match word.as_str() {
            "--apps" => load.apps = value.parse().context(word)?,
            "--pods-per-app" => load.pods_per_app = value.parse().context(word)?,
            "--rate" => load.rate = value.parse().context(word)?,
            "--replaced" => load.replaced = value.parse().context(word)?,
            "--out" => out = Some(value),
            _ => bail!("{word}: expected --apps, --pods-per-app, --rate, --replaced or --out"),
        }
    }
    Ok((load, out))
}

async fn measure(load: Load) -> Result<Figures> {
    operator::install()?;
    let client = cluster::client().await?;
    let replicas = operator::pods()?;
    let at_rest = machine::memory(&replicas)?;
    let before = Numbers::read(&replicas)?;
    let started = Instant::now();

    load.apps(&client).await?;
    eprintln!("{:?}: {} apps are there", started.elapsed(), load.apps);
    load.deployments(&client).await?;
    let pods = load.apps * load.pods_per_app;
    all_there(pods).await?;
    let admitted = started.elapsed();
    eprintln!("{admitted:?}: {pods} pods are there");
    let reconciled = settled().await?.duration_since(started);
    let after = Numbers::read(&replicas)?;
    let begun = machine::Work::read()?;
    load.replace(&client).await?;
    all_there(pods).await?;
    let busy = machine::Work::read()?.since(&begun);
    let replaced = Numbers::read(&replicas)?;
    eprintln!("{} pods were replaced", load.replaced);
    let loaded = machine::memory(&replicas)?;

    let place = ["-n", operator::NAMESPACE, "rollout"];
    let what = ["deployment/ws-operator"];
    kubectl(place.into_iter().chain(["restart"]).chain(what))?;
    kubectl(
        place
            .into_iter()
            .chain(["status", "--timeout=120s"])
            .chain(what),
    )?;
    settled().await?;
    let restarted = Numbers::read(&[])?;
    let replicas = operator::pods()?;
    let anew = within(PATIENCE, "the former replicas to end", || async {
        machine::memory(&replicas).map(Look::Found)
    })
    .await?;

    let injected = load.injected(&client).await?;
    ensure!(
        injected.pods == pods && injected.apps == load.apps,
        "of {pods} pods {} are injected, of {} apps {} say so",
        injected.pods,
        load.apps,
        injected.apps
    );
    Ok(Figures {
        load,
        storm: &after - &before,
        steady: &replaced - &after,
        busy,
        while_loading: after.lists_since(&before),
        while_restarting: restarted.lists_since(&replaced),
        at_rest,
        loaded,
        anew,
        admitted,
        reconciled,
    })
}

async fn all_there(pods: usize) -> Result<()> {
    let wanted = f64::from(u32::try_from(pods)?);
    within(PATIENCE, "the pods to be there", || async {
        let count = numbers::objects("pods")?;
        Ok(Look::when(count >= wanted, (), count))
    })
    .await
}

/// Until the operator has nothing more to write; and when it wrote last.
async fn settled() -> Result<Instant> {
    let mut last = (numbers::status_writes()?, Instant::now());
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = numbers::status_writes()?;
        if (now - last.0).abs() > 0.5 {
            last = (now, Instant::now());
        } else if last.1.elapsed() > QUIET {
            return Ok(last.1);
        }
    }
}

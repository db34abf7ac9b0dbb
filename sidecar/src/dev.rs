//! `ws-gateway dev CHART`: an app author's gateway, on loopback, with the chart's own settings.

use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::args::{DevArgs, ProcessArgs};
use crate::config::Config;
use crate::run;

const ORIGINS: &str = "origins";
const TRUSTED_PROXIES: &str = "identity.trustedProxies";
/// An app author's pages come from this machine, from any port; the chart's own origins, and the
/// host that a page of another site may have pointed here, are not meant.
const LOOPBACK_ORIGINS: &str = "http://localhost:*, https://localhost:*, \
    http://*.localhost:*, https://*.localhost:*, \
    http://127.0.0.1:*, https://127.0.0.1:*, http://[::1]:*, https://[::1]:*";

const MANIFESTS: [&str; 2] = ["OlaresManifest.yaml", "TerminusManifest.yaml"];

pub(crate) fn main(args: &DevArgs, given: &[(String, String)]) -> anyhow::Result<()> {
    let file = manifest_of(args)?;
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let mut config = Config::from_manifest(&file.display().to_string(), &text, given)?;
    let is_given = |wanted| given.iter().any(|(key, _)| key == wanted);
    if !is_given(ORIGINS) {
        config.set(ORIGINS, LOOPBACK_ORIGINS)?;
    }
    if !is_given(TRUSTED_PROXIES) {
        // The chart's edge is not here: the author plays it (`connect --user`).
        config.settings.identity.trusted_proxies = None;
    }
    let process = ProcessArgs {
        loopback: true,
        ..args.process.clone()
    };
    explain(&config, &process);
    run::start(config, &process)
}

fn manifest_of(args: &DevArgs) -> anyhow::Result<PathBuf> {
    if args.chart.is_file() {
        return Ok(args.chart.clone());
    }
    let found = MANIFESTS
        .iter()
        .map(|name| args.chart.join(name))
        .find(|path| path.is_file());
    match found {
        Some(path) => Ok(path),
        None => bail!("{} has no OlaresManifest.yaml", args.chart.display()),
    }
}

#[allow(clippy::print_stdout, reason = "a command for people")]
fn explain(config: &Config, process: &ProcessArgs) {
    let Some(target) = &config.target else { return };
    let (mut listen, path) = (process.listen.to_string(), &config.settings.routes.path);
    if process.listen.ip().is_unspecified() {
        listen = format!("localhost:{}", process.listen.port());
    }
    println!(
        "callbacks go to   http://localhost:{}{}",
        target.port, target.path
    );
    println!("clients connect to ws://{listen}{path}");
    println!("try: ws-gateway connect ws://{listen}{path} --user ann");
    println!(
        "     curl -s http://localhost:{}/tapr/ws/conn/list",
        process.listen.port()
    );
}

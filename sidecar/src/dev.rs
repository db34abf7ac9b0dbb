//! `ws-gateway dev CHART`: an app author's gateway, on loopback, with the chart's own settings.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::cli::DevArgs;
use crate::config::Config;
use crate::run;

const MANIFESTS: [&str; 2] = ["OlaresManifest.yaml", "TerminusManifest.yaml"];

pub(crate) fn main(args: &DevArgs, given: &[(String, String)]) -> anyhow::Result<()> {
    let file = manifest_of(args)?;
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let config = Config::from_manifest(&file.display().to_string(), &text, given)?;
    let mut process = args.process.clone();
    for address in [
        &mut process.listen,
        &mut process.ops_listen,
        &mut process.admin_listen,
    ] {
        if address.ip().is_unspecified() {
            address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
    }
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
fn explain(config: &Config, process: &crate::cli::ProcessArgs) {
    let Some(target) = &config.target else { return };
    let (listen, path) = (process.listen, &config.settings.routes.path);
    println!(
        "callbacks go to   http://localhost:{}{}",
        target.port, target.path
    );
    println!("clients connect to ws://{listen}{path}");
    println!("try: ws-gateway connect ws://{listen}{path} --user ann");
    println!(
        "     curl -s http://localhost:{}/tapr/ws/conn/list",
        listen.port()
    );
}

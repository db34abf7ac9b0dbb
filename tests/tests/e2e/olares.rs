//! Olares before and after 1.12.7, its webhook played by a real one: up to 1.12.6 it puts Envoy, and
//! where it knows that the app wants WebSockets a gateway, into every pod of the app's namespace;
//! from 1.12.7 it puts none, and nothing leads `/ws` anywhere.

mod looks;
mod order;
mod stages;

use std::sync::Arc;

use anyhow::{Result, ensure};
use e2e::cluster::Namespace;
use e2e::command::kubectl;
use e2e::olares::{self, ENVOY, GATEWAY, Platform, Sandbox};
use e2e::wait::{Look, until};
use e2e::{app, chart, manifest, operator};

use looks::all_have;
pub(crate) use order::a_platform_that_comes_after_us;
use stages::{a_job, envoy_alone, from_1_12_7, the_platforms_gateway};

const BOTH: [&str; 2] = [ENVOY, GATEWAY];

const KIND: &str = "applicationmanagers.app.bytetrade.io";

pub(crate) async fn both_ages(namespace: Arc<Namespace>) -> Result<()> {
    namespace.apply(olares::CRD)?;
    let platform = Platform::start(&namespace).await?;
    let mut outcome = ages(&namespace, &platform).await;
    let removed = kubectl(["delete", "crd", KIND]);
    if outcome.is_ok() {
        outcome = without_the_kind(&namespace).await;
    }
    let ended = platform.end().await;
    outcome?;
    removed?;
    ended
}

async fn ages(namespace: &Namespace, platform: &Platform) -> Result<()> {
    until("the kind to be served", || async {
        kubectl(["get", "applicationmanagers"]).map(Look::Found)
    })
    .await?;
    platform.play(Sandbox::adding(&BOTH)).await?;
    namespace.apply(&olares::record(&namespace.name))?;
    namespace.apply(&chart::one_file_parts()?.1)?;
    the_platforms_gateway(namespace, 1).await?;
    a_job(namespace).await?;

    platform.play_nothing().await?;
    restart(namespace)?;
    from_1_12_7(namespace, 2).await?;

    // The way back, as after a downgrade.
    platform.play(Sandbox::adding(&BOTH)).await?;
    restart(namespace)?;
    the_platforms_gateway(namespace, 3).await?;

    // An app of which the platform does not know that it wants WebSockets.
    platform.play(Sandbox::adding(&[ENVOY])).await?;
    restart(namespace)?;
    envoy_alone(namespace, platform, 4).await?;

    // One replica learns before the other that this is Olares.
    let place = [
        "-n",
        operator::NAMESPACE,
        "logs",
        "-l",
        operator::LABELS,
        "--tail=-1",
    ];
    let removed = format!("\"AppManifest removed\",\"app\":\"{}/", namespace.name);
    ensure!(
        !kubectl(place)?.contains(&removed),
        "the AppManifest was removed meanwhile"
    );
    Ok(())
}

/// No record asks any more: what is ours goes, with the restart that it takes.
async fn without_the_kind(namespace: &Namespace) -> Result<()> {
    until("no AppManifest without its record", || async {
        let left = manifest::get(namespace, app::APP).await.is_ok();
        Ok(Look::when(!left, (), "still there"))
    })
    .await?;
    all_have(namespace, 5, &[app::APP, ENVOY]).await.map(drop)
}

fn restart(namespace: &Namespace) -> Result<()> {
    let deployment = format!("deployment/{}", app::APP);
    kubectl(["-n", &namespace.name, "rollout", "restart", &deployment]).map(drop)
}

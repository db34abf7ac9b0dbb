//! `ws-operator explain`: the operator's decision about one object, and what it means.

mod decide;
mod finding;

use anyhow::Context;
use clap::Args;
use kube::Client;
use stanza::choice::Expose;

use super::target::Target;
use super::{Format, snapshot};
use crate::app::Stanza;
use crate::cluster::Cluster;
use crate::injection::ExposeRule;
use crate::platform::Platform;
use crate::settings::{ExposeDefault, GatewaySettings};
use decide::explain;

/// Say why an object has a gateway, or none
///
/// Reads the object's namespace and decides as the operator does. The reasons are those of
/// Events, metrics and the status (docs/reasons.md).
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ws-operator explain deploy/chat -n chat\n  ws-operator explain pod/chat-5d8f9-x2x4p -n chat -o json\n  ws-operator explain app/chat -n chat"
)]
pub(super) struct Arguments {
    /// pod/NAME, deploy/NAME, sts/NAME, ds/NAME or app/NAME (an AppManifest)
    object: Target,
    /// By default the kubeconfig's
    #[arg(long, short)]
    namespace: Option<String>,
    #[arg(long, short, default_value = "text")]
    output: Format,
    #[command(flatten)]
    gateway: GatewaySettings,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<String> {
    let client = Client::try_default()
        .await
        .context("cannot connect to the API server")?;
    let namespace = match &arguments.namespace {
        Some(namespace) => namespace.clone(),
        None => client.default_namespace().to_owned(),
    };
    let cluster = snapshot::read(&client, Some(&namespace)).await?;
    let platform = Platform::find(client)
        .await
        .context("the API server does not answer")?;
    // Any cluster is taken to be new enough.
    let mut rules = arguments.gateway.rules(true, platform.is_olares());
    if let (ExposeDefault::Auto, Some(found)) = (arguments.gateway.expose, default_expose(&cluster))
    {
        rules.expose = ExposeRule::Always(found);
    }
    let finding = explain(&cluster, &rules, &namespace, &arguments.object)?;
    Ok(match arguments.output {
        Format::Text => finding.text(),
        Format::Json => format!("{:#}\n", finding.json()),
    })
}

/// The operator's default, as it shows in what the operator says of apps that leave it open.
fn default_expose(cluster: &Cluster) -> Option<Expose> {
    cluster.apps.all().iter().find_map(|app| {
        let Stanza::Valid { websocket, .. } = &app.stanza else {
            return None;
        };
        let said = app.status.expose.as_deref()?;
        let all = [Expose::Entrance, Expose::Service, Expose::None];
        let found = all.into_iter().find(|expose| expose.as_str() == said)?;
        // None may be the platform's doing in these pods alone.
        (websocket.operator.expose.is_none() && found != Expose::None).then_some(found)
    })
}

#[cfg(test)]
mod tests;

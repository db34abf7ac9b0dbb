//! After a kill: the app hears of the end of every connection that it had been told of.

use std::sync::Arc;

use futures_util::StreamExt as _;
use tracing::info;

use crate::callback::event::recovered_close;
use crate::callback::{Action, Transport};
use crate::gateway::Gateway;
use crate::journal::Orphan;

/// Ends when the app has heard of them all; before that nobody is let in.
pub(crate) async fn run<T: Transport>(gateway: Arc<Gateway<T>>, orphans: Vec<Orphan>) {
    let (Some(app), Some(journal)) = (&gateway.app, &gateway.journal) else {
        return;
    };
    if orphans.is_empty() {
        return;
    }
    info!(
        connections = orphans.len(),
        "telling the app of connections that an earlier run left open"
    );
    let tell = |orphan: Orphan| {
        let event = recovered_close(&app.target, orphan.id, &orphan.identity);
        let metrics = &gateway.metrics;
        async move {
            app.delivery.insist(&event, Action::Close, metrics).await;
            journal.closed(orphan.id);
        }
    };
    let at_once = gateway.settings.callback.concurrency.get() as usize;
    futures_util::stream::iter(orphans)
        .for_each_concurrent(at_once, tell)
        .await;
    info!("the app knows of all of them");
}

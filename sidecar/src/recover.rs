//! After a kill: the app hears of the end of every connection that it had been told of.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt as _;
use tracing::{info, warn};

use crate::callback::event::recovered_close;
use crate::callback::{Outcome, Transport};
use crate::gateway::Gateway;
use crate::journal::Orphan;

/// Calls `open` when the app has heard of them all, or `callback.recoverFor` is over; ends when
/// all are told or given up.
pub(crate) async fn run<T: Transport>(
    gateway: &Gateway<T>,
    orphans: Vec<Orphan>,
    open: impl FnOnce(),
) {
    if orphans.is_empty() {
        return open();
    }
    info!(
        connections = orphans.len(),
        "telling the app of connections that an earlier run left open"
    );
    let left = AtomicUsize::new(orphans.len());
    let mut telling = pin!(tell(gateway, orphans, &left));
    let patience = gateway.settings.callback.recover_for;
    if tokio::time::timeout(patience, telling.as_mut())
        .await
        .is_ok()
    {
        info!("the app knows of all of them");
        return open();
    }
    let left = left.load(Ordering::Relaxed);
    warn!(
        left,
        after = ?patience,
        "clients are let in although the app does not know of all of them yet (callback.recoverFor); it goes on being told"
    );
    open();
    telling.await;
    info!("the app knows of all of them, or they were given up");
}

async fn tell<T: Transport>(gateway: &Gateway<T>, orphans: Vec<Orphan>, left: &AtomicUsize) {
    let (Some(app), Some(journal)) = (&gateway.app, &gateway.journal) else {
        return;
    };
    let tell = |orphan: Orphan| {
        let event = recovered_close(&app.target, &orphan);
        async move {
            let (metrics, draining) = (&gateway.metrics, gateway.draining());
            let told = app.delivery.end(orphan.id, &event, metrics, draining);
            // Else it stays in the journal for the next run.
            if !matches!(told.await, Outcome::NotDelivered) {
                journal.closed(orphan.id);
            }
            left.fetch_sub(1, Ordering::Relaxed);
        }
    };
    let at_once = gateway.settings.callback.concurrency.get() as usize;
    futures_util::stream::iter(orphans)
        .for_each_concurrent(at_once, tell)
        .await;
}

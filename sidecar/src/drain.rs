//! The end: clients are sent away, the app hears of every close, then the program ends.
//!
//! It begins with SIGTERM; a person's Ctrl-C ends at once. A native sidecar gets that only after the app is gone, so there a
//! preStop hook (`ws-gateway drain`) asks for it before.

pub(crate) mod command;

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::callback::Transport;
use crate::gateway::Gateway;
use crate::protocol::CloseReason;
use crate::proxy::Upstream;

/// Where the pod's own processes ask for it, on the operations port.
pub(crate) const PATH: &str = "/drain";

/// The drain as whoever asks for it sees it.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    asked: CancellationToken,
    /// How many connections were left when it ended.
    left: watch::Sender<Option<usize>>,
}

impl Drain {
    /// Starts it, if nobody has, and waits for its end.
    pub(crate) async fn ask(&self) -> usize {
        self.asked.cancel();
        let mut left = self.left.subscribe();
        // The sender lives in self: it cannot be gone.
        let left = left.wait_for(Option::is_some).await;
        left.map_or(0, |left| left.unwrap_or_default())
    }

    pub(crate) async fn asked(&self) {
        self.asked.cancelled().await;
    }

    pub(crate) fn ended(&self, left: usize) {
        self.left.send_replace(Some(left));
    }
}

/// Waits for Ctrl-C on a terminal: whoever sits there does not want to wait for clients.
/// Elsewhere SIGINT is a supervisor's, and means what SIGTERM does.
pub(crate) async fn interrupted() -> std::io::Result<()> {
    if !std::io::stdin().is_terminal() {
        return std::future::pending().await;
    }
    signal(SignalKind::interrupt())?.recv().await;
    info!("interrupted: ending at once; SIGTERM sends clients away first");
    Ok(())
}

/// Waits for SIGTERM or SIGINT.
pub(crate) async fn requested() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Closes all clients, over `drain.spread`, and waits until the app knows, for at most
/// `drain.timeout`. What it does not know then is in the journal. Says how many were left.
pub(crate) async fn run<T: Transport>(gateway: &Arc<Gateway<T>>, sessions: &TaskTracker) -> usize {
    gateway.start_draining();
    let settings = &gateway.settings.drain;
    info!(connections = gateway.registry.len(), "shutting down");
    let all = async {
        close_all(gateway, settings.spread).await;
        sessions.close();
        sessions.wait().await;
    };
    if tokio::time::timeout(settings.timeout, all).await.is_ok() {
        info!("all connections are closed");
        return 0;
    }
    let (timeout, left) = (settings.timeout, sessions.len());
    warn!(
        connections = left,
        ?timeout,
        "not all connections could be closed in time"
    );
    left
}

/// In front of an app's own port: goes on as long as the app does, so that its rollout is as
/// clean as the app makes it, for at most `patience`.
pub(crate) async fn outlast_app(upstream: Option<&Upstream>, patience: Duration) {
    let Some(upstream) = upstream else { return };
    let app_ends = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(200));
        loop {
            ticks.tick().await;
            if !upstream.answers().await {
                return;
            }
        }
    };
    if tokio::time::timeout(patience, app_ends).await.is_err() {
        info!("the app still answers; ending all the same");
    }
}

/// One after the other, so that they do not all come back at once.
pub async fn close_all<T: Transport>(gateway: &Gateway<T>, spread: Duration) {
    let reason = CloseReason::Shutdown {
        code: gateway.settings.drain.code.0,
    };
    let total = gateway.registry.len().max(1);
    // One that was just being let in shows up late, so it is looked for until nobody is left.
    let started = tokio::time::Instant::now();
    let (mut after, mut closed) = (None, 0_usize);
    loop {
        let mut piece = Vec::new();
        after = gateway
            .registry
            .walk(after, 64, |connection| piece.push(Arc::clone(connection)));
        for connection in &piece {
            connection.close(reason.clone());
        }
        closed += piece.len();
        if after.is_none() {
            return;
        }
        let share = u32::try_from(closed.min(total) * 1000 / total).unwrap_or(1000);
        tokio::time::sleep_until(started + spread * share / 1000).await;
    }
}

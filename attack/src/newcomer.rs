//! Clients who come while strangers attack, one after the other: how long until each is let in
//! and answered, turned away and coming again as often as it takes.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::bystander::{BYSTANDERS, Client, dial};
use crate::gateway::Expose;

/// Between two of them.
const PAUSE: Duration = Duration::from_millis(200);
/// Before one that was turned away comes again.
const AGAIN: Duration = Duration::from_millis(50);
/// How long one attempt may take: somebody looks at a page that does not load.
const ATTEMPT: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(crate) struct Newcomers {
    pub let_in: usize,
    pub turned_away: u64,
    /// The longest that one had to try; who tries still at the end counts as well.
    pub slowest: Option<Duration>,
}

/// Until told to stop.
pub(crate) async fn come(expose: Expose, mut stop: watch::Receiver<bool>) -> Newcomers {
    let mut all = Newcomers::default();
    let mut turn = 0_usize;
    loop {
        let began = Instant::now();
        turn += 1;
        let is_in = tokio::select! {
            biased;
            () = get_in(expose, turn, &mut all.turned_away) => true,
            _ = stop.wait_for(|stop| *stop) => false,
        };
        all.let_in += usize::from(is_in);
        all.slowest = all.slowest.max(Some(began.elapsed()));
        if !is_in || timeout(PAUSE, stop.wait_for(|stop| *stop)).await.is_ok() {
            return all;
        }
    }
}

/// Tries until it succeeds.
pub(crate) async fn get_in(expose: Expose, turn: usize, turned_away: &mut u64) {
    loop {
        let visiting = expose == Expose::Entrance && turn.is_multiple_of(2);
        let attempt = async {
            if visiting {
                return visit().await;
            }
            Client::open(BYSTANDERS + turn).await?.greet().await
        };
        if let Ok(Ok(())) = timeout(ATTEMPT, attempt).await {
            return;
        }
        *turned_away += 1;
        tokio::time::sleep(AGAIN).await;
    }
}

/// A page of the app, through the gateway.
async fn visit() -> io::Result<()> {
    let mut stream = dial().await?;
    let request = b"GET / HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    if answer.starts_with(b"HTTP/1.1 200") {
        return Ok(());
    }
    Err(io::ErrorKind::ConnectionRefused.into())
}

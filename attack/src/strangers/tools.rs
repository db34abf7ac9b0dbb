//! What all kinds of strangers share: sockets from their address, and a tally.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::network::{POD, STRANGER};
use crate::wire;

/// How long a stranger waits for an answer before trying anew.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many connect at the same moment: more would only overflow the kernel's queue.
const AT_ONCE: usize = 200;
/// Between the end of a stranger's connection and the next one.
const BREATH: Duration = Duration::from_millis(100);

/// The gateway, as strangers see it.
#[derive(Debug)]
pub(crate) struct Target {
    pub tally: Arc<Tally>,
    dialling: Semaphore,
}

/// What strangers have done so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    connected: AtomicU64,
    held: AtomicU64,
    most_held: AtomicU64,
    sent: AtomicU64,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Connections made.
    pub connected: u64,
    /// Connections at the same time, at most.
    pub held: u64,
    pub megabytes_sent: u64,
}

impl std::iter::Sum for Figures {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            connected: sum.connected + one.connected,
            held: sum.held + one.held,
            megabytes_sent: sum.megabytes_sent + one.megabytes_sent,
        })
    }
}

impl Default for Target {
    fn default() -> Self {
        Self {
            tally: Arc::default(),
            dialling: Semaphore::new(AT_ONCE),
        }
    }
}

impl Tally {
    pub(crate) fn line(&self) -> String {
        let figures = Figures {
            connected: self.connected.load(Ordering::Relaxed),
            held: self.most_held.load(Ordering::Relaxed),
            megabytes_sent: self.sent.load(Ordering::Relaxed) / 1_000_000,
        };
        serde_json::to_string(&figures).unwrap_or_default()
    }
}

/// A stranger's socket.
#[derive(Debug)]
pub(crate) struct Socket {
    pub stream: TcpStream,
    tally: Arc<Tally>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Without TIME_WAIT, or the address would run out of ports.
        let _ = self.stream.set_zero_linger();
        self.tally.held.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Target {
    pub(crate) async fn dial(&self, port: u16) -> io::Result<Socket> {
        self.dial_with(port, None).await
    }

    /// `window`: how many bytes the kernel takes for a stranger who does not read.
    pub(crate) async fn dial_with(&self, port: u16, window: Option<u32>) -> io::Result<Socket> {
        let _turn = self.dialling.acquire().await;
        let socket = TcpSocket::new_v4()?;
        if let Some(window) = window {
            socket.set_recv_buffer_size(window)?;
        }
        socket.bind(SocketAddr::new(IpAddr::V4(STRANGER), 0))?;
        let connecting = socket.connect(SocketAddr::new(IpAddr::V4(POD), port));
        let stream = tokio::time::timeout(PATIENCE, connecting).await??;
        self.tally.connected.fetch_add(1, Ordering::Relaxed);
        let held = self.tally.held.fetch_add(1, Ordering::Relaxed) + 1;
        self.tally.most_held.fetch_max(held, Ordering::Relaxed);
        Ok(Socket {
            stream,
            tally: Arc::clone(&self.tally),
        })
    }

    /// A WebSocket of a stranger: the error is everything but 101.
    pub(crate) async fn open(&self, path: &str, headers: &str) -> io::Result<Socket> {
        let mut socket = self.dial(stanza::env::CLIENT_PORT).await?;
        socket.open(path, headers).await?;
        Ok(socket)
    }
}

impl Socket {
    pub(crate) async fn open(&mut self, path: &str, headers: &str) -> io::Result<()> {
        self.send(&wire::upgrade(path, headers)).await?;
        let mut answer = [0; 1024];
        let reading = self.stream.read(&mut answer);
        let count = tokio::time::timeout(PATIENCE, reading).await??;
        if answer[..count].starts_with(b"HTTP/1.1 101") {
            return Ok(());
        }
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    pub(crate) async fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = self.stream.write(bytes).await?;
            self.tally.sent.fetch_add(count as u64, Ordering::Relaxed);
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Reads, and forgets what it reads, until the gateway ends it.
    pub(crate) async fn linger(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        while self.stream.read(&mut buffer).await? > 0 {}
        Ok(())
    }

    /// The same, but with a word now and then that counts as life.
    pub(crate) async fn linger_pinging(&mut self) -> io::Result<()> {
        let ping = wire::frame(true, wire::PING, b"");
        loop {
            if let Ok(end) = tokio::time::timeout(Duration::from_secs(10), self.linger()).await {
                return end;
            }
            self.send(&ping).await?;
        }
    }

    /// Sends the same over and over, and reads what comes.
    pub(crate) async fn flood_reading(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (mut read, mut write) = self.stream.split();
        let reading = async {
            let mut buffer = vec![0; 1 << 16];
            while read.read(&mut buffer).await? > 0 {}
            Ok(())
        };
        let writing = async {
            loop {
                let count = write.write(bytes).await?;
                self.tally.sent.fetch_add(count as u64, Ordering::Relaxed);
                write.write_all(&bytes[count..]).await?;
            }
        };
        tokio::select! {
            end = reading => end,
            end = writing => end,
        }
    }

    /// Sends the same over and over, and reads nothing.
    pub(crate) async fn flood(&mut self, bytes: &[u8]) -> io::Result<()> {
        loop {
            self.send(bytes).await?;
        }
    }
}

/// So many strangers at the same time, each of whom begins again when it was ended.
pub(crate) async fn crowd<F>(
    target: Arc<Target>,
    count: usize,
    stranger: impl Fn(Arc<Target>, usize) -> F + Clone + Send + 'static,
) where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let mut all = JoinSet::new();
    for index in 0..count {
        let (target, stranger) = (Arc::clone(&target), stranger.clone());
        all.spawn(async move {
            loop {
                // Whatever the gateway did to it is what it is for.
                let _ = stranger(Arc::clone(&target), index).await;
                tokio::time::sleep(BREATH).await;
            }
        });
    }
    all.join_next().await;
}

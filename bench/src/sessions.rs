//! The gateway's sessions over streams in memory, as many as file descriptors would not allow.
//!
//! Registry, sweep, fan-out and the sessions themselves are the gateway's; the client is silent,
//! and the app answers at once.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use stanza::field::{AppPort, UrlPath};
use stanza::{CallbackTarget, settings};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinSet;
use ws_codec::Message;
use ws_gateway::callback::event::OpenRequest;
use ws_gateway::callback::{Answer, Outgoing, SendError, Transport};
use ws_gateway::connection::Connection;
use ws_gateway::gateway::Gateway;
use ws_gateway::identity::{ConnectionId, Identity, Token};
use ws_gateway::protocol::CloseReason;
use ws_gateway::selector::{Criteria, Selector};
use ws_gateway::session::Session;

use crate::inner::{self, cpu, resident};
use crate::load::Metrics;

/// What the inner process prints.
#[derive(Debug, Deserialize, Serialize)]
struct Figures {
    bytes: f64,
    cpu_open: f64,
    percent: f64,
    sweep: f64,
    cpu: f64,
    one: f64,
    cpu_close: f64,
}

/// Measures in a process of its own, whose memory is nobody else's.
pub(crate) fn measure(core: usize, count: usize) -> anyhow::Result<Metrics> {
    let figures: Figures = inner::run(core, &["sessions", &count.to_string()])?;
    Ok(Metrics::from([
        ("bytes", figures.bytes),
        ("cpu_open", figures.cpu_open),
        ("percent", figures.percent),
        ("sweep", figures.sweep),
        ("cpu", figures.cpu),
        ("one", figures.one),
        ("cpu_close", figures.cpu_close),
    ]))
}

/// `ws-bench sessions COUNT`
pub(crate) fn main(count: usize) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let figures = runtime.block_on(async { tokio::spawn(run(count)).await })??;
    serde_json::to_writer(io::stdout(), &figures)?;
    Ok(())
}

async fn run(count: usize) -> anyhow::Result<Figures> {
    const SWEEPS: u32 = 8;
    let mut world = World::new(count)?;
    world.open(200).await;
    let each = |cpu: Duration, of: usize| cpu.as_secs_f64() * 1e6 / of as f64;

    let (memory, cpu) = (resident()?, cpu()?);
    world.open(count).await;
    let (cpu_open, bytes) = (
        inner::cpu()?.saturating_sub(cpu),
        resident()?.saturating_sub(memory),
    );

    let heartbeat = tokio::spawn(ws_gateway::heartbeat::run(Arc::clone(&world.gateway)));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let cpu = inner::cpu()?;
    tokio::time::sleep(Duration::from_secs(1) * SWEEPS).await;
    let swept = inner::cpu()?.saturating_sub(cpu);
    heartbeat.abort();

    let rounds = (1_000_000 / count).clamp(3, 50);
    world.to_all().await?;
    let cpu = inner::cpu()?;
    for _ in 0..rounds {
        world.to_all().await?;
    }
    let fanned = inner::cpu()?.saturating_sub(cpu);

    let one = world.to_users().await?;

    let cpu = inner::cpu()?;
    world.close().await?;
    let closed = inner::cpu()?.saturating_sub(cpu);
    let all = count + 200;
    Ok(Figures {
        bytes: bytes as f64 / count as f64,
        cpu_open: each(cpu_open, count),
        percent: 100.0 * swept.as_secs_f64() / f64::from(SWEEPS),
        sweep: each(swept, all) * 1e3 / f64::from(SWEEPS),
        cpu: each(fanned, all * rounds),
        one,
        cpu_close: each(closed, all),
    })
}

struct World {
    gateway: Arc<Gateway<Told>>,
    told: Told,
    written: Arc<AtomicUsize>,
    sessions: JoinSet<()>,
}

/// Counts what the app is told.
#[derive(Clone, Debug, Default)]
struct Told(Arc<AtomicUsize>);

impl Transport for Told {
    async fn send(&self, _: &Outgoing) -> Result<Answer, SendError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Answer::default())
    }
}

impl World {
    fn new(count: usize) -> anyhow::Result<Self> {
        let told = Told::default();
        let target = CallbackTarget {
            port: AppPort::new(80).context("80 is a port")?,
            path: UrlPath::new("/ws/message").context("/ws/message is a path")?,
        };
        let mut settings = settings::Gateway::default();
        settings.limits.connections = Some(u32::try_from(count)? + 1_000);
        // The sweep is the same, and nobody is closed while it is watched.
        settings.heartbeat.timeout = Some(Duration::from_hours(1));
        Ok(Self {
            gateway: Arc::new(Gateway::new(settings, Some((target, told.clone())), None)),
            told,
            written: Arc::default(),
            sessions: JoinSet::new(),
        })
    }

    async fn open(&mut self, count: usize) {
        let told = self.told.0.load(Ordering::Relaxed) + count;
        for nth in 0..count {
            let identity = Identity {
                user: format!("user{}", nth / 4).into(),
                namespace: None,
                token: Token::random(),
            };
            let request = OpenRequest {
                path: "/ws".into(),
                query: String::new(),
                headers: http::HeaderMap::new(),
                address: std::net::Ipv4Addr::LOCALHOST.into(),
            };
            let connection = Connection::new(
                ConnectionId::random(),
                identity,
                Some(
                    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0".into(),
                ),
                b"Cookie: auth_token=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1c2VyIn0.0123456789abcdef\r\n"
                    .as_slice()
                    .into(),
            );
            let stream = Silent(Arc::clone(&self.written));
            let Some(admission) = self.gateway.admit() else {
                return;
            };
            let session = Session::new(admission, connection, request, stream, &[]);
            self.sessions.spawn(async move {
                session.await;
            });
            if nth % 32 == 0 {
                tokio::task::yield_now().await;
            }
        }
        while self.told.0.load(Ordering::Relaxed) < told {
            tokio::task::yield_now().await;
        }
    }

    /// 256 bytes to everyone, until everyone has them.
    async fn to_all(&self) -> anyhow::Result<()> {
        let all = select(Criteria {
            all: true,
            ..Criteria::default()
        })?;
        let before = self.written.load(Ordering::Relaxed);
        let message = Message::text(&"x".repeat(256));
        let sent = self.gateway.broadcast(&all, message).await;
        while self.written.load(Ordering::Relaxed) < before + sent.queued {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Microseconds of a send to the four connections of one user among all.
    async fn to_users(&self) -> anyhow::Result<f64> {
        const SENDS: u32 = 2_000;
        let start = Instant::now();
        for nth in 0..SENDS {
            let user = select(Criteria {
                users: Some(vec![format!("user{nth}")]),
                ..Criteria::default()
            })?;
            self.gateway.broadcast(&user, Message::text("\"x\"")).await;
        }
        Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(SENDS))
    }

    /// Everyone is closed, and the app told.
    async fn close(&mut self) -> anyhow::Result<()> {
        let all = select(Criteria {
            all: true,
            ..Criteria::default()
        })?;
        for connection in self.gateway.registry.select(&all) {
            connection.close(CloseReason::PingTimeout);
        }
        while self.sessions.join_next().await.is_some() {}
        Ok(())
    }
}

fn select(criteria: Criteria) -> anyhow::Result<Selector> {
    Selector::new(criteria).context("it names nobody")
}

/// A client that says nothing, takes everything, and answers a close by going away.
#[derive(Debug)]
struct Silent(Arc<AtomicUsize>);

impl AsyncRead for Silent {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Silent {
    /// Counts frames: each is written at once.
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.first().is_some_and(|first| first & 0x0f == 8) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.0.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

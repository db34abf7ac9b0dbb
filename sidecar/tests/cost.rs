//! What an idle connection keeps and what a message allocates: counted, not timed. The bounds are
//! about twice what was measured when they were set, so that a regression by that much is seen
//! wherever the tests run.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

use std::alloc::System;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use stanza::field::{AppPort, UrlPath};
use stanza::{CallbackTarget, settings};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::yield_now;
use ws_codec::Message;
use ws_gateway::callback::event::OpenRequest;
use ws_gateway::callback::{Answer, Outgoing, SendError, Transport};
use ws_gateway::connection::Connection;
use ws_gateway::gateway::Gateway;
use ws_gateway::identity::{ConnectionId, Identity, Token};
use ws_gateway::selector::{Criteria, Selector};
use ws_gateway::session::Session;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The allocator counts for the whole process.
static ALONE: Mutex<()> = Mutex::new(());

const MANY: usize = 1_000;

#[test]
fn an_idle_connection_keeps_little() {
    measure(async |world| {
        world.open(100).await;
        let wires: Vec<_> = (0..MANY).map(|_| Wire::default()).collect();
        let region = Region::new(ALLOCATOR);
        world.open_on(wires).await;
        let change = region.change();
        let kept = change.bytes_allocated - change.bytes_deallocated;
        within("bytes per idle connection", kept / MANY, 1_500);
    });
}

#[test]
fn a_connection_leaves_nothing_behind() {
    measure(async |world| {
        let wires = world.open(MANY).await;
        hang_up(wires);
        world.until_empty().await;
        let region = Region::new(ALLOCATOR);
        let wires = world.open(MANY).await;
        hang_up(wires);
        world.until_empty().await;
        let change = region.change();
        let kept = change
            .bytes_allocated
            .saturating_sub(change.bytes_deallocated);
        within("bytes left by a connection", kept / MANY, 8);
    });
}

#[test]
fn a_message_to_the_app_allocates_little() {
    measure(async |world| {
        let wire = world.open(1).await.remove(0);
        let message = masked(128);
        for _ in 0..100 {
            world.tell(&wire, &message).await;
        }
        let region = Region::new(ALLOCATOR);
        for _ in 0..MANY {
            world.tell(&wire, &message).await;
        }
        let change = region.change();
        let calls = change.allocations + change.reallocations;
        within("allocations per message", calls / MANY, 18);
        within(
            "bytes allocated per message",
            change.bytes_allocated / MANY,
            4_000,
        );
    });
}

#[test]
fn a_recipient_of_a_broadcast_allocates_next_to_nothing() {
    measure(async |world| {
        let wires = world.open(MANY).await;
        world.to_all(&wires, 256).await;
        let region = Region::new(ALLOCATOR);
        for _ in 0..10 {
            world.to_all(&wires, 256).await;
        }
        let change = region.change();
        let deliveries = 10 * MANY;
        let calls = 10 * (change.allocations + change.reallocations);
        within("allocations per ten recipients", calls / deliveries, 20);
        within(
            "bytes allocated per recipient",
            change.bytes_allocated / deliveries,
            200,
        );
    });
}

fn within(what: &str, measured: usize, bound: usize) {
    eprintln!("{what}: {measured} (at most {bound})");
    assert!(
        measured <= bound,
        "{what}: {measured}, and at most {bound} were to be"
    );
}

fn measure(test: impl AsyncFnOnce(World)) {
    let _alone = ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async { test(World::new()).await });
}

/// A gateway whose app answers at once and whose clients are in memory.
struct World {
    gateway: Arc<Gateway<Told>>,
    told: Told,
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
    fn new() -> Self {
        let told = Told::default();
        let target = CallbackTarget {
            port: AppPort::new(80).unwrap(),
            path: UrlPath::new("/ws/message").unwrap(),
        };
        let settings = settings::Gateway::default();
        let gateway = Arc::new(Gateway::new(settings, Some((target, told.clone())), None));
        Self { gateway, told }
    }

    async fn open(&self, count: usize) -> Vec<Wire> {
        let wires: Vec<_> = (0..count).map(|_| Wire::default()).collect();
        self.open_on(wires.clone()).await;
        wires
    }

    async fn open_on(&self, wires: Vec<Wire>) {
        let told = self.told() + wires.len();
        for wire in wires {
            let identity = Identity {
                user: "somebody".into(),
                namespace: None,
                token: Token::random(),
            };
            let request = OpenRequest {
                path: "/ws".into(),
                query: String::new(),
                headers: http::HeaderMap::new(),
                address: std::net::Ipv4Addr::LOCALHOST.into(),
            };
            let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
            let carried = b"Cookie: auth_token=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1c2VyIn0.0123456789abcdef\r\nX-Real-IP: 192.0.2.10\r\n";
            let connection = Connection::new(
                ConnectionId::random(),
                identity,
                Some(agent.into()),
                carried.as_slice().into(),
            );
            tokio::spawn(Session::new(
                self.gateway.admit().unwrap(),
                connection,
                request,
                wire,
                &[],
            ));
        }
        self.until_told(told).await;
    }

    fn told(&self) -> usize {
        self.told.0.load(Ordering::Relaxed)
    }

    async fn until_told(&self, count: usize) {
        while self.told() < count {
            yield_now().await;
        }
        // The answer is taken note of.
        yield_now().await;
    }

    async fn until_empty(&self) {
        while !self.gateway.registry.is_empty() {
            yield_now().await;
        }
        for _ in 0..10 {
            yield_now().await;
        }
    }

    async fn tell(&self, wire: &Wire, frame: &[u8]) {
        let told = self.told() + 1;
        wire.arrive(frame);
        self.until_told(told).await;
    }

    async fn to_all(&self, wires: &[Wire], size: usize) {
        let all = Selector::new(Criteria {
            all: true,
            ..Criteria::default()
        })
        .unwrap();
        let before = wires[0].written();
        self.gateway
            .broadcast(&all, Message::text(&"x".repeat(size)))
            .await;
        while wires.iter().any(|wire| wire.written() == before) {
            yield_now().await;
        }
    }
}

fn hang_up(wires: Vec<Wire>) {
    for wire in wires {
        let mut end = wire.0.lock().unwrap();
        end.gone = true;
        if let Some(waker) = end.reader.take() {
            waker.wake();
        }
    }
}

/// A client's end: what it sent waits here, what it gets is counted.
#[derive(Clone, Debug, Default)]
struct Wire(Arc<Mutex<End>>);

#[derive(Debug, Default)]
struct End {
    incoming: VecDeque<u8>,
    reader: Option<Waker>,
    written: usize,
    gone: bool,
}

impl Wire {
    fn arrive(&self, bytes: &[u8]) {
        let mut end = self.0.lock().unwrap();
        end.incoming.extend(bytes);
        if let Some(waker) = end.reader.take() {
            waker.wake();
        }
    }

    fn written(&self) -> usize {
        self.0.lock().unwrap().written
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut end = self.0.lock().unwrap();
        if end.incoming.is_empty() && !end.gone {
            end.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let count = end.incoming.len().min(buffer.remaining());
        for byte in end.incoming.drain(..count) {
            buffer.put_slice(&[byte]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().unwrap().written += bytes.len();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A JSON string of so many bytes in a text frame, masked with zeros.
fn masked(size: usize) -> Vec<u8> {
    let payload = format!("\"{}\"", "x".repeat(size - 2));
    let length = u16::try_from(size).unwrap().to_be_bytes();
    [&[0x81, 0xfe], &length[..], &[0; 4], payload.as_bytes()].concat()
}

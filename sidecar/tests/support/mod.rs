//! What the tests drive the real program with: a gateway process, an app that records its
//! callbacks, WebSocket clients that behave, and raw sockets for those that do not.
//!
//! Nothing waits for a length of time where it can wait for an event; every wait has the same
//! generous deadline, so that a busy machine makes a test slow and not red.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "each test target uses a part of this"
)]
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

pub mod answer;
pub mod app;
pub mod browser;
pub mod client;
pub mod elsewhere;
pub mod gateway;
pub mod http;
pub mod key_server;
pub mod midway;
pub mod parsers;
pub mod raw;
pub mod reverse;
pub mod tokens;

pub use answer::{Answer, Gate};
pub use app::{App, Call};
pub use browser::Browser;
pub use client::Client;
pub use gateway::{Gateway, Launch};
pub use key_server::KeyServer;
pub use midway::Midway;
pub use raw::Raw;
pub use tokens::Signer;

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::sync::Mutex;
use std::time::Duration;

/// How long anything may take that should happen.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Waits for what should happen soon.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let value = tokio::time::timeout(PATIENCE, future).await;
    value.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}

/// Asks again and again until there is an answer.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(what, asking).await
}

/// A port that is free on both families and that no outgoing connection takes meanwhile, as it
/// lies below the range that the kernel chooses from. No other test gets it, in whatever process:
/// it is this one's by a UDP socket of the same number, until the process ends.
pub fn free_port() -> u16 {
    static OURS: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());
    let reserved = |port: u16| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).ok();
    let free = |port: u16| {
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
            && TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).is_ok()
    };
    let (port, reserved) = std::iter::repeat_with(|| {
        12_000 + u16::try_from(uuid::Uuid::new_v4().as_u128() % 20_000).unwrap()
    })
    .take(1000)
    .filter_map(|port| Some((port, reserved(port)?)))
    .find(|(port, _)| free(*port))
    .expect("a free port");
    OURS.lock().unwrap().push(reserved);
    port
}

//! The gateway's two other ports.

use std::io;
use std::sync::Arc;

use super::Kind;
use super::tools::{Target, crowd};

pub(super) const OPS: Kind = Kind {
    name: "ops port",
    about: "2,500 half heads of 15 to 380 KB, and as many idle sockets, on port 40011",
    flags: &[],
    work: |target| {
        Box::pin(crowd(target, 5000, async |target, index| {
            half_or_idle(target, stanza::env::OPS_PORT, index).await
        }))
    },
};

pub(super) const ADMIN: Kind = Kind {
    name: "remote admin",
    about: "the same on port 40012, which is open only where there is an admin token",
    flags: &[crate::app::TOKEN_FLAG],
    work: |target| {
        Box::pin(crowd(target, 5000, async |target, index| {
            half_or_idle(target, stanza::env::REMOTE_ADMIN_PORT, index).await
        }))
    },
};

async fn half_or_idle(target: Arc<Target>, port: u16, index: usize) -> io::Result<()> {
    let mut socket = target.dial(port).await?;
    if index.is_multiple_of(2) {
        let size = if index.is_multiple_of(4) {
            380_000
        } else {
            15_000
        };
        let head = format!(
            "GET / HTTP/1.1\r\nHost: pod\r\nX-Filling: {}",
            "x".repeat(size)
        );
        socket.send(head.as_bytes()).await?;
    }
    socket.linger().await
}

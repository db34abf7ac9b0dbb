//! `limits`: what one client, and all of them, may take.

use std::time::Duration;

use serde_json::Value as Json;

use super::group::{Declaration, Group, is_switch};
use crate::field::{ByteSize, Field, HeadSize};
use crate::node::Node;

group! {
    /// `limits`: what one client, and all of them, may take.
    Limits {
        /// Bytes of one message from a client; more closes with 1009. 0: no limit.
        "message" message: ByteSize = ByteSize(1 << 20);
        /// Open connections in all; more are answered 503. Unset: one per 25 KiB of the
        /// container's memory limit (256Mi: about 10,000), 10,000 where there is none. 0: no limit.
        "connections" connections: Option<u32> = None;
        /// How many of them may be clients without a name; more are answered 503. Unset: a tenth
        /// of all places is kept for named users. 0: no limit.
        "connectionsAnonymous" connections_anonymous: Option<u32> = None;
        /// Open connections of one named user; more are answered 429. 0: no limit.
        "connectionsPerUser" connections_per_user: u32 = 1000;
        /// Messages per second of one client, averaged over ten seconds; more closes with 1008. 0: no limit.
        "messageRate" message_rate: u32 = 0;
        /// Bytes that may wait for one client that reads slowly; more for longer than `slow`
        /// closes with 1013. 0: no limit.
        "outbox" outbox: ByteSize = ByteSize(256 << 10);
        /// How long more than `outbox` may wait for one client, as long as less than half of
        /// `buffered` is used.
        "slow" slow: Duration = Duration::from_secs(10);
        /// Bytes that may wait in all, to and from clients; beyond, the connections that hold
        /// most are closed with 1013. A quarter is kept for what goes out to clients, and a quarter is
        /// what callbacks of over 256 KiB may take at once: further ones wait.
        /// 0: no limit.
        "buffered" buffered: ByteSize = ByteSize(64 << 20);
        /// How long a client may take for one message, with a second more for each 8 KiB that
        /// came; longer closes with 1008. 0: no limit.
        "unfinished" unfinished: Duration = Duration::from_secs(30);
        /// New connections per second of all clients, averaged over ten seconds; more are answered
        /// 503, addresses that opened many first. 0: no limit.
        "connectRate" connect_rate: u32 = 1000;
        /// Bytes of a request's head; more is answered 431. Ordinary requests of an app behind
        /// `expose: entrance` may have 64Ki in any case.
        "header" header: HeadSize = HeadSize(16 << 10);
        /// How long a client may take to send a request's head, once it is connected or has begun
        /// with it. 0: no limit.
        "handshake" handshake: Duration = Duration::from_secs(10);
        /// How long a connection may idle between two requests. 0: no limit.
        "keepAlive" keep_alive: Duration = Duration::from_mins(2);
        /// Connections that are no WebSockets: requests under way, and the streams and tunnels of
        /// an app behind `expose: entrance`. As many may idle between requests. Beyond, the oldest
        /// of the address that holds most is closed. 0: no limit.
        "requests" requests: u32 = 4096;
        /// How long a request, stream or tunnel may go on without a byte moved. 0: no limit.
        "idle" idle: Duration = Duration::from_hours(1);
        /// How long a client that is being closed may take nothing, or leave the close frame
        /// unanswered, before the connection is cut; in all, `drain.timeout`.
        "close" close: Duration = Duration::from_secs(5);
        /// Bytes of one admin request's body; more is answered 413. 0: no limit.
        "adminBody" admin_body: ByteSize = ByteSize(16 << 20);
    }
}

/// Where nothing says how much memory there is.
pub const CONNECTIONS: u32 = 10_000;

impl Limits {
    /// How many connections there may be.
    pub fn places(&self) -> usize {
        no_limit_at_zero(self.connections.unwrap_or(CONNECTIONS))
    }

    /// How many of them clients without a name may have.
    pub fn anonymous_places(&self) -> usize {
        match self.connections_anonymous {
            Some(count) => no_limit_at_zero(count),
            None => self.places() - self.places() / 10,
        }
    }

    pub fn places_per_user(&self) -> usize {
        no_limit_at_zero(self.connections_per_user)
    }
}

fn no_limit_at_zero(count: u32) -> usize {
    match count {
        0 => usize::MAX,
        count => count as usize,
    }
}

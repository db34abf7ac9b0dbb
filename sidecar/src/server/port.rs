//! What the connections of one listener share: their crowds, and the limits that hold for it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use ipnet::IpNet;
use stanza::settings::Limits;
use tokio::sync::Semaphore;
use tracing::warn;

use super::crowd::{Crowd, Seat};
use super::head::{self, Refusal};
use super::http1::Http1;
use super::{Asked, Entrance, Request, Server};
use crate::budget::{Charge, Way};
use crate::callback::client::AppClient;
use crate::gateway::Gateway;
use crate::metrics::RefusalReason;
use crate::proxy::{ServerBody, Upstream};
use crate::throttle::Throttle;

pub(super) struct Port {
    server: Arc<Server>,
    entrance: Entrance,
    /// Connections that have not sent a whole request yet.
    newcomers: Arc<Crowd>,
    /// Connections with a request under way, streams and tunnels.
    requests: Arc<Crowd>,
    /// Connections between two requests.
    idle: Arc<Crowd>,
    /// Places for what is kept of connections for the next request: some 20 KiB each.
    kept: Arc<Semaphore>,
}

/// Of those that have sent little; fewer where they send much, as all of them together may hold
/// so many times what one counts at least.
const NEWCOMERS: usize = 4096;
const NEWCOMER: usize = 4 << 10;
/// On the ports that are none of the clients'.
const REMOTE_ADMINS: usize = 256;
const OPERATORS: usize = 64;
/// So many connections that are in use without a pause spare what it takes to begin anew.
const KEPT: usize = 64;
/// An ordinary request of an app that we stand in front of: as much as the usual servers take.
const APPS_HEAD: usize = 64 << 10;
/// Beside the time that a drain may take.
const OPERATORS_PATIENCE: Duration = Duration::from_secs(10);

impl Port {
    pub(super) fn new(server: Arc<Server>, entrance: Entrance) -> Self {
        // Where heads are read what was sent of them counts.
        let reading = |places: usize| Crowd::by_weight(places.saturating_mul(NEWCOMER), NEWCOMER);
        let (newcomers, requests) = match entrance {
            Entrance::Clients => {
                let requests = server.gateway.settings.limits.requests;
                (NEWCOMERS, requests as usize)
            }
            Entrance::RemoteAdmin => (REMOTE_ADMINS, REMOTE_ADMINS),
            Entrance::Operations => (OPERATORS, OPERATORS),
        };
        let (newcomers, idle) = (reading(newcomers), reading(requests));
        let requests = Crowd::of(requests);
        Self {
            server,
            entrance,
            newcomers,
            requests,
            idle,
            kept: Arc::new(Semaphore::new(KEPT)),
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.server.gateway.settings.limits
    }

    pub(super) fn upstream(&self) -> Option<&Arc<Upstream>> {
        self.server.upstream_of(self.entrance)
    }

    pub(super) fn gateway(&self) -> &Gateway<AppClient> {
        &self.server.gateway
    }

    pub(super) fn longest_head(&self) -> usize {
        let own = self.limits().header.0;
        match self.upstream() {
            Some(_) => own.max(APPS_HEAD),
            None => own,
        }
    }

    /// How long a request may be under way without a byte moved.
    pub(super) fn idle_limit(&self) -> Duration {
        let settings = &self.server.gateway.settings;
        match self.entrance {
            Entrance::Clients => settings.limits.idle,
            Entrance::RemoteAdmin => settings.limits.keep_alive,
            Entrance::Operations => settings.drain.timeout.saturating_add(OPERATORS_PATIENCE),
        }
    }

    /// Whether the peer may say for whom it speaks before the first request.
    pub(super) fn takes_proxy_protocol(&self, peer: SocketAddr) -> bool {
        self.server.gateway.settings.identity.proxy_protocol && self.trusted_proxy(peer).is_some()
    }

    /// The peer, if it is one, with all that are.
    pub(super) fn trusted_proxy(&self, peer: SocketAddr) -> Option<(SocketAddr, &[IpNet])> {
        let all = self
            .server
            .gateway
            .settings
            .identity
            .trusted_proxies
            .as_deref()?;
        let ip = peer.ip().to_canonical();
        let trusted = self.entrance == Entrance::Clients && all.iter().any(|net| net.contains(&ip));
        trusted.then_some((peer, all))
    }

    /// A head that is longer than one of ours may be counts among what waits for the app.
    pub(super) fn hold(&self, bytes: usize, held: &mut Option<Charge>) -> Result<(), Refusal> {
        if bytes <= self.limits().header.0 {
            return Ok(());
        }
        let budget = &self.server.gateway.budget;
        // Counted anew, so that it never counts twice.
        *held = None;
        if !budget.has_room() {
            return Err(head::overloaded());
        }
        *held = Some(budget.charge(Way::In, bytes));
        Ok(())
    }

    pub(super) fn newcomer(&self, peer: SocketAddr) -> Seat {
        self.seat(&self.newcomers, peer.ip(), peer)
    }

    pub(super) fn with_a_request(&self, peer: SocketAddr) -> Seat {
        self.seat(&self.requests, peer.ip(), peer)
    }

    /// The same where it is known whose request a proxy brings: its client's, who pays for it.
    pub(super) fn with_a_request_of(&self, client: Option<IpAddr>, peer: SocketAddr) -> Seat {
        self.seat(&self.requests, client.unwrap_or(peer.ip()), peer)
    }

    pub(super) fn between_requests(&self, peer: SocketAddr) -> Seat {
        self.seat(&self.idle, peer.ip(), peer)
    }

    /// What served a request waits for the next one, if there is a place for it.
    pub(super) fn keep(&self, mut http1: Http1) -> Option<Http1> {
        if http1.place.is_none() {
            http1.place = Some(Arc::clone(&self.kept).try_acquire_owned().ok()?);
        }
        Some(http1)
    }

    fn seat(&self, crowd: &Arc<Crowd>, of: IpAddr, peer: SocketAddr) -> Seat {
        let (seat, gone) = crowd.enter(of);
        self.turned_out(gone, peer);
        seat
    }

    /// Tells of those who had to go because somebody came or sent more.
    pub(super) fn turned_out(&self, gone: usize, peer: SocketAddr) {
        static LINES: Throttle = Throttle::new();
        if gone == 0 {
            return;
        }
        for _ in 0..gone {
            self.server.gateway.metrics.refused(RefusalReason::Crowded);
        }
        if let Some(left_out) = LINES.pass() {
            warn!(
                port = self.entrance.name(), newest = %peer, left_out,
                "too many connections without a WebSocket: of the address that holds most the oldest is closed (limits.requests, limits.handshake)"
            );
        }
    }

    pub(super) fn refused(&self, refusal: &Refusal, peer: SocketAddr) {
        static LINES: Throttle = Throttle::new();
        self.server.gateway.metrics.refused(refusal.label);
        if let Some(left_out) = LINES.pass() {
            let (status, why) = (refusal.status.as_u16(), &refusal.message);
            warn!(port = self.entrance.name(), %peer, status, why, left_out, "a request is refused unread");
        }
    }

    pub(super) async fn answer(&self, asked: Asked, request: Request) -> Response<ServerBody> {
        self.server.route(self.entrance, asked, request).await
    }
}

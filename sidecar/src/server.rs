//! Sockets in, requests out: HTTP/1.1 for clients and the pod's own admin calls, for admin calls
//! from elsewhere, and for whoever operates the gateway.

mod body;
mod connection;
pub(crate) mod crowd;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod head;
mod http1;
mod port;
mod proxy_protocol;
mod stream;

pub(crate) use connection::idle;
pub(crate) use stream::RequestStream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header};
use hyper::body::Incoming;
use stanza::field::UrlPath;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::admin::{self, guard};
use crate::callback::client::AppClient;
use crate::drain::Drain;
use crate::gateway::Gateway;
use crate::metrics::{AdminCall, RefusalReason};
use crate::ops;
use crate::proxy::{ServerBody, Upstream};
use crate::reply::{Reply, error, with_type};
use crate::threads::made_on;
use crate::throttle::Throttle;
use crate::upgrade::{Door, Refused, is_websocket, try_again};
use connection::Connection;
use crowd::Seat;
use port::Port;

/// Where `health.path` is not set.
const HEALTH_PATH: &str = "/healthz";

type Request = http::Request<Incoming>;

/// Everything that answers requests.
#[derive(Debug)]
pub(crate) struct Server {
    pub gateway: Arc<Gateway<AppClient>>,
    pub door: Arc<Door>,
    /// The app's own port, where we stand in front of it.
    pub upstream: Option<Arc<Upstream>>,
    pub admin_token: Option<guard::TokenLock>,
    /// Set once an earlier run's connections are all told of.
    pub open: AtomicBool,
    pub drain: Drain,
}

/// Which of the servers a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entrance {
    Clients,
    RemoteAdmin,
    Operations,
}

/// What a request came with.
#[derive(Clone, Debug)]
struct Asked {
    peer: SocketAddr,
    /// How long its head is.
    head: usize,
    /// Its place, for whatever becomes of it.
    seat: Arc<Seat>,
}

impl Entrance {
    fn name(self) -> &'static str {
        match self {
            Self::Clients => "clients",
            Self::RemoteAdmin => "admin",
            Self::Operations => "ops",
        }
    }
}

pub(crate) async fn serve(
    server: Arc<Server>,
    entrance: Entrance,
    listener: TcpListener,
    connections: TaskTracker,
    stop: CancellationToken,
) {
    static LINES: Throttle = Throttle::new();
    /// So many newcomers, then those who are in have their turn: what waits in the kernel's queue
    /// is not charged to us, and delays newcomers only.
    const AT_ONCE: usize = 8;
    let port = Arc::new(Port::new(server, entrance));
    let established = &port.gateway().threads.established;
    for count in 1_usize.. {
        if count.is_multiple_of(AT_ONCE) {
            tokio::task::yield_now().await;
        }
        let accepted = tokio::select! {
            accepted = made_on(established, listener.accept()) => accepted,
            () = stop.cancelled() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly; trying again at once would spin.
                if let Some(left_out) = LINES.pass() {
                    warn!(%error, left_out, "a connection could not be accepted");
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Here and not in its task, so that the crowd is never larger than it may be.
        let seat = port.newcomer(peer);
        let connection = Connection::new(Arc::clone(&port), peer, stream, stop.clone());
        if peer.ip().to_canonical().is_loopback() {
            // Nobody but the pod itself comes from there, and its calls are the app's.
            connections.spawn_on(connection.serve(seat), established);
        } else {
            let then = (connections.clone(), established.clone());
            connections.spawn(connection.serve_newcomer(seat, then));
        }
    }
}

impl Server {
    /// Callbacks are to be signed, and there is no key yet.
    pub(crate) fn waits_for_key(&self) -> bool {
        let signer = self.gateway.signer();
        signer.is_some_and(|signer| !signer.is_ready())
    }

    fn upstream_of(&self, entrance: Entrance) -> Option<&Arc<Upstream>> {
        self.upstream
            .as_ref()
            .filter(|_| entrance == Entrance::Clients)
    }

    /// The rare ways are boxed: hyper moves this future, as large as its largest way, with each
    /// request.
    async fn route(
        &self,
        entrance: Entrance,
        asked: Asked,
        request: Request,
    ) -> Response<ServerBody> {
        let path = request.uri().path();
        let is_ours = |path| path == self.gateway.settings.routes.path.as_str();
        // Some clients' libraries append a slash.
        let ours = is_ours(path) || path.strip_suffix('/').is_some_and(is_ours);
        let peer = asked.peer;
        // What is no WebSocket is the app's, also at our path.
        let own = path.starts_with(admin::PREFIX) || (ours && is_websocket(request.headers()));
        match self.upstream_of(entrance) {
            _ if entrance == Entrance::Operations => {
                let reply = Box::pin(ops::route(self, peer, &request)).await;
                reply.map(ServerBody::own)
            }
            _ if !own && self.is_health(entrance, path) => self.health().map(ServerBody::own),
            Some(upstream) if !own => {
                let forwarded = upstream.forward(peer, request, asked.seat);
                let mut response = Box::pin(forwarded).await;
                if self.gateway.is_draining() {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                }
                response
            }
            _ if asked.head > self.gateway.settings.limits.header.0 => {
                self.too_long().map(ServerBody::own)
            }
            _ if path.starts_with(admin::PREFIX) => self
                .admin(entrance, peer, request)
                .await
                .map(ServerBody::own),
            _ if ours && entrance == Entrance::Clients => {
                self.upgrade(peer, request).await.map(ServerBody::own)
            }
            _ => self.nothing_here(entrance).map(ServerBody::own),
        }
    }

    /// Whether a load balancer asks how we are. Before an app all paths are the app's, if the
    /// setting says nothing else.
    fn is_health(&self, entrance: Entrance, path: &str) -> bool {
        let named = self.gateway.settings.health.path.as_ref();
        let default = self.upstream.is_none().then_some(HEALTH_PATH);
        entrance == Entrance::Clients && named.map(UrlPath::as_str).or(default) == Some(path)
    }

    /// Strangers ask too: it does not say why.
    fn health(&self) -> Reply {
        if self.gateway.is_draining() || !self.open.load(Ordering::Acquire) {
            return with_type(
                StatusCode::SERVICE_UNAVAILABLE,
                "text/plain",
                "unavailable\n",
            );
        }
        with_type(StatusCode::OK, "text/plain", "ok\n")
    }

    async fn upgrade(&self, peer: SocketAddr, request: Request) -> Reply {
        if self.open.load(Ordering::Acquire) {
            return Box::pin(self.door.serve(peer, request)).await;
        }
        let Refused { label, reply } = if self.waits_for_key() {
            let message = "there is no key to sign callbacks with (callback.signing)";
            try_again(RefusalReason::Signing, message)
        } else {
            try_again(RefusalReason::Recovering, "the gateway is starting")
        };
        self.gateway.metrics.refused(label);
        *reply
    }

    /// For the app it would not have been.
    fn too_long(&self) -> Reply {
        let refusal = head::too_long(self.gateway.settings.limits.header.0);
        self.gateway.metrics.refused(refusal.label);
        error(refusal.status, &refusal.message)
    }

    fn nothing_here(&self, entrance: Entrance) -> Reply {
        let message = match entrance {
            Entrance::RemoteAdmin => "nothing is here but the admin API",
            Entrance::Clients | Entrance::Operations => {
                let path = &self.gateway.settings.routes.path;
                &format!("nothing is here; the WebSocket is at {path}")
            }
        };
        error(StatusCode::NOT_FOUND, message)
    }

    async fn admin(&self, entrance: Entrance, peer: SocketAddr, request: Request) -> Reply {
        let allowed = match (entrance, &self.admin_token) {
            (Entrance::RemoteAdmin, Some(lock)) => guard::bearer(&request, lock),
            (Entrance::Clients, lock) => guard::local(&request, peer, lock.as_ref()),
            _ => Err(admin::Refusal::new(StatusCode::NOT_FOUND, "not found")),
        };
        match allowed {
            Ok(()) => admin::serve(&self.gateway, request).await,
            Err(refusal) => {
                self.gateway
                    .metrics
                    .admin(AdminCall::Refused, refusal.status);
                debug!(%peer, status = refusal.status.as_u16(), why = refusal.message, "admin call refused");
                admin::refuse(&refusal)
            }
        }
    }
}

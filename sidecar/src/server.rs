//! Sockets in, requests out: one HTTP/1.1 server for clients and the pod's own admin calls, one
//! for admin calls from elsewhere.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::admin::{self, guard};
use crate::callback::client::AppClient;
use crate::drain::Drain;
use crate::gateway::Gateway;
use crate::proxy::{Protocol, ServerBody, Upstream, sniff};
use crate::reply::{Reply, error};
use crate::upgrade::{Door, Refused, is_websocket, try_again};

/// Everything that answers requests.
#[derive(Debug)]
pub(crate) struct Server {
    pub gateway: Arc<Gateway<AppClient>>,
    pub door: Arc<Door>,
    /// The app's own port, where we stand in front of it.
    pub upstream: Option<Arc<Upstream>>,
    pub admin_token: Option<guard::AdminToken>,
    /// Set once an earlier run's connections are all told of.
    pub open: AtomicBool,
    pub drain: Drain,
}

/// Which of the two servers a request came to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entrance {
    Clients,
    RemoteAdmin,
}

/// Sockets that have not become WebSockets; beyond, strangers are turned away at once. The
/// pod's own calls do not count: the app must always reach the admin API.
const MAX_WAITING: usize = 4096;
/// The same for admin calls from elsewhere.
const MAX_REMOTE_ADMIN: usize = 256;
const MAX_HEAD: usize = 64 << 10;
/// How long an admin client's connection may idle: longer than the usual HTTP clients keep one.
const ADMIN_IDLE: Duration = Duration::from_mins(2);

/// The same for clients of an app that we stand in front of: longer than the usual ingresses do.
const PROXY_IDLE: Duration = Duration::from_mins(2);
/// How long answers that are under way may take once everything else has ended.
const LAST_ANSWER: Duration = Duration::from_secs(5);

pub(crate) async fn serve(
    server: Arc<Server>,
    entrance: Entrance,
    listener: TcpListener,
    connections: TaskTracker,
    stop: CancellationToken,
) {
    let waiting = Arc::new(Semaphore::new(match entrance {
        Entrance::Clients => MAX_WAITING,
        Entrance::RemoteAdmin => MAX_REMOTE_ADMIN,
    }));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly; trying again at once would spin.
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let place = Arc::clone(&waiting).try_acquire_owned().ok();
        if place.is_none() && !peer.ip().to_canonical().is_loopback() {
            server.gateway.metrics.refused("waiting");
            continue;
        }
        let server = Arc::clone(&server);
        let stop = stop.clone();
        connections.spawn(async move {
            answer(server, entrance, stream, peer, stop).await;
            drop(place);
        });
    }
}

async fn answer(
    server: Arc<Server>,
    entrance: Entrance,
    stream: TcpStream,
    peer: SocketAddr,
    stop: CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    let handshake = server.gateway.settings.limits.handshake;
    let mut patience = if peer.ip().to_canonical().is_loopback() {
        handshake.max(ADMIN_IDLE)
    } else {
        handshake
    };
    if let Some(upstream) = server.upstream_of(entrance) {
        match sniff(&stream, patience).await {
            Some(Protocol::Http1) => patience = patience.max(PROXY_IDLE),
            Some(protocol) => return upstream.splice(protocol, stream, &stop).await,
            None => return,
        }
    }
    let service = service_fn(move |request| {
        let server = Arc::clone(&server);
        async move { Ok::<_, Infallible>(server.route(entrance, peer, request).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(patience)
            .max_buf_size(MAX_HEAD)
            .preserve_header_case(true)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
    );
    let end = tokio::select! {
        end = connection.as_mut() => end,
        () = stop.cancelled() => {
            // What is being answered is answered to the end.
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(LAST_ANSWER, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = end {
        debug!(%peer, %error, "connection ended");
    }
}

impl Server {
    fn upstream_of(&self, entrance: Entrance) -> Option<&Arc<Upstream>> {
        self.upstream
            .as_ref()
            .filter(|_| matches!(entrance, Entrance::Clients))
    }

    /// The rare ways are boxed: hyper moves this future, as large as its largest way, with each
    /// request.
    async fn route(
        &self,
        entrance: Entrance,
        peer: SocketAddr,
        request: Request<Incoming>,
    ) -> Response<ServerBody> {
        let path = request.uri().path();
        let ours = path == self.gateway.settings.routes.path.as_str();
        match self.upstream_of(entrance) {
            _ if path.starts_with(admin::PREFIX) => self
                .admin(entrance, peer, request)
                .await
                .map(ServerBody::own),
            // What is no WebSocket is the app's, also at our path.
            Some(upstream) if !(ours && is_websocket(request.headers())) => {
                let mut response = Box::pin(upstream.forward(peer, request)).await;
                if self.gateway.is_draining() {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                }
                response
            }
            _ if ours && matches!(entrance, Entrance::Clients) => {
                self.upgrade(peer, request).await.map(ServerBody::own)
            }
            _ => self.nothing_here(entrance).map(ServerBody::own),
        }
    }

    async fn upgrade(&self, peer: SocketAddr, request: Request<Incoming>) -> Reply {
        if self.open.load(Ordering::Acquire) {
            return Box::pin(self.door.serve(peer, request)).await;
        }
        let Refused { label, reply } = try_again("recovering", "the gateway is starting");
        self.gateway.metrics.refused(label);
        *reply
    }

    fn nothing_here(&self, entrance: Entrance) -> Reply {
        let message = match entrance {
            Entrance::Clients => {
                let path = &self.gateway.settings.routes.path;
                &format!("nothing is here; the WebSocket is at {path}")
            }
            Entrance::RemoteAdmin => "nothing is here but the admin API",
        };
        error(StatusCode::NOT_FOUND, message)
    }

    async fn admin(
        &self,
        entrance: Entrance,
        peer: SocketAddr,
        request: Request<Incoming>,
    ) -> Reply {
        let allowed = match (entrance, &self.admin_token) {
            (Entrance::Clients, token) => guard::local(&request, peer, token.as_ref()),
            (Entrance::RemoteAdmin, Some(token)) => guard::bearer(&request, token),
            (Entrance::RemoteAdmin, None) => {
                Err(admin::Refusal::new(StatusCode::NOT_FOUND, "not found"))
            }
        };
        match allowed {
            Ok(()) => admin::serve(&self.gateway, request).await,
            Err(refusal) => {
                self.gateway.metrics.admin("refused", refusal.status);
                debug!(%peer, status = refusal.status.as_u16(), why = refusal.message, "admin call refused");
                admin::refuse(&refusal)
            }
        }
    }
}

//! Sockets in, requests out: one HTTP/1.1 server for clients and the pod's own admin calls, one
//! for admin calls from elsewhere.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Request, StatusCode};
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
use crate::gateway::Gateway;
use crate::reply::{Reply, error};
use crate::upgrade::{Door, Refused, try_again};

/// Everything that answers requests.
#[derive(Debug)]
pub(crate) struct Server {
    pub gateway: Arc<Gateway<AppClient>>,
    pub door: Arc<Door>,
    pub admin_token: Option<guard::AdminToken>,
    /// Set once an earlier run's connections are all told of.
    pub open: AtomicBool,
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
            tokio::select! {
                () = answer(server, entrance, stream, peer) => {}
                () = stop.cancelled() => {}
            }
            drop(place);
        });
    }
}

async fn answer(server: Arc<Server>, entrance: Entrance, stream: TcpStream, peer: SocketAddr) {
    let _ = stream.set_nodelay(true);
    let handshake = server.gateway.settings.limits.handshake;
    let patience = if peer.ip().to_canonical().is_loopback() {
        handshake.max(ADMIN_IDLE)
    } else {
        handshake
    };
    let service = service_fn(move |request| {
        let server = Arc::clone(&server);
        async move { Ok::<_, Infallible>(server.route(entrance, peer, request).await) }
    });
    let end = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = end {
        debug!(%peer, %error, "connection ended");
    }
}

impl Server {
    async fn route(
        &self,
        entrance: Entrance,
        peer: SocketAddr,
        request: Request<Incoming>,
    ) -> Reply {
        let path = request.uri().path();
        if path.starts_with(admin::PREFIX) {
            return self.admin(entrance, peer, request).await;
        }
        let settings = &self.gateway.settings;
        match entrance {
            Entrance::Clients if path == settings.routes.path.as_str() => {
                if !self.open.load(Ordering::Acquire) {
                    let Refused { label, reply } =
                        try_again("recovering", "the gateway is starting");
                    self.gateway.metrics.refused(label);
                    return *reply;
                }
                self.door.serve(peer, request).await
            }
            Entrance::Clients => {
                let message = format!(
                    "nothing is here; the WebSocket is at {}",
                    settings.routes.path
                );
                error(StatusCode::NOT_FOUND, &message)
            }
            Entrance::RemoteAdmin => {
                error(StatusCode::NOT_FOUND, "nothing is here but the admin API")
            }
        }
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

//! `expose: entrance`: the gateway stands in front of the app's own port. What is not ours goes
//! to the app as it came: any method, streamed bodies both ways, trailers, other upgrades, the
//! client's Host and headers.
//!
//! The app is reached by the pod's address and not by loopback: some apps trust localhost.

mod body;
mod border;
mod connection;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod relay;
mod sniff;
mod stream;

pub(crate) use body::ServerBody;
pub(crate) use border::Border;
pub(crate) use sniff::{Protocol, sniff};

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{Either, Empty};
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::app_pool::{self, AppPool};
use crate::callback::SendError;
use crate::server::RequestStream;
use crate::server::crowd::Seat;
use crate::threads::made_on;
use crate::{hop_by_hop, reply};
use body::AppBody;
use connection::AppConnection;
use relay::relay;

/// What goes to the app: the client's body as it arrives, or none.
type RequestBody = Either<Incoming, Empty<Bytes>>;

type Exchanged = (AppConnection<RequestBody>, Response<Incoming>);

/// The app's own port.
#[derive(Debug)]
pub(crate) struct Upstream {
    address: SocketAddr,
    border: Border,
    /// How long a tunnel may go on without a byte moved.
    tunnel_idle: Duration,
    pool: AppPool<AppConnection<RequestBody>>,
    tunnels: TaskTracker,
    /// Where sockets are watched, and tunnels served.
    threads: Handle,
    stop: CancellationToken,
}

/// How long a client that is refused may take to hear it, and what it may send meanwhile.
const LAST_WORD: Duration = Duration::from_secs(1);
const LAST_BYTES: u64 = 64 << 10;
/// RFC 9113 §6.5, §6.8, §7: a server's preface without settings, and a GOAWAY for the reason
/// that requests have to come in HTTP/1.1.
const HTTP_1_1_REQUIRED: [u8; 26] = [
    0, 0, 0, 4, 0, 0, 0, 0, 0, // SETTINGS
    0, 0, 8, 7, 0, 0, 0, 0, 0, // GOAWAY
    0, 0, 0, 0, 0, 0, 0, 13,
];
/// Idle connections to the app; more are closed after use.
const KEPT: usize = 256;

impl Upstream {
    pub(crate) fn new(
        address: SocketAddr,
        border: Border,
        tunnel_idle: Duration,
        keep_alive: Duration,
        tunnels: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self {
            address,
            border,
            tunnel_idle,
            pool: AppPool::new(keep_alive, KEPT),
            tunnels,
            threads: Handle::current(),
            stop,
        }
    }

    /// Closes connections that have rested for long enough.
    pub(crate) async fn run(&self, stop: &CancellationToken) {
        self.pool.run(stop).await;
    }

    /// Whether the app takes connections at all.
    pub(crate) async fn answers(&self) -> bool {
        TcpStream::connect(self.address).await.is_ok()
    }

    /// A connection that is not HTTP/1: its bytes, of which the first are read, go to the app and
    /// back.
    pub(crate) async fn splice(
        &self,
        protocol: Protocol,
        mut client: TcpStream,
        early: Vec<u8>,
        stop: &CancellationToken,
    ) {
        if protocol == Protocol::Http2 && self.border.refuses_http2(self.address) {
            // Whoever does not take it in time went away: that is all there is to know.
            let _ = tokio::time::timeout(LAST_WORD, refuse(&mut client)).await;
            return;
        }
        match TcpStream::connect(self.address).await {
            Ok(mut app) => {
                let _ = app.set_nodelay(true);
                if app.write_all(&early).await.is_ok() {
                    drop(early);
                    relay(&mut client, &mut app, self.tunnel_idle, stop).await;
                }
            }
            Err(error) => debug!(%error, app = %self.address, "the app takes no connection"),
        }
    }

    pub(crate) async fn forward(
        self: &Arc<Self>,
        peer: SocketAddr,
        mut request: Request<Incoming>,
        place: Arc<Seat>,
    ) -> Response<ServerBody> {
        if self.border.refuses(&request) {
            return reply::error(StatusCode::NOT_FOUND, "not found").map(ServerBody::own);
        }
        let upgrade = takes_upgrade(request.headers()).then(|| hyper::upgrade::on(&mut request));
        self.border.clean(request.headers_mut(), peer);
        if upgrade.is_some() {
            let upgrade = HeaderValue::from_static("Upgrade");
            request.headers_mut().insert(header::CONNECTION, upgrade);
        } else {
            request.headers_mut().remove(header::UPGRADE);
        }
        to_origin_form(&mut request);
        let request = request.map(|body| {
            let empty = body.is_end_stream();
            if empty {
                RequestBody::Right(Empty::new())
            } else {
                RequestBody::Left(body)
            }
        });
        // A request without a body may be sent again when its connection turns out to be dead.
        let again = again(&request);
        let sent = match self.exchange(request).await {
            Err((SendError::InDoubt(why), Some(rested))) if let Some(again) = again => {
                debug!(
                    why,
                    ?rested,
                    "a kept connection to the app was dead; trying a new one"
                );
                self.exchange_on_new(again).await
            }
            Err((error, _)) => Err(error),
            Ok(sent) => Ok(sent),
        };
        match sent {
            Ok((connection, response)) => self.answer(connection, response, upgrade, place),
            Err(error) => {
                debug!(%error, app = %self.address, "proxied request failed");
                let port = self.address.port();
                let message = match &error {
                    SendError::NotTaken(_) => format!("the app does not answer on port {port}"),
                    _ => format!("the app's answer on port {port} is none: {error}"),
                };
                reply::error(StatusCode::BAD_GATEWAY, &message).map(ServerBody::own)
            }
        }
    }

    /// With an error, how long the connection had rested before: not at all where it was new,
    /// and then the app may have died on this request.
    async fn exchange(
        &self,
        mut request: Request<RequestBody>,
    ) -> Result<Exchanged, (SendError, Option<Duration>)> {
        while let Some((mut connection, rested)) = self.pool.take() {
            match connection.try_send(request).await {
                Ok(response) => return Ok((connection, response)),
                // Not a byte of it was sent, so it is whole and can go over another connection.
                Err((_, Some(back))) => request = back,
                Err((error, None)) => {
                    if matches!(error, SendError::InDoubt(_)) {
                        self.pool.hung_up(rested);
                    }
                    return Err((error, Some(rested)));
                }
            }
        }
        let exchanged = self.exchange_on_new(request).await;
        exchanged.map_err(|error| (error, None))
    }

    async fn exchange_on_new(&self, request: Request<RequestBody>) -> Result<Exchanged, SendError> {
        let mut connection = self.connect().await?;
        match connection.try_send(request).await {
            Ok(response) => Ok((connection, response)),
            Err((error, _)) => Err(error),
        }
    }

    fn answer(
        self: &Arc<Self>,
        connection: AppConnection<RequestBody>,
        mut response: Response<Incoming>,
        upgrade: Option<OnUpgrade>,
        seat: Arc<Seat>,
    ) -> Response<ServerBody> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            if let Some(upgrade) = upgrade {
                let tunnel = Arc::clone(self).tunnel(connection, upgrade, seat);
                self.tunnels.spawn_on(tunnel, &self.threads);
            }
            return response.map(|_| ServerBody::empty());
        }
        let keep_alive = app_pool::allowed_by(response.headers());
        hop_by_hop::remove(response.headers_mut(), hop_by_hop::is_end_to_end);
        response.headers_mut().remove(header::UPGRADE);
        response.map(|body| {
            let upstream = Arc::clone(self);
            ServerBody::app(AppBody::new(body, connection, keep_alive, upstream))
        })
    }

    /// Another protocol was agreed on: its bytes are none of our business.
    async fn tunnel(
        self: Arc<Self>,
        connection: AppConnection<RequestBody>,
        upgrade: OnUpgrade,
        seat: Arc<Seat>,
    ) {
        let Ok(client) = upgrade.await else { return };
        // Our server hands hyper nothing else.
        let client = client.downcast::<RequestStream>().ok();
        let Some((mut client, from_client)) = client.and_then(|parts| parts.io.into_inner()) else {
            return;
        };
        let (app, from_app) = connection.into_upgraded().await;
        let mut app = TokioIo::new(app);
        let bytes = async {
            if client.write_all(&from_app).await.is_ok()
                && app.write_all(&from_client).await.is_ok()
            {
                drop((from_app, from_client));
                relay(&mut client, &mut app, self.tunnel_idle, &self.stop).await;
            }
        };
        tokio::select! {
            () = bytes => {}
            () = seat.turned_out() => {}
        }
    }

    async fn connect(&self) -> Result<AppConnection<RequestBody>, SendError> {
        let connecting = made_on(&self.threads, TcpStream::connect(self.address));
        let stream = connecting.await.map_err(|error| {
            self.pool.app_is_away();
            SendError::NotTaken(error.to_string())
        })?;
        AppConnection::new(stream).await
    }

    /// Takes a connection back whose answer was read to its end.
    fn keep(&self, mut connection: AppConnection<RequestBody>, allowed: Option<Duration>) {
        if connection.is_reusable() {
            self.pool.keep(connection, allowed);
        }
    }
}

/// What was sent is read first: closed with bytes unread, the kernel resets, and the client reads
/// nothing.
async fn refuse(client: &mut TcpStream) -> std::io::Result<()> {
    client.write_all(&HTTP_1_1_REQUIRED).await?;
    client.shutdown().await?;
    let mut unread = client.take(LAST_BYTES);
    tokio::io::copy(&mut unread, &mut tokio::io::sink()).await?;
    Ok(())
}

/// `Upgrade` passes with the request that asks for it. Not to HTTP/2: whatever a stranger then asked
/// for, nobody would see (and RFC 9113 §3.1 has done away with it).
fn takes_upgrade(headers: &HeaderMap) -> bool {
    let http2 = |value: &HeaderValue| {
        let mut all = value.as_bytes().split(|byte| *byte == b',');
        all.any(|protocol| {
            let protocol = protocol.trim_ascii();
            let starts = |with: &str| {
                let start = protocol.get(..with.len());
                start.is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()))
            };
            starts("h2") || starts("http/2")
        })
    };
    is_upgrade(headers) && !headers.get_all(header::UPGRADE).iter().any(http2)
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE) && headers.contains_key(header::CONNECTION)
}

/// hyper's client writes a whole URI as it is; an app expects the path.
fn to_origin_form<B>(request: &mut Request<B>) {
    if request.uri().scheme().is_some()
        && let Some(path) = request.uri().path_and_query().cloned()
    {
        *request.uri_mut() = path.into();
    }
}

/// The same request once more, if it changes nothing and has no body.
fn again(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    if !is_idempotent(request.method()) || !request.body().is_end_stream() {
        return None;
    }
    let mut again = Request::new(RequestBody::Right(Empty::new()));
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.headers_mut() = request.headers().clone();
    Some(again)
}

fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

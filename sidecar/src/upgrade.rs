//! From a request for the WebSocket path to a running session, or to a refusal that says why.

pub mod hook;
pub mod identify;
pub mod jwt;

pub(crate) use jwt::Verifier;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use stanza::field::Origin;
use tracing::{debug, warn};

use crate::callback::client::AppClient;
use crate::callback::event::OpenRequest;
use crate::client_address::AddressGroup;
use crate::connection::Connection;
use crate::gateway::{Admission, Gateway};
use crate::identity::{ConnectionId, Identity};
use crate::metrics::RefusalReason;
use crate::registry::Expected;
use crate::reply::{Reply, error};
use crate::server::RequestStream;
use crate::session::{Placed, Session};
use crate::throttle::Throttle;
use crate::{client_address, trust};
use jwt::{Claimed, Refusal};

/// Lets clients in.
#[derive(Debug)]
pub(crate) struct Door {
    gateway: Arc<Gateway<AppClient>>,
    verifier: Option<Verifier>,
    foreign_origins: Throttle,
}

/// Why a client is not let in: the answer, and the value of the metric's label.
#[derive(Debug)]
pub struct Refused {
    pub label: RefusalReason,
    pub reply: Box<Reply>,
}

/// What the kernel keeps for a client that acknowledges nothing; of one that does not read it is
/// far less, as what is not sent yet is bounded. A loopback segment has 64 KiB with its overhead:
/// with less each would wait for an acknowledgement, and those are 40 ms late.
const SEND_BUFFER: usize = 64 << 10;
/// The same for what it has sent and we have not read.
const RECEIVE_BUFFER: usize = 128 << 10;

impl Refused {
    pub(crate) fn new(label: RefusalReason, status: StatusCode, message: &str) -> Self {
        Self {
            label,
            reply: Box::new(error(status, message)),
        }
    }

    fn with_header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.reply.headers_mut().insert(name, value);
        self
    }
}

impl Door {
    pub(crate) fn new(gateway: Arc<Gateway<AppClient>>, verifier: Option<Verifier>) -> Self {
        Self {
            gateway,
            verifier,
            foreign_origins: Throttle::new(),
        }
    }

    pub(crate) async fn serve(
        self: &Arc<Self>,
        peer: SocketAddr,
        mut request: Request<Incoming>,
    ) -> Reply {
        match self.admit(peer, &mut request).await {
            Ok(reply) => reply,
            Err(Refused { label, reply }) => {
                self.gateway.metrics.refused(label);
                debug!(%peer, reason = label.as_str(), status = reply.status().as_u16(), "upgrade refused");
                *reply
            }
        }
    }

    async fn admit(
        self: &Arc<Self>,
        peer: SocketAddr,
        request: &mut Request<Incoming>,
    ) -> Result<Reply, Refused> {
        let accept = handshake(request)?;
        self.check_open()?;
        let settings = &self.gateway.settings.identity;
        let trusted = trust::trusts(settings, peer, request.headers());
        trust::filter(request.headers_mut(), settings, peer, trusted);
        self.check_origin(request, trusted)?;
        let trusted = self.gateway.settings.identity.trusted_proxies.as_deref();
        let forwarded = request.headers().get_all("x-forwarded-for").iter();
        let forwarded = forwarded.map(HeaderValue::as_bytes);
        let address = client_address::of(peer, forwarded, trusted.unwrap_or_default());
        self.check_rate(address)?;
        let place = self.place()?;
        let claimed = self.verify(request).await?;
        let hook = match &self.gateway.settings.routes.auth {
            Some(path) => Some(hook::ask(&self.gateway, path, request, address).await?),
            None => None,
        };
        // Again, as the app may have taken its time.
        self.check_open()?;
        let carried = identify::carried(request.headers(), address);
        let identity = identify::identity(
            request,
            &self.gateway.settings.identity,
            &carried,
            claimed.as_ref(),
            hook.as_ref(),
        );
        let hook = hook.unwrap_or_default();
        let protocol = hook
            .protocol
            .filter(|chosen| is_offered(request.headers(), chosen))
            .or_else(|| first_offered(request.headers()));
        let upgrade = hyper::upgrade::on(&mut *request);
        let (head, connection) = describe(request, identity, carried, address);
        let connection = connection.in_group(AddressGroup::of(address));
        let connection = connection.expiring(claimed.map(|claimed| claimed.expires));
        let expected = self.check_user(&connection)?;
        let enter = async move {
            let _expected = expected;
            match upgrade.await {
                // A task of its own, so that what the upgrade took is given back.
                Ok(upgraded) => enter(upgraded, place, connection, head),
                Err(error) => debug!(%error, "client gone before the upgrade"),
            }
        };
        self.gateway.sessions.spawn(enter);
        Ok(switching(&accept, protocol, hook.cookies))
    }

    fn place(&self) -> Result<Admission<AppClient>, Refused> {
        if !self.gateway.budget.has_room() {
            let message = "all that may wait does (limits.buffered)";
            return Err(try_again(RefusalReason::Buffered, message));
        }
        let full = || {
            try_again(
                RefusalReason::Connections,
                "all connections are taken (limits.connections)",
            )
        };
        self.gateway.admit().ok_or_else(full)
    }

    fn check_rate(&self, address: IpAddr) -> Result<(), Refused> {
        if self.gateway.pace.allows(address, self.gateway.now_ms()) {
            return Ok(());
        }
        let message = "too many new connections at once (limits.connectRate)";
        Err(try_again(RefusalReason::ConnectRate, message))
    }

    /// Against pages of other sites, whose requests carry a user's cookies (RFC 6455 §10.2).
    fn check_origin<B>(&self, request: &Request<B>, trusted: bool) -> Result<(), Refused> {
        let allowed = &self.gateway.settings.routes.origins;
        let own = own_hosts(request, trusted);
        let is_allowed = |origin: &str| match allowed.as_slice() {
            [] => Origin::parse(origin)
                .is_some_and(|origin| own.iter().any(|host| origin.is_of(host))),
            patterns => patterns.iter().any(|pattern| pattern.covers(origin)),
        };
        let all = request.headers().get_all(header::ORIGIN).iter();
        let mut all = all.map(|origin| origin.to_str().unwrap_or_default());
        let Some(foreign) = all.find(|origin| !is_allowed(origin)) else {
            return Ok(());
        };
        if let Some(left_out) = self.foreign_origins.pass() {
            warn!(
                origin = foreign,
                host = own.first().copied().unwrap_or_default(),
                left_out,
                "a page of another site was refused; if it is yours, allow it in the setting origins"
            );
        }
        let message = if allowed.is_empty() {
            "this origin is not the host that is asked; the setting origins allows others"
        } else {
            "this origin is not allowed (origins)"
        };
        Err(Refused::new(
            RefusalReason::Origin,
            StatusCode::FORBIDDEN,
            message,
        ))
    }

    async fn verify<B>(&self, request: &mut Request<B>) -> Result<Option<Claimed>, Refused> {
        let Some(verifier) = &self.verifier else {
            return Ok(None);
        };
        let checked = verifier.user(request, &self.gateway.metrics).await;
        checked.map_err(|refusal| match refusal {
            Refusal::Unauthorized(why) => {
                let challenge = HeaderValue::from_static("Bearer");
                Refused::new(RefusalReason::Jwt, StatusCode::UNAUTHORIZED, &why)
                    .with_header(header::WWW_AUTHENTICATE, challenge)
            }
            Refusal::NoKeysYet => try_again(
                RefusalReason::JwtKeys,
                "the keys that tokens are checked with could not be fetched yet (identity.jwt.jwksUrl)",
            ),
        })
    }

    fn check_open(&self) -> Result<(), Refused> {
        if self.gateway.is_draining() {
            return Err(try_again(
                RefusalReason::Draining,
                "the gateway is shutting down",
            ));
        }
        Ok(())
    }

    /// Whether its user may have one more; who has no name is one of many.
    fn check_user(&self, connection: &Connection) -> Result<Expected, Refused> {
        let limits = &self.gateway.settings.limits;
        let user = connection.with_identity(|identity| Arc::clone(&identity.user));
        let nameless = user.is_empty();
        let limit = if nameless {
            limits.anonymous_places()
        } else {
            limits.places_per_user()
        };
        let expected = self.gateway.registry.expect(user, connection.id, limit);
        expected.ok_or_else(|| {
            if nameless {
                let message = "all connections for clients without a name are taken (limits.connectionsAnonymous)";
                return try_again(RefusalReason::ConnectionsAnonymous, message);
            }
            let message = "this user has too many connections (limits.connectionsPerUser)";
            let status = StatusCode::TOO_MANY_REQUESTS;
            Refused::new(RefusalReason::ConnectionsPerUser, status, message)
        })
    }
}

/// By which names, with ports, the client asked for us.
fn own_hosts<B>(request: &Request<B>, trusted: bool) -> Vec<&str> {
    let headers = request.headers();
    let host = match request.uri().authority() {
        Some(authority) => Some(authority.as_str()),
        None => headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok()),
    };
    let forwarded = headers.get_all("x-forwarded-host").iter();
    let forwarded = forwarded
        .filter(|_| trusted)
        .filter_map(|hosts| hosts.to_str().ok())
        .flat_map(|hosts| hosts.split(','));
    host.into_iter().chain(forwarded).collect()
}

fn enter(
    upgraded: Upgraded,
    place: Admission<AppClient>,
    connection: Connection,
    head: OpenRequest,
) {
    // Our server hands hyper nothing else, so this holds for every upgrade.
    let stream = upgraded.downcast::<RequestStream>().ok();
    let Some((stream, early)) = stream.and_then(|parts| parts.io.into_inner()) else {
        return;
    };
    // Fails only on a socket that is gone.
    let _ = set_socket_send_buffer_size(&stream, SEND_BUFFER);
    let _ = set_socket_recv_buffer_size(&stream, RECEIVE_BUFFER);
    Placed::begin(Session::new(place, connection, head, stream, &early));
}

/// RFC 6455 §4.2.1: what a client has to send; its key's answer.
pub fn handshake<B>(request: &Request<B>) -> Result<String, Refused> {
    let headers = request.headers();
    let upgrade = has_token(headers, &header::UPGRADE, "websocket")
        && has_token(headers, &header::CONNECTION, "upgrade");
    if request.method() != Method::GET || !upgrade || request.version() != Version::HTTP_11 {
        let message = "this path is a WebSocket; expected GET with Connection: Upgrade, Upgrade: websocket and Sec-WebSocket-Version: 13";
        return Err(Refused::new(
            RefusalReason::NoUpgrade,
            StatusCode::UPGRADE_REQUIRED,
            message,
        )
        .with_header(header::UPGRADE, HeaderValue::from_static("websocket"))
        .with_header(header::CONNECTION, HeaderValue::from_static("upgrade")));
    }
    if headers
        .get(header::SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        let message = "only WebSocket version 13 (RFC 6455) is spoken here";
        return Err(Refused::new(
            RefusalReason::Version,
            StatusCode::UPGRADE_REQUIRED,
            message,
        )
        .with_header(
            header::SEC_WEBSOCKET_VERSION,
            HeaderValue::from_static("13"),
        ));
    }
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    ws_codec::accept_key(key).ok_or_else(|| {
        Refused::new(
            RefusalReason::Key,
            StatusCode::BAD_REQUEST,
            "Sec-WebSocket-Key: expected 1 to 64 visible characters",
        )
    })
}

/// Whether a request asks to become a WebSocket, well or badly.
pub(crate) fn is_websocket(headers: &HeaderMap) -> bool {
    has_token(headers, &header::UPGRADE, "websocket")
}

fn has_token(headers: &HeaderMap, name: &header::HeaderName, wanted: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|token| token.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()))
}

/// RFC 6455 §4.1: a client fails the connection for one that it did not offer.
fn is_offered(headers: &HeaderMap, chosen: &HeaderValue) -> bool {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|offered| offered.trim_ascii() == chosen.as_bytes())
}

fn first_offered(headers: &HeaderMap) -> Option<HeaderValue> {
    let offered = headers.get(header::SEC_WEBSOCKET_PROTOCOL)?.as_bytes();
    let first = offered
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .find(|name| !name.is_empty())?;
    HeaderValue::from_bytes(first).ok()
}

/// Takes the headers out of the request: there are connections by the thousand.
fn describe<B>(
    request: &mut Request<B>,
    identity: Identity,
    carried: Arc<[u8]>,
    address: IpAddr,
) -> (OpenRequest, Connection) {
    let headers = std::mem::take(request.headers_mut());
    let text = |name| {
        headers
            .get(name)
            .map(|value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into())
    };
    let connection = Connection::new(
        ConnectionId::random(),
        identity,
        text(header::USER_AGENT),
        carried,
    );
    let head = OpenRequest {
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        headers,
        address,
    };
    (head, connection)
}

fn switching(accept: &str, protocol: Option<HeaderValue>, cookies: Vec<HeaderValue>) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::new()));
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = reply.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(protocol) = protocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    for cookie in cookies {
        headers.append(header::SET_COOKIE, cookie);
    }
    reply
}

pub(crate) fn try_again(label: RefusalReason, message: &str) -> Refused {
    Refused::new(label, StatusCode::SERVICE_UNAVAILABLE, message)
        .with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
}

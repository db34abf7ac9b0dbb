//! The body and headers of one callback.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;
use serde_json::Value as Json;

use super::Target;
use crate::connection::Connection;
use crate::identity::{ConnectionId, Identity};

/// What happened to a connection.
#[derive(Debug)]
pub enum EventKind {
    Open { request: Box<OpenRequest> },
    Message(ClientMessage),
    Close { code: u16, reason: Box<str> },
}

/// The upgrade request, as the app may want to see it on open.
#[derive(Debug)]
pub struct OpenRequest {
    pub path: String,
    pub query: String,
    pub headers: http::HeaderMap,
}

/// A client's message, as it arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientMessage {
    /// Text that is JSON, forwarded to the byte. `kind` is its type, where `types` asks for it.
    Json {
        raw: Box<str>,
        kind: Option<Box<str>>,
    },
    Text(Box<str>),
    Binary(Box<[u8]>),
}

/// The label `action` of metrics and the field `action` of bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Open,
    Message,
    Close,
}

/// One event with its number in its connection.
#[derive(Debug)]
pub struct Event {
    pub seq: u64,
    pub kind: EventKind,
}

/// An event, ready to be sent to one of the app's paths as often as it takes.
#[derive(Clone, Debug)]
pub struct Outgoing {
    uri: Uri,
    host: HeaderValue,
    id: HeaderValue,
    traceparent: HeaderValue,
    cookie: Option<HeaderValue>,
    pub body: Bytes,
}

impl EventKind {
    pub fn action(&self) -> Action {
        match self {
            Self::Open { .. } => Action::Open,
            Self::Message(_) => Action::Message,
            Self::Close { .. } => Action::Close,
        }
    }
}

impl Action {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Message => "message",
            Self::Close => "close",
        }
    }
}

impl ClientMessage {
    /// What it costs to keep it waiting.
    pub fn size(&self) -> usize {
        match self {
            Self::Json { raw, .. } | Self::Text(raw) => raw.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }
}

impl Event {
    pub fn outgoing(&self, target: &Target, connection: &Connection) -> Outgoing {
        let id = format!("{}/{}", connection.id, self.seq);
        let body = connection.with_identity(|identity| self.body(connection.id, identity));
        Outgoing::new(
            target,
            connection.id,
            &id,
            connection.cookie.as_deref().cloned(),
            body.into(),
        )
    }

    pub fn into_message_kind(self) -> Option<Box<str>> {
        match self.kind {
            EventKind::Message(ClientMessage::Json { kind, .. }) => kind,
            _ => None,
        }
    }

    /// The fields in the order of the Olares page, ours behind them.
    fn body(&self, id: ConnectionId, identity: &Identity) -> String {
        let mut body = String::with_capacity(200 + self.data_len());
        body.push_str("{\"data\":");
        let mut encoding = None;
        match &self.kind {
            EventKind::Open { .. } | EventKind::Close { .. } => body.push_str("{}"),
            EventKind::Message(ClientMessage::Json { raw, .. }) => body.push_str(raw),
            EventKind::Message(ClientMessage::Text(text)) => {
                push_json(&mut body, text);
                encoding = Some("text");
            }
            EventKind::Message(ClientMessage::Binary(bytes)) => {
                push_base64(&mut body, bytes);
                encoding = Some("base64");
            }
        }
        push_envelope(&mut body, self.kind.action(), id, identity);
        let _ = write!(body, ",\"seq\":{}", self.seq);
        if let Some(namespace) = &identity.namespace {
            body.push_str(",\"namespace\":");
            push_json(&mut body, namespace);
        }
        if let Some(encoding) = encoding {
            let _ = write!(body, ",\"encoding\":\"{encoding}\"");
        }
        match &self.kind {
            EventKind::Open { request } => {
                let _ = write!(body, ",\"request\":{}", request.to_json());
            }
            EventKind::Close { code, reason } => push_close(&mut body, *code, reason),
            EventKind::Message(_) => {}
        }
        body.push('}');
        body
    }

    fn data_len(&self) -> usize {
        match &self.kind {
            EventKind::Message(message) => message.size() * 4 / 3,
            _ => 0,
        }
    }
}

/// The close of a connection that an earlier run of the gateway left open.
pub fn recovered_close(target: &Target, id: ConnectionId, identity: &Identity) -> Outgoing {
    let mut body = String::from("{\"data\":{}");
    push_envelope(&mut body, Action::Close, id, identity);
    if let Some(namespace) = &identity.namespace {
        body.push_str(",\"namespace\":");
        push_json(&mut body, namespace);
    }
    push_close(&mut body, 1006, "gateway restarted");
    body.push('}');
    Outgoing::new(target, id, &format!("{id}/close"), None, body.into())
}

// === impl Outgoing ===

impl Outgoing {
    fn new(
        target: &Target,
        connection: ConnectionId,
        id: &str,
        cookie: Option<HeaderValue>,
        body: Bytes,
    ) -> Self {
        let header =
            |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
        // W3C Trace Context: one trace per connection, one span per event.
        let span = fastrand::u64(1..);
        let traceparent = format!("00-{:032x}-{span:016x}-01", connection.trace_id());
        Self {
            uri: target.uri.clone(),
            host: target.host.clone(),
            id: header(id),
            traceparent: header(&traceparent),
            cookie,
            body,
        }
    }

    /// The same event for another path of the app.
    #[must_use]
    pub fn to_uri(&self, uri: &Uri) -> Self {
        Self {
            uri: uri.clone(),
            ..self.clone()
        }
    }

    pub fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(header::HOST, self.host.clone());
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        headers.insert(EVENT_ID, self.id.clone());
        headers.insert(TRACEPARENT, self.traceparent.clone());
        if let Some(cookie) = &self.cookie {
            headers.insert(header::COOKIE, cookie.clone());
        }
        request
    }
}

const EVENT_ID: HeaderName = HeaderName::from_static("x-ws-event-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const USER_AGENT: &str = concat!("ws-gateway/", env!("CARGO_PKG_VERSION"));

// === impl OpenRequest ===

impl OpenRequest {
    /// Header names in lower case; several values of one name are joined as RFC 9110 §5.3 says.
    fn to_json(&self) -> Json {
        let mut headers = serde_json::Map::new();
        for name in self.headers.keys() {
            let values: Vec<_> = self
                .headers
                .get_all(name)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()))
                .collect();
            headers.insert(name.as_str().to_owned(), values.join(", ").into());
        }
        serde_json::json!({"path": self.path, "query": self.query, "headers": headers})
    }
}

// === pieces of a body ===

fn push_envelope(body: &mut String, action: Action, id: ConnectionId, identity: &Identity) {
    let _ = write!(body, ",\"action\":\"{}\",\"user_name\":", action.as_str());
    push_json(body, &identity.user);
    let _ = write!(body, ",\"conn_id\":\"{id}\",\"token\":");
    push_json(body, &identity.token.expose());
    let _ = write!(body, ",\"access_public\":{}", identity.token.is_public());
}

fn push_close(body: &mut String, code: u16, reason: &str) {
    let _ = write!(body, ",\"code\":{code},\"reason\":");
    push_json(body, reason);
}

fn push_json(body: &mut String, text: &str) {
    let plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        body.push('"');
        body.push_str(text);
        body.push('"');
    } else {
        body.push_str(&Json::from(text).to_string());
    }
}

fn push_base64(body: &mut String, bytes: &[u8]) {
    use base64::Engine as _;
    body.push('"');
    base64::engine::general_purpose::STANDARD.encode_string(bytes, body);
    body.push('"');
}

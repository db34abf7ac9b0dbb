//! The body and headers of one callback.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;

use bytes::Bytes;

use super::Target;
use crate::client_address::AddressGroup;
use crate::connection::Connection;
use crate::identity::{ConnectionId, Identity};
use crate::journal::Orphan;
use crate::latin1;

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
    /// The client's, as far as trusted proxies name it.
    pub address: IpAddr,
}

/// A client's message, as it arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientMessage {
    /// Text that is JSON, forwarded to the byte. `kinds` are the texts that `types` may match, if there are any.
    Json {
        raw: Box<str>,
        kinds: Box<[Box<str>]>,
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

/// An event as the bytes of a request, to be sent as often as it takes.
#[derive(Clone, Debug)]
pub struct Outgoing {
    action: Action,
    /// Of which address it is.
    pub(super) group: AddressGroup,
    /// The request line and what is the same for all events.
    start: Bytes,
    /// The headers of this event, and the blank line.
    headers: Bytes,
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
    pub fn size(&self) -> usize {
        match self {
            Self::Json { raw, .. } | Self::Text(raw) => raw.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// How long it is in a callback's body: never less than [`Self::size`].
    pub fn written_size(&self) -> usize {
        match self {
            Self::Json { raw, .. } => raw.len(),
            Self::Text(text) => escaped_size(text),
            Self::Binary(bytes) => bytes.len().div_ceil(3) * 4 + 2,
        }
    }
}

impl Event {
    pub fn outgoing(&self, target: &Target, connection: &Connection) -> Outgoing {
        let body = connection.with_identity(|identity| self.body(connection.id, identity));
        let (action, seq) = (self.kind.action(), self.seq);
        let carried = &connection.carried;
        Outgoing {
            group: connection.address_group(),
            ..Outgoing::new(target, connection.id, (action, seq), carried, body)
        }
    }

    pub fn into_message_kinds(self) -> Box<[Box<str>]> {
        match self.kind {
            EventKind::Message(ClientMessage::Json { kinds, .. }) => kinds,
            _ => Box::default(),
        }
    }

    /// The fields in the order of the Olares page, ours behind them.
    fn body(&self, id: ConnectionId, identity: &Identity) -> String {
        let mut body = String::with_capacity(256 + self.data_len());
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
        let token = (&*identity.token.expose(), identity.token.is_public());
        push_envelope(&mut body, self.kind.action(), id, &identity.user, token);
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
                body.push_str(",\"request\":");
                request.push_to(&mut body);
            }
            EventKind::Close { code, reason } => push_close(&mut body, *code, reason),
            EventKind::Message(_) => {}
        }
        body.push('}');
        body
    }

    fn data_len(&self) -> usize {
        match &self.kind {
            EventKind::Message(message) => message.written_size(),
            EventKind::Open { request } => request.size(),
            EventKind::Close { .. } => 0,
        }
    }
}

/// The close of a connection that an earlier run of the gateway left open.
/// The journal does not hold its token.
pub fn recovered_close(target: &Target, orphan: &Orphan) -> Outgoing {
    let mut body = String::from("{\"data\":{}");
    let (id, token) = (orphan.id, ("", orphan.public));
    push_envelope(&mut body, Action::Close, id, &orphan.user, token);
    if let Some(namespace) = &orphan.namespace {
        body.push_str(",\"namespace\":");
        push_json(&mut body, namespace);
    }
    push_close(&mut body, 1006, "gateway restarted");
    body.push('}');
    Outgoing::new(target, id, (Action::Close, 0), b"", body)
}

// === impl Outgoing ===

const EVENT_ID: &str = "X-Ws-Event-Id: ";

impl Outgoing {
    /// An end has no number in its id: whoever tells it, now or after a restart, it is the same.
    fn new(
        target: &Target,
        connection: ConnectionId,
        (action, seq): (Action, u64),
        carried: &[u8],
        body: String,
    ) -> Self {
        let mut headers = Vec::with_capacity(128 + carried.len());
        // Writing to a vector does not fail.
        let _ = match action {
            Action::Close => write!(headers, "{EVENT_ID}{connection}/close\r\n"),
            Action::Open | Action::Message => write!(headers, "{EVENT_ID}{connection}/{seq}\r\n"),
        };
        headers.extend_from_slice(carried);
        let _ = write!(headers, "Content-Length: {}\r\n\r\n", body.len());
        Self {
            action,
            group: AddressGroup::default(),
            start: target.start.clone(),
            headers: headers.into(),
            body: body.into(),
        }
    }

    pub(super) fn action(&self) -> Action {
        self.action
    }

    /// The same event for another path of the app.
    #[must_use]
    pub fn to_path(&self, start: &Bytes) -> Self {
        Self {
            start: start.clone(),
            ..self.clone()
        }
    }

    /// How its request begins.
    pub(super) fn start(&self) -> &Bytes {
        &self.start
    }

    /// What is kept of it until it is told: the rest is the same for all events.
    pub fn size(&self) -> usize {
        self.headers.len() + self.body.len()
    }

    /// What the app knows the event by.
    pub fn id(&self) -> &str {
        let line = self.headers.split(|byte| *byte == b'\r').next();
        let id = line.and_then(|line| line.get(EVENT_ID.len()..));
        std::str::from_utf8(id.unwrap_or_default()).unwrap_or_default()
    }

    /// What goes over the wire, in order, with the headers of this attempt.
    pub fn parts<'a>(&'a self, attempt: &'a [u8]) -> [&'a [u8]; 4] {
        [&self.start, attempt, &self.headers, &self.body]
    }
}

// === impl OpenRequest ===

impl OpenRequest {
    /// What it costs to keep it waiting, as it is or as a callback's body.
    pub fn size(&self) -> usize {
        // An entry of the map.
        const HEADER: usize = 96;
        // Behind its name.
        const ADDRESS: usize = 64;
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| {
            // A byte that is not UTF-8 becomes three.
            let value = value.as_bytes();
            let odd = value
                .iter()
                .filter(|byte| !is_plain(**byte) || !byte.is_ascii());
            name.as_str().len() + value.len() + 2 * odd.count() + HEADER
        });
        escaped_size(&self.path) + escaped_size(&self.query) + headers.sum::<usize>() + ADDRESS
    }

    /// Header names in lower case; several values of one name are joined as RFC 9110 §5.3 says.
    fn push_to(&self, body: &mut String) {
        body.push_str("{\"path\":");
        push_json(body, &self.path);
        body.push_str(",\"query\":");
        push_json(body, &self.query);
        body.push_str(",\"headers\":{");
        for (index, name) in self.headers.keys().enumerate() {
            if index > 0 {
                body.push(',');
            }
            push_json(body, name.as_str());
            body.push(':');
            let values = self.headers.get_all(name).iter();
            let mut values = values.map(|value| latin1::text(value.as_bytes()));
            let mut all = values.next().unwrap_or_default();
            for next in values {
                all += ", ";
                all += next;
            }
            push_json(body, &all);
        }
        // Digits, letters, dots and colons: nothing to escape.
        let _ = write!(body, "}},\"address\":\"{}\"}}", self.address);
    }
}

// === pieces of a body ===

fn push_envelope(
    body: &mut String,
    action: Action,
    id: ConnectionId,
    user: &str,
    (token, public): (&str, bool),
) {
    let _ = write!(body, ",\"action\":\"{}\",\"user_name\":", action.as_str());
    push_json(body, user);
    let _ = write!(body, ",\"conn_id\":\"{id}\",\"token\":");
    push_json(body, token);
    let _ = write!(body, ",\"access_public\":{public}");
}

fn push_close(body: &mut String, code: u16, reason: &str) {
    let _ = write!(body, ",\"code\":{code},\"reason\":");
    push_json(body, reason);
}

fn push_json(body: &mut String, text: &str) {
    if text.bytes().all(is_plain) {
        body.push('"');
        body.push_str(text);
        body.push('"');
    } else {
        body.reserve(escaped_size(text));
        // In place, as it may be six times as long; writing to a string does not fail.
        let _ = serde_json::to_writer(Pieces(body), text);
    }
}

/// A byte that stands in a JSON string as it is.
fn is_plain(byte: u8) -> bool {
    byte >= 0x20 && byte != b'"' && byte != b'\\'
}

/// How long a text is as a JSON string.
fn escaped_size(text: &str) -> usize {
    let size = |byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0C => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(size).sum::<usize>() + 2
}

/// Takes what `serde_json` writes: each piece is whole characters.
struct Pieces<'a>(&'a mut String);

impl std::io::Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let piece = std::str::from_utf8(bytes).map_err(std::io::Error::other)?;
        self.0.push_str(piece);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn push_base64(body: &mut String, bytes: &[u8]) {
    use base64::Engine as _;
    body.push('"');
    base64::engine::general_purpose::STANDARD.encode_string(bytes, body);
    body.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_charged_is_what_is_written() {
        let every: String = (0..0x300).filter_map(char::from_u32).collect();
        let texts = [
            "",
            "plain",
            "\u{1}\u{8}\t\n\u{c}\r\u{1f}\u{7f}",
            "a\"b\\c",
            &every,
        ];
        for text in texts {
            let mut body = String::new();
            push_json(&mut body, text);
            assert_eq!(body, serde_json::to_string(text).unwrap());
            assert_eq!(ClientMessage::Text(text.into()).written_size(), body.len());
            let mut body = String::new();
            push_base64(&mut body, text.as_bytes());
            let binary = ClientMessage::Binary(text.as_bytes().into());
            assert_eq!(binary.written_size(), body.len());
        }
    }

    #[test]
    fn an_open_request_takes_no_more_than_it_is_charged() {
        let mut headers = http::HeaderMap::new();
        let odd = http::HeaderValue::from_bytes(&[0xFF, b'"', b'\\', b'\t'].repeat(50)).unwrap();
        headers.insert("x-odd", odd);
        headers.insert("x-plain", http::HeaderValue::from_static("a"));
        let request = OpenRequest {
            path: "/ws".to_owned(),
            query: "a=%01".to_owned(),
            headers,
            address: std::net::Ipv6Addr::from([0xFF; 16]).into(),
        };
        let mut body = String::new();
        request.push_to(&mut body);
        assert!(
            body.len() <= request.size(),
            "{} {}",
            body.len(),
            request.size()
        );
    }
}

//! How to talk to a server: its addresses and its dialect.

use std::net::{Ipv4Addr, SocketAddrV4};

use memchr::memmem;

use crate::engine::{Action, Callback};
use crate::wire::{frame, http};

#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub clients: SocketAddrV4,
    pub path: String,
    pub admin: SocketAddrV4,
    pub dialect: Dialect,
}

/// What the app answers, where the server looks at it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer<'a> {
    Plain,
    Welcome,
    Reply(&'a [u8]),
}

/// How callbacks and admin calls are spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// The gateway's, spoken by every server written for this comparison.
    Gateway,
    /// WebSocket-over-HTTP: the reply is in the answer.
    Pushpin,
    Nchan,
    /// No WebSockets: pages of an app behind a proxy.
    Web,
}

/// What a page weighs.
const PAGE: [u8; 1_024] = [b'x'; 1_024];

impl Default for Target {
    fn default() -> Self {
        Self::local(0, "/ws", 0, Dialect::Gateway)
    }
}

impl Target {
    pub(crate) fn local(clients: u16, path: &str, admin: u16, dialect: Dialect) -> Self {
        let at = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        Self {
            clients: at(clients),
            path: path.to_owned(),
            admin: at(admin),
            dialect,
        }
    }

    /// A browser's request of a page.
    pub(crate) fn get() -> Vec<u8> {
        b"GET /page?of=the-app HTTP/1.1\r\nHost: app.example.org\r\n\
            User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
            Accept: text/html,application/xhtml+xml\r\nAccept-Language: en-US,en;q=0.5\r\n\
            Cookie: auth_token=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1c2VyIn0\r\nX-BFL-USER: user\r\n\r\n"
            .to_vec()
    }

    /// What a browser behind the edge sends, with the identity headers of a signed-in user.
    pub(crate) fn upgrade_request(&self, client: usize) -> Vec<u8> {
        let extensions = if self.dialect == Dialect::Pushpin {
            "Sec-WebSocket-Extensions: grip\r\n"
        } else {
            ""
        };
        format!(
            "GET {path} HTTP/1.1\r\nHost: app.example.org\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extensions}\
             User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
             Origin: https://app.example.org\r\nAccept-Language: en-US,en;q=0.5\r\n\
             X-BFL-USER: user{user}\r\n\
             Cookie: auth_token=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1c2VyIn0.{client:08}-{client:032}\r\n\r\n",
            path = self.path,
            user = client / 4,
        )
        .into_bytes()
    }
}

impl Dialect {
    pub(crate) fn callback<'a>(self, head: &'a [u8], body: &'a [u8]) -> Option<Callback<'a>> {
        match self {
            Self::Gateway => gateway_callback(body),
            Self::Pushpin => pushpin_callback(head, body),
            Self::Nchan | Self::Web => None,
        }
    }

    pub(crate) fn answer(self, answer: Answer<'_>) -> Vec<u8> {
        const GRIP: &str = "application/websocket-events\r\n\
            Sec-WebSocket-Extensions: grip; message-prefix=\"\"";
        const SUBSCRIBE: &[u8] = br#"c:{"type":"subscribe","channel":"all"}"#;
        match (self, answer) {
            (Self::Web, _) => http::ok("text/html", &PAGE),
            (Self::Gateway | Self::Nchan, _) => http::ok("application/json", b"{\"code\":0}"),
            (Self::Pushpin, Answer::Plain) => http::ok(GRIP, b""),
            (Self::Pushpin, Answer::Welcome) => http::ok(
                GRIP,
                &[b"OPEN\r\n", events("TEXT", SUBSCRIBE).as_slice()].concat(),
            ),
            (Self::Pushpin, Answer::Reply(reply)) => http::ok(GRIP, &events("TEXT", reply)),
        }
    }

    /// Whether a reply is part of the answer to a callback.
    pub(crate) fn replies_inline(self) -> bool {
        self == Self::Pushpin
    }

    pub(crate) fn send_to(connection: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut body = Vec::with_capacity(64 + connection.len() + payload.len());
        body.extend_from_slice(b"{\"payload\":");
        body.extend_from_slice(payload);
        body.extend_from_slice(b",\"conn_id\":\"");
        body.extend_from_slice(connection);
        body.extend_from_slice(b"\"}");
        http::post("/tapr/ws/conn/send", &body)
    }

    pub(crate) fn send_to_all(self, payload: &[u8]) -> Vec<u8> {
        match self {
            Self::Gateway | Self::Web => {
                let body = [b"{\"all\":true,\"payload\":", payload, b"}"].concat();
                http::post("/tapr/ws/conn/send", &body)
            }
            Self::Pushpin => {
                let content =
                    serde_json::Value::from(String::from_utf8_lossy(payload).into_owned());
                let body = format!(
                    r#"{{"items":[{{"channel":"all","formats":{{"ws-message":{{"content":{content}}}}}}}]}}"#
                );
                http::post("/publish/", body.as_bytes())
            }
            Self::Nchan => http::post("/pub", payload),
        }
    }
}

fn gateway_callback(body: &[u8]) -> Option<Callback<'_>> {
    let after = |name: &[u8]| Some(&body[memmem::find(body, name)? + name.len()..]);
    let until = |bytes: &'_ [u8], end: u8| memchr::memchr(end, bytes);
    let action = after(b"\"action\":\"")?;
    let action = match action.first()? {
        b'o' => Action::Open,
        b'm' => Action::Message,
        _ => Action::Close,
    };
    let connection = after(b"\"conn_id\":\"")?;
    let connection = &connection[..until(connection, b'"')?];
    // The loads' messages are objects without objects in them.
    let data = after(b"\"data\":")?;
    let data = &data[..=until(data, b'}')?];
    Some(Callback {
        action,
        connection,
        data,
    })
}

fn pushpin_callback<'a>(head: &'a [u8], body: &'a [u8]) -> Option<Callback<'a>> {
    let connection = http::header(head, b"connection-id")?;
    let line = memmem::find(body, b"\r\n")?;
    let action = match body.first()? {
        b'O' => Action::Open,
        b'T' => Action::Message,
        _ => Action::Close,
    };
    let data = if action == Action::Message {
        body.get(line + 2..body.len() - 2)?
    } else {
        b""
    };
    Some(Callback {
        action,
        connection,
        data,
    })
}

fn events(kind: &str, content: &[u8]) -> Vec<u8> {
    let mut events = format!("{kind} {:x}\r\n", content.len()).into_bytes();
    events.extend_from_slice(content);
    events.extend_from_slice(b"\r\n");
    events
}

/// A text message, framed.
pub(crate) fn text(payload: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + 14);
    frame::encode(frame::TEXT, payload.as_bytes(), &mut bytes);
    bytes
}

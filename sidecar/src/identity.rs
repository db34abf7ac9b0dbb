//! Who a client is, and the id of its connection.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use uuid::{NoContext, Timestamp, Uuid};

/// Opaque to apps; unguessable, so that knowing one's own says nothing about another's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(Uuid);

/// Under which name, namespace and token a connection is filed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `""` for a client that nobody named.
    pub user: Arc<str>,
    pub namespace: Option<Arc<str>>,
    pub token: Token,
}

/// The `auth_token` cookie, or a random one for a client that has none. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Token {
    Private(Part),
    Public(Uuid),
}

/// A piece of the headers that every connection keeps anyway.
#[derive(Clone)]
pub struct Part {
    whole: Arc<[u8]>,
    start: u32,
    length: u32,
}

// === impl ConnectionId ===

impl ConnectionId {
    /// Below every other.
    pub(crate) const MIN: Self = Self(Uuid::nil());

    /// Begins with the time (RFC 9562 §5.7): the registry then holds connections in the order in
    /// which they came, and a fan-out walks over memory in the order in which it was taken. 74
    /// bits are random.
    pub fn random() -> Self {
        Self(Uuid::new_v7(Timestamp::now(NoContext)))
    }

    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }

    /// When it was made, to the millisecond.
    pub(crate) fn since_1970(self) -> Duration {
        let made = self.0.get_timestamp().map(|made| made.to_unix());
        let (seconds, nanos) = made.unwrap_or_default();
        Duration::new(seconds, nanos)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl Token ===

impl Token {
    pub fn random() -> Self {
        Self::Public(Uuid::new_v4())
    }

    /// `access_public` of the callbacks: whether the client came without a token of its own.
    pub fn is_public(&self) -> bool {
        matches!(self, Self::Public(_))
    }

    pub fn equals(&self, text: &str) -> bool {
        match self {
            Self::Private(token) => token.as_bytes() == text.as_bytes(),
            Self::Public(token) => Uuid::try_parse(text).is_ok_and(|uuid| uuid == *token),
        }
    }

    /// The token itself, for a callback's body.
    pub fn expose(&self) -> String {
        match self {
            Self::Private(token) => String::from_utf8_lossy(token.as_bytes()).into_owned(),
            Self::Public(token) => token.to_string(),
        }
    }
}

// === impl Part ===

impl Part {
    /// `None`: there is no such piece.
    pub fn new(whole: &Arc<[u8]>, range: Range<usize>) -> Option<Self> {
        whole.get(range.clone())?;
        Some(Self {
            whole: Arc::clone(whole),
            start: u32::try_from(range.start).ok()?,
            length: u32::try_from(range.len()).ok()?,
        })
    }

    fn as_bytes(&self) -> &[u8] {
        let start = self.start as usize;
        &self.whole[start..start + self.length as usize]
    }
}

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Part {}

impl From<&str> for Part {
    fn from(text: &str) -> Self {
        Self {
            whole: text.as_bytes().into(),
            start: 0,
            length: u32::try_from(text.len()).unwrap_or(u32::MAX),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_public() {
            "Token(public)"
        } else {
            "Token(private)"
        })
    }
}

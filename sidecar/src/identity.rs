//! Who a client is, and the id of its connection.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

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
    Private(Arc<str>),
    Public(Uuid),
}

// === impl ConnectionId ===

impl ConnectionId {
    /// Below every other.
    pub(crate) const MIN: Self = Self(Uuid::nil());

    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }

    /// The id as a W3C trace id: 32 hex digits.
    pub fn trace_id(self) -> u128 {
        self.0.as_u128()
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
            Self::Private(token) => **token == *text,
            Self::Public(token) => Uuid::try_parse(text).is_ok_and(|uuid| uuid == *token),
        }
    }

    /// The token itself, for a callback's body or the journal.
    pub fn expose(&self) -> String {
        match self {
            Self::Private(token) => token.to_string(),
            Self::Public(token) => token.to_string(),
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

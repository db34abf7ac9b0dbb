//! Which connections an admin call or an answer means. A selector is never empty: "nobody
//! named" is an error where it is written, not "everybody" where it is used.

use crate::connection::Connection;
use crate::identity::{ConnectionId, Identity};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    base: Base,
    access: Access,
    namespace: Option<String>,
    except: Vec<ConnectionId>,
}

/// What is written in a request, before it is known to select anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Criteria {
    pub all: bool,
    /// `Some` even where no id could be parsed: an unknown id selects nothing, not everything.
    pub conns: Option<Vec<ConnectionId>>,
    pub users: Option<Vec<String>>,
    pub tokens: Option<Vec<String>>,
    pub namespace: Option<String>,
    pub access: Access,
    pub except: Vec<ConnectionId>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    #[default]
    Any,
    Private,
    Public,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Base {
    conns: Option<Vec<ConnectionId>>,
    users: Option<Vec<String>>,
    tokens: Option<Vec<String>>,
}

/// Where the registry starts looking, smallest first.
pub enum Start<'a> {
    Conns(&'a [ConnectionId]),
    Users(&'a [String]),
    All,
}

impl Criteria {
    /// Whether nothing but a namespace selects. `all` selects nobody by itself.
    pub fn rest_on_namespace(&self) -> bool {
        let named = self.conns.is_some() || self.users.is_some() || self.tokens.is_some();
        self.namespace.is_some() && !named
    }
}

impl Selector {
    /// What was named turned out to be empty.
    pub fn nobody() -> Self {
        Self {
            base: Base {
                conns: Some(Vec::new()),
                users: None,
                tokens: None,
            },
            access: Access::Any,
            namespace: None,
            except: Vec::new(),
        }
    }

    /// Whether nobody can match, whoever is there.
    pub fn is_nobody(&self) -> bool {
        let Base {
            conns,
            users,
            tokens,
        } = &self.base;
        let is_empty = |list: &Option<Vec<String>>| list.as_ref().is_some_and(Vec::is_empty);
        conns.as_ref().is_some_and(Vec::is_empty)
            || is_empty(users)
            || is_empty(tokens)
            || self.namespace.as_deref() == Some("")
    }

    /// `None`: the criteria name nobody. `users_access_type` alone names nobody either, it only
    /// narrows.
    pub fn new(criteria: Criteria) -> Option<Self> {
        let Criteria {
            all,
            conns,
            users,
            tokens,
            namespace,
            access,
            except,
        } = criteria;
        let named =
            all || conns.is_some() || users.is_some() || tokens.is_some() || namespace.is_some();
        named.then_some(Self {
            base: Base {
                conns,
                users,
                tokens,
            },
            access,
            namespace,
            except,
        })
    }

    pub fn start(&self) -> Start<'_> {
        match &self.base {
            Base {
                conns: Some(conns), ..
            } => Start::Conns(conns),
            Base {
                users: Some(users), ..
            } => Start::Users(users),
            _ => Start::All,
        }
    }

    /// Whether everyone is meant: then nobody has to be asked.
    pub fn is_everyone(&self) -> bool {
        let Base {
            conns,
            users,
            tokens,
        } = &self.base;
        conns.is_none()
            && users.is_none()
            && tokens.is_none()
            && self.access == Access::Any
            && self.namespace.is_none()
            && self.except.is_empty()
    }

    pub fn matches(&self, connection: &Connection) -> bool {
        if self.is_everyone() {
            return true;
        }
        let Base { conns, .. } = &self.base;
        conns
            .as_ref()
            .is_none_or(|conns| conns.contains(&connection.id))
            && !self.except.contains(&connection.id)
            && connection.with_identity(|identity| self.matches_identity(identity))
    }

    fn matches_identity(&self, identity: &Identity) -> bool {
        let Base { users, tokens, .. } = &self.base;
        users
            .as_ref()
            .is_none_or(|users| users.iter().any(|user| **user == *identity.user))
            && tokens
                .as_ref()
                .is_none_or(|tokens| tokens.iter().any(|token| identity.token.equals(token)))
            && self
                .namespace
                .as_ref()
                .is_none_or(|wanted| identity.namespace.as_deref() == Some(wanted))
            && match self.access {
                Access::Any => true,
                Access::Private => !identity.token.is_public(),
                Access::Public => identity.token.is_public(),
            }
    }
}

//! `list`: who is connected, by user. `?user=`, `?namespace=`, `?limit=` (connections on a page)
//! and `?continue=` (from the answer before) are optional.

use std::collections::BTreeMap;
use std::sync::Arc;

use md5::{Digest as _, Md5};
use serde_json::{Value as Json, json};

use super::Refusal;
use crate::callback::Transport;
use crate::connection::Connection;
use crate::gateway::Gateway;
use crate::identity::ConnectionId;

#[derive(Default)]
struct Query {
    user: Option<String>,
    namespace: Option<String>,
    limit: Option<usize>,
    after: Option<ConnectionId>,
}

#[derive(Default)]
struct User {
    conns: Vec<Json>,
    public: Vec<Json>,
}

/// The users, and where the next page begins.
pub(super) fn serve<T: Transport>(
    gateway: &Arc<Gateway<T>>,
    query: &str,
) -> Result<(Vec<Json>, Option<String>), Refusal> {
    let query = Query::parse(query)?;
    let page = query.limit.unwrap_or(usize::MAX);
    let mut users: BTreeMap<Arc<str>, User> = BTreeMap::new();
    let (mut after, mut taken, mut last, mut next) = (query.after, 0, query.after, None);
    loop {
        // In pieces, so that a long list holds up nobody who connects meanwhile.
        after = gateway.registry.walk(after, 1024, |connection| {
            if taken < page && query.matches(connection) {
                add(&mut users, connection);
                taken += 1;
                last = Some(connection.id);
            } else if taken == page && next.is_none() && query.matches(connection) {
                next = last;
            }
        });
        if after.is_none() || next.is_some() {
            break;
        }
    }
    let data = users
        .into_iter()
        .map(|(name, user)| user.to_json(&name))
        .collect();
    Ok((data, next.map(|id| id.to_string())))
}

fn add(users: &mut BTreeMap<Arc<str>, User>, connection: &Connection) {
    let (name, namespace, public, token) = connection.with_identity(|identity| {
        (
            Arc::clone(&identity.user),
            identity.namespace.clone(),
            identity.token.is_public(),
            identity.token.expose(),
        )
    });
    let agent = connection.user_agent.as_deref().unwrap_or_default();
    let mut entry = json!({
        "id": connection.id.to_string(),
        "token": token,
        "userAgent": agent,
        "userAgentTag": tag(agent),
        "access_public": public,
        "opened_at": humantime::format_rfc3339_millis(connection.opened_at()).to_string(),
    });
    if let Some(namespace) = namespace {
        entry["namespace"] = Json::from(&*namespace);
    }
    let user = users.entry(name).or_default();
    if public {
        user.public.push(entry.clone());
    }
    user.conns.push(entry);
}

/// As the original has it, whose apps tell browsers apart by it.
fn tag(agent: &str) -> String {
    if agent.is_empty() {
        return String::new();
    }
    format!("{:x}", Md5::digest(agent))
}

impl User {
    fn to_json(&self, name: &str) -> Json {
        json!({
            "name": name,
            "conns": self.conns,
            "conns_number": self.conns.len(),
            "public_conns": self.public,
            "public_conns_number": self.public.len(),
        })
    }
}

impl Query {
    fn parse(query: &str) -> Result<Self, Refusal> {
        let mut parsed = Self::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "user" => parsed.user = Some(value.into_owned()),
                "namespace" => parsed.namespace = Some(value.into_owned()),
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| *limit > 0);
                    let wrong = || Refusal::bad("limit: expected a whole number, 1 or more");
                    parsed.limit = Some(limit.ok_or_else(wrong)?);
                }
                "continue" => {
                    let wrong =
                        || Refusal::bad("continue: expected the value from the answer before");
                    parsed.after = Some(ConnectionId::parse(&value).ok_or_else(wrong)?);
                }
                _ => {}
            }
        }
        Ok(parsed)
    }

    fn matches(&self, connection: &Connection) -> bool {
        connection.with_identity(|identity| {
            self.user
                .as_ref()
                .is_none_or(|user| **user == *identity.user)
                && self
                    .namespace
                    .as_ref()
                    .is_none_or(|wanted| identity.namespace.as_deref() == Some(wanted))
        })
    }
}

//! All open connections, found by id and by user. Never awaits: every call is a look-up under
//! one lock, and whatever takes time is done with what it returns.
//!
//! The one place behind which connections of other gateways could stand.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::connection::Connection;
use crate::identity::ConnectionId;
use crate::selector::{Selector, Start};

#[derive(Debug, Default)]
pub struct Registry {
    index: Mutex<Index>,
}

/// Ordered: a walk over everyone can stop and go on without holding the lock, and an entry costs
/// less than in a hash table.
#[derive(Debug, Default)]
struct Index {
    by_id: BTreeSet<ById>,
    by_user: BTreeSet<(Arc<str>, ConnectionId)>,
    /// How many of those have no name: they may be many.
    nameless: usize,
    /// Those whose token ends, the first to end first.
    by_end: BTreeSet<(u32, ConnectionId)>,
}

/// A connection as its own key: what is in it is not kept twice.
#[derive(Debug)]
struct ById(Arc<Connection>);

/// A connection that is being let in: it counts, but nobody finds it before it is registered.
#[derive(Debug)]
pub struct Expected {
    registry: Arc<Registry>,
    entry: (Arc<str>, ConnectionId),
}

impl Registry {
    /// Counts a connection from now on, if its user has fewer than `limit`.
    pub fn expect(
        self: &Arc<Self>,
        user: Arc<str>,
        id: ConnectionId,
        limit: usize,
    ) -> Option<Expected> {
        let mut index = self.lock();
        if limit < usize::MAX && index.count(&user, limit) >= limit {
            return None;
        }
        let entry = (user, id);
        index.file(entry.clone());
        drop(index);
        Some(Expected {
            registry: Arc::clone(self),
            entry,
        })
    }

    pub fn insert(&self, connection: Arc<Connection>) {
        let id = connection.id;
        let user = connection.with_identity(|identity| Arc::clone(&identity.user));
        let end = connection.expires();
        let mut index = self.lock();
        index.file((user, id));
        index.by_end.extend(end.map(|end| (end, id)));
        index.by_id.insert(ById(connection));
    }

    pub fn len(&self) -> usize {
        self.lock().by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many connections a user has.
    pub fn count(&self, user: &str) -> usize {
        self.lock().count(user, usize::MAX)
    }

    pub fn select(&self, selector: &Selector) -> Vec<Arc<Connection>> {
        let index = self.lock();
        let matching =
            |ById(connection): &ById| selector.matches(connection).then(|| Arc::clone(connection));
        match selector.start() {
            Start::Conns(ids) => {
                let ids: BTreeSet<_> = ids.iter().collect();
                ids.into_iter()
                    .filter_map(|id| index.by_id.get(id))
                    .filter_map(matching)
                    .collect()
            }
            Start::Users(users) => {
                let users: BTreeSet<_> = users.iter().collect();
                users
                    .into_iter()
                    .flat_map(|user| index.ids_of(user))
                    .filter_map(|id| index.by_id.get(&id))
                    .filter_map(matching)
                    .collect()
            }
            Start::All => index.by_id.iter().filter_map(matching).collect(),
        }
    }

    /// Looks at up to `count` connections behind `after`, in a fixed order. The last id seen, to
    /// go on from; `None` at the end.
    pub fn walk(
        &self,
        after: Option<ConnectionId>,
        count: usize,
        mut look: impl FnMut(&Arc<Connection>),
    ) -> Option<ConnectionId> {
        let index = self.lock();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut last = None;
        let mut seen = 0;
        for ById(connection) in index.by_id.range((from, Bound::Unbounded)).take(count) {
            look(connection);
            last = Some(connection.id);
            seen += 1;
        }
        if seen < count { None } else { last }
    }

    /// From now on nobody finds it.
    pub fn remove(&self, id: ConnectionId) {
        let mut index = self.lock();
        if let Some(ById(connection)) = index.by_id.take(&id) {
            let user = connection.with_identity(|identity| Arc::clone(&identity.user));
            index.unfile(&(user, id));
            if let Some(end) = connection.expires() {
                index.by_end.remove(&(end, id));
            }
        }
    }

    /// Takes out of the order of ends up to `count` connections whose token ended before `now`, in
    /// seconds since 1970.
    pub(crate) fn take_expired(&self, now: u32, count: usize) -> Vec<Arc<Connection>> {
        let mut index = self.lock();
        let mut expired = Vec::new();
        while expired.len() < count
            && let Some((_, id)) = index.by_end.first().copied().filter(|(end, _)| *end < now)
        {
            index.by_end.pop_first();
            expired.extend(index.by_id.get(&id).map(|ById(found)| Arc::clone(found)));
        }
        expired
    }

    /// Files a connection under another name and namespace.
    pub fn refile(&self, id: ConnectionId, user: Option<&str>, namespace: Option<&str>) {
        let mut index = self.lock();
        let Some(ById(connection)) = index.by_id.get(&id) else {
            return;
        };
        let name = || connection.with_identity(|identity| Arc::clone(&identity.user));
        let before = name();
        connection.rename(user, namespace);
        let after = name();
        index.unfile(&(before, id));
        index.file((after, id));
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn file(&mut self, entry: (Arc<str>, ConnectionId)) {
        let nameless = entry.0.is_empty();
        if self.by_user.insert(entry) && nameless {
            self.nameless += 1;
        }
    }

    fn unfile(&mut self, entry: &(Arc<str>, ConnectionId)) {
        if self.by_user.remove(entry) && entry.0.is_empty() {
            self.nameless -= 1;
        }
    }

    /// How many connections a user has, counted up to so many.
    fn count(&self, user: &str, enough: usize) -> usize {
        if user.is_empty() {
            self.nameless
        } else {
            self.ids_of(user).take(enough).count()
        }
    }

    fn ids_of(&self, user: &str) -> impl Iterator<Item = ConnectionId> {
        let user: Arc<str> = Arc::from(user);
        let from = (Arc::clone(&user), ConnectionId::MIN);
        self.by_user
            .range(from..)
            .take_while(move |(name, _)| *name == user)
            .map(|(_, id)| *id)
    }
}

impl Borrow<ConnectionId> for ById {
    fn borrow(&self) -> &ConnectionId {
        &self.0.id
    }
}

impl Ord for ById {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.id.cmp(&other.0.id)
    }
}

impl PartialOrd for ById {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ById {}

impl Drop for Expected {
    fn drop(&mut self) {
        let mut index = self.registry.lock();
        if !index.by_id.contains(&self.entry.1) {
            index.unfile(&self.entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Identity, Token};
    use crate::selector::{Access, Criteria};

    fn connect(registry: &Registry, user: &str, token: Token) -> ConnectionId {
        let identity = Identity {
            user: user.into(),
            namespace: None,
            token,
        };
        let id = ConnectionId::random();
        let connection = Connection::new(id, identity, None, Arc::default());
        registry.insert(Arc::new(connection));
        id
    }

    fn select(registry: &Registry, criteria: Criteria) -> Vec<ConnectionId> {
        let selector = Selector::new(criteria).unwrap();
        registry
            .select(&selector)
            .iter()
            .map(|connection| connection.id)
            .collect()
    }

    fn users(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn criteria_intersect() {
        let registry = Registry::default();
        let private = connect(&registry, "ann", Token::Private("t".into()));
        let public = connect(&registry, "ann", Token::random());
        let other = connect(&registry, "bob", Token::random());
        let by_user = Criteria {
            users: Some(users(&["ann"])),
            ..Criteria::default()
        };
        assert_eq!(select(&registry, by_user.clone()).len(), 2);
        let narrowed = Criteria {
            access: Access::Private,
            ..by_user.clone()
        };
        assert_eq!(select(&registry, narrowed), [private]);
        let both = Criteria {
            conns: Some(vec![public, other]),
            ..by_user.clone()
        };
        assert_eq!(select(&registry, both), [public]);
        let all = Criteria {
            all: true,
            except: vec![private, public],
            ..Criteria::default()
        };
        assert_eq!(select(&registry, all), [other]);
        let twice = Criteria {
            users: Some(users(&["bob", "bob"])),
            ..Criteria::default()
        };
        assert_eq!(select(&registry, twice), [other]);
        let token = Criteria {
            tokens: Some(users(&["t"])),
            ..Criteria::default()
        };
        assert_eq!(select(&registry, token), [private]);
    }

    #[test]
    fn nobody_named_is_no_selector() {
        assert_eq!(
            Selector::new(Criteria {
                access: Access::Public,
                ..Criteria::default()
            }),
            None
        );
    }

    #[test]
    fn a_removed_connection_is_gone_and_a_refiled_one_is_found() {
        let registry = Registry::default();
        let id = connect(&registry, "", Token::random());
        registry.refile(id, Some("ann"), Some("space"));
        assert_eq!(registry.count(""), 0);
        assert_eq!(registry.count("ann"), 1);
        let namespace = Criteria {
            namespace: Some("space".into()),
            ..Criteria::default()
        };
        assert_eq!(select(&registry, namespace), [id]);
        registry.remove(id);
        assert!(registry.is_empty());
        assert_eq!(registry.count("ann"), 0);
    }

    #[test]
    fn tokens_end_in_their_order_and_those_that_left_are_forgotten() {
        let registry = Registry::default();
        let ending = |at| {
            let identity = Identity {
                user: "".into(),
                namespace: None,
                token: Token::random(),
            };
            let id = ConnectionId::random();
            let connection = Connection::new(id, identity, None, Arc::default()).expiring(at);
            registry.insert(Arc::new(connection));
            id
        };
        let ids = [Some(30), None, Some(10), Some(20), Some(u64::MAX)].map(ending);
        let taken = |now, count| -> Vec<_> {
            let expired = registry.take_expired(now, count);
            expired.iter().map(|connection| connection.id).collect()
        };
        assert_eq!(taken(10, 9), []);
        assert_eq!(taken(11, 9), [ids[2]]);
        registry.remove(ids[3]);
        assert_eq!(registry.lock().by_end.len(), 1, "one that left");
        assert_eq!(taken(u32::MAX, 1), [ids[0]]);
        assert_eq!(taken(u32::MAX, 1), []);
    }

    #[test]
    fn a_walk_sees_everyone_once() {
        let registry = Registry::default();
        for _ in 0..25 {
            connect(&registry, "", Token::random());
        }
        let (mut seen, mut after) = (0, None);
        loop {
            after = registry.walk(after, 10, |_| seen += 1);
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, 25);
    }
}

//! A copy of some kind of object, trimmed to what the operator looks at, kept by a watch.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use futures_util::StreamExt;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch as latch;
use tracing::warn;

use crate::seldom::Seldom;

/// Objects in one answer to a list. A page is held whole, twice, while it is read, and a tenant's
/// object may be a megabyte and a half.
const PAGE: u32 = 20;

/// How many facts are kept of what strangers make.
#[derive(Clone, Copy)]
pub struct Room {
    /// Of one namespace.
    pub each: usize,
    pub all: usize,
}

/// What is kept of an object.
pub trait Facts: Sized + Send + Sync + 'static {
    type Object: Resource<DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static;

    /// `None`: as many as there are.
    const ROOM: Option<Room> = None;

    /// `None`: nothing that concerns us.
    fn read(object: Self::Object) -> Option<Self>;

    /// No need to look at anything again because `other` became this.
    fn same_as(&self, other: &Self) -> bool;

    /// Where there is room for so many, the oldest goes.
    fn since(&self) -> Option<Timestamp> {
        None
    }
}

/// Readers see whole objects; the writer is [`Store::follow`], and who has just written an object
/// itself and need not wait for the watch to say so.
pub struct Store<T> {
    namespaces: RwLock<Namespaces<T>>,
    synced: latch::Sender<bool>,
}

type Namespaces<T> = HashMap<String, BTreeMap<String, Arc<T>>>;

/// One object came, went or became different.
#[derive(Debug)]
pub struct Change<T> {
    pub namespace: String,
    pub name: String,
    pub before: Option<Arc<T>>,
    pub after: Option<Arc<T>>,
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self {
            namespaces: RwLock::default(),
            synced: latch::Sender::new(false),
        }
    }
}

impl<T> Store<T> {
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<T>> {
        self.read().get(namespace)?.get(name).cloned()
    }

    /// In the order of their names.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<T>> {
        self.read()
            .get(namespace)
            .map(|objects| objects.values().cloned().collect())
            .unwrap_or_default()
    }

    pub fn all(&self) -> Vec<Arc<T>> {
        self.read()
            .values()
            .flat_map(BTreeMap::values)
            .cloned()
            .collect()
    }

    /// The namespaces that have an object of that kind.
    pub fn namespaces_where(&self, holds: impl Fn(&T) -> bool) -> BTreeSet<String> {
        self.read()
            .iter()
            .filter(|(_, objects)| objects.values().any(|object| holds(object)))
            .map(|(namespace, _)| namespace.clone())
            .collect()
    }

    pub fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    /// Until the first list is complete.
    pub async fn synced(&self) {
        // The sender lives in self: it cannot be gone.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// As if a first list were complete.
    #[cfg(test)]
    pub fn complete(&self) {
        self.synced.send_replace(true);
    }

    fn read(&self) -> RwLockReadGuard<'_, Namespaces<T>> {
        self.namespaces
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Namespaces<T>> {
        self.namespaces
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets or removes one object.
    pub fn put(&self, namespace: &str, name: &str, after: Option<T>) -> Change<T> {
        let after = after.map(Arc::new);
        let mut namespaces = self.write();
        let objects = namespaces.entry(namespace.to_owned()).or_default();
        let before = match &after {
            Some(object) => objects.insert(name.to_owned(), Arc::clone(object)),
            None => objects.remove(name),
        };
        if objects.is_empty() {
            namespaces.remove(namespace);
        }
        Change {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            before,
            after,
        }
    }

    /// Forgets everything.
    pub fn clear(&self) -> Vec<Change<T>> {
        self.replace(Namespaces::new())
    }

    /// Replaces everything by a complete list.
    fn replace(&self, complete: Namespaces<T>) -> Vec<Change<T>> {
        let mut before = {
            let mut namespaces = self.write();
            let before = std::mem::replace(&mut *namespaces, complete);
            drop(namespaces);
            before
        };
        let mut changes = Vec::new();
        for (namespace, objects) in self.read().iter() {
            let mut gone = before.remove(namespace).unwrap_or_default();
            changes.extend(objects.iter().map(|(name, after)| Change {
                namespace: namespace.clone(),
                name: name.clone(),
                before: gone.remove(name),
                after: Some(Arc::clone(after)),
            }));
            changes.extend(removed(namespace, gone));
        }
        for (namespace, gone) in before {
            changes.extend(removed(&namespace, gone));
        }
        changes
    }
}

fn removed<T>(namespace: &str, gone: BTreeMap<String, Arc<T>>) -> Vec<Change<T>> {
    gone.into_iter()
        .map(|(name, before)| Change {
            namespace: namespace.to_owned(),
            name,
            before: Some(before),
            after: None,
        })
        .collect()
}

impl<T: Facts> Store<T> {
    /// As if a watch had told of it.
    #[cfg(test)]
    pub(crate) fn put_object(&self, object: serde_json::Value) {
        let object: T::Object = serde_json::from_value(object).unwrap();
        let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
        self.put(&namespace, &name, T::read(object));
        self.make_room(&namespace);
    }

    /// Nobody is told of what goes: it says nothing of what is now.
    fn make_room(&self, namespace: &str) {
        if let Some(room) = T::ROOM {
            room.make(&mut self.write(), namespace);
        }
    }

    /// Watches for ever; `on_change` is called for what differs, after the store has it.
    pub async fn follow(
        &self,
        api: Api<T::Object>,
        config: watcher::Config,
        on_change: impl Fn(&Change<T>),
    ) {
        let mut events = pin!(watch(api, config.page_size(PAGE)).default_backoff());
        let mut listed = Namespaces::new();
        while let Some(event) = events.next().await {
            let changes = match event {
                Ok(Event::Init) => {
                    listed = Namespaces::new();
                    continue;
                }
                Ok(Event::InitApply(object)) => {
                    let (namespace, name) = key(&object);
                    if let Some(facts) = T::read(object) {
                        listed
                            .entry(namespace.clone())
                            .or_default()
                            .insert(name, Arc::new(facts));
                    }
                    if let Some(room) = T::ROOM {
                        room.make(&mut listed, &namespace);
                    }
                    continue;
                }
                Ok(Event::InitDone) => {
                    let changes = self.replace(std::mem::take(&mut listed));
                    self.synced.send_replace(true);
                    changes
                }
                Ok(Event::Apply(object)) => {
                    let (namespace, name) = key(&object);
                    let change = self.put(&namespace, &name, T::read(object));
                    self.make_room(&namespace);
                    vec![change]
                }
                Ok(Event::Delete(object)) => {
                    let (namespace, name) = key(&object);
                    vec![self.put(&namespace, &name, None)]
                }
                Err(error) => {
                    let kind = T::Object::kind(&());
                    warn!(%kind, error = %chain(&error), "watch interrupted, will be resumed");
                    continue;
                }
            };
            for change in changes.iter().filter(|change| change.matters()) {
                on_change(change);
            }
        }
    }
}

impl Room {
    /// The namespace that has most pays for all.
    fn make<T: Facts>(self, namespaces: &mut Namespaces<T>, namespace: &str) {
        let over = |objects: &BTreeMap<String, Arc<T>>| objects.len() > self.each;
        while namespaces.get(namespace).is_some_and(over) {
            drop_oldest(namespaces, namespace);
        }
        while namespaces.values().map(BTreeMap::len).sum::<usize>() > self.all {
            let fullest = namespaces.iter().max_by_key(|(_, objects)| objects.len());
            let Some(fullest) = fullest.map(|(name, _)| name.clone()) else {
                return;
            };
            drop_oldest(namespaces, &fullest);
        }
    }
}

fn drop_oldest<T: Facts>(namespaces: &mut Namespaces<T>, namespace: &str) {
    static TOLD: Seldom = Seldom::new();
    let Some(objects) = namespaces.get_mut(namespace) else {
        return;
    };
    let oldest = objects.iter().min_by_key(|(_, object)| object.since());
    if let Some(name) = oldest.map(|(name, _)| name.clone()) {
        objects.remove(&name);
    }
    if objects.is_empty() {
        namespaces.remove(namespace);
    }
    if let Some(times) = TOLD.due() {
        let kind = T::Object::kind(&());
        warn!(%kind, namespace, times, "more of them than are kept: the oldest are not looked at");
    }
}

impl<T: Facts> Change<T> {
    pub fn matters(&self) -> bool {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => !after.same_as(before),
            (None, None) => false,
            _ => true,
        }
    }
}

impl<T> Change<T> {
    /// Both sides: what was and what is.
    pub fn sides(&self) -> impl Iterator<Item = &T> {
        self.before.iter().chain(&self.after).map(AsRef::as_ref)
    }
}

fn key<K: Resource>(object: &K) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// An error with all its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(changes: &[Change<u32>]) -> Vec<(&str, Option<u32>, Option<u32>)> {
        let mut all: Vec<_> = changes
            .iter()
            .map(|change| {
                let value = |side: &Option<Arc<u32>>| side.as_deref().copied();
                (
                    change.name.as_str(),
                    value(&change.before),
                    value(&change.after),
                )
            })
            .collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn a_new_list_tells_what_came_and_went() {
        let store = Store::default();
        store.put("a", "kept", Some(1));
        store.put("a", "gone", Some(2));
        store.put("b", "alone", Some(3));
        let list =
            [("kept", 1), ("new", 4)].map(|(name, value)| (name.to_owned(), Arc::new(value)));
        let changes = store.replace(HashMap::from([("a".to_owned(), BTreeMap::from(list))]));
        assert_eq!(
            names(&changes),
            [
                ("alone", Some(3), None),
                ("gone", Some(2), None),
                ("kept", Some(1), Some(1)),
                ("new", None, Some(4)),
            ]
        );
        assert_eq!(store.all().len(), 2);
    }

    #[test]
    fn an_empty_namespace_is_forgotten() {
        let store = Store::default();
        store.put("a", "x", Some(1));
        store.put("a", "x", None);
        assert!(store.read().is_empty());
    }
}

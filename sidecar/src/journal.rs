//! Which connections the app was told of, on disk, so that a gateway that was killed can tell
//! the app of their end when it starts again.
//!
//! A file of lines, one for each connection; at its end one byte of its line is changed. It
//! lives on the pod's emptyDir and is not synced: what has to survive is the process, not the
//! machine. It holds no token and no cookie, and is readable by the gateway's user only.
//!
//! It is a comfort, and decides nothing: where it cannot be read or written, or is full, the
//! gateway serves without, says so once in a while and counts what is not recorded.

mod record;
mod store;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tracing::warn;

use crate::connection::Connection;
use crate::identity::{ConnectionId, Identity};
use crate::throttle::Throttle;
pub use record::Orphan;
use store::Store;

#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    state: Mutex<State>,
    pub metrics: JournalMetrics,
    trouble: Throttle,
}

#[derive(Clone, Debug, Default)]
pub struct JournalMetrics {
    pub bytes: Gauge,
    pub unrecorded: Counter,
}

impl JournalMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "journal_bytes",
            "Bytes of the crash journal",
            self.bytes.clone(),
        );
        registry.register(
            "journal_unrecorded",
            "Connections and new names that the crash journal does not have",
            self.unrecorded.clone(),
        );
    }
}

#[derive(Debug)]
struct State {
    /// `None`: it could not be opened.
    store: Option<Store>,
    open: BTreeMap<ConnectionId, Slot>,
    /// Bytes of the records of `open`.
    live: u64,
}

/// Where in the file a record stands.
#[derive(Clone, Copy, Debug)]
struct Slot {
    at: u64,
    len: u64,
}

const FILE: &str = "connections.journal";
/// A file so small is not worth being written anew.
const SMALL: u64 = 64 << 10;
/// What the map of open connections takes for one of them.
const IN_MEMORY: usize = 64;

/// What the journal holds for a connection, in memory and on a volume that may be memory.
pub fn entry_size(identity: &Identity) -> usize {
    IN_MEMORY + record::size(identity)
}

impl Journal {
    /// The journal in `directory`, with what an earlier run left in it.
    pub fn open(directory: &Path) -> (Self, Vec<Orphan>) {
        let journal = Self {
            path: directory.join(FILE),
            state: Mutex::new(State {
                store: None,
                open: BTreeMap::new(),
                live: 0,
            }),
            metrics: JournalMetrics::default(),
            trouble: Throttle::default(),
        };
        let mut state = journal.lock();
        // Where it fails, opening the file says the same and more.
        let _ = std::fs::create_dir_all(directory);
        let left = match Store::open(&journal.path) {
            Ok((store, content)) => {
                state.store = Some(store);
                content
            }
            Err(error) => {
                journal.warn(&error);
                store::read_only(&journal.path).unwrap_or_default()
            }
        };
        let orphans = state.take_over(&left, &journal.path);
        if let Err(error) = state.compact() {
            journal.warn(&error);
        }
        journal.tell_size(&state);
        drop(state);
        (journal, orphans)
    }

    /// To be called before the app hears of the connection, and again when it has another name.
    pub fn opened(&self, connection: &Connection) {
        let line = connection.with_identity(|identity| record::write(connection.id, identity));
        let mut state = self.lock();
        if let Err(error) = state.record(connection.id, &line) {
            self.metrics.unrecorded.inc();
            self.warn(&error);
        }
        self.tell_size(&state);
    }

    /// To be called when the app knows of the end.
    pub fn closed(&self, id: ConnectionId) {
        let mut state = self.lock();
        if let Err(error) = state.end(id) {
            self.warn(&error);
        }
        self.tell_size(&state);
    }

    fn tell_size(&self, state: &State) {
        let bytes = state.store.as_ref().map_or(0, Store::end);
        self.metrics.bytes.set(bytes.cast_signed());
    }

    fn warn(&self, error: &io::Error) {
        if let Some(left_out) = self.trouble.pass() {
            warn!(
                %error,
                path = %self.path.display(),
                unrecorded = self.metrics.unrecorded.get(),
                left_out,
                "the crash journal fails: should this gateway be killed, the app will not hear of the end of every connection; see to its volume"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What cannot be read is passed over: a line cut short by the kill is of a connection that
    /// the app had not been told of yet.
    fn take_over(&mut self, content: &[u8], path: &Path) -> Vec<Orphan> {
        let (mut at, mut unreadable) = (0, 0_usize);
        let mut orphans = BTreeMap::new();
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            let slot = Slot {
                at,
                len: line.len() as u64,
            };
            at += slot.len;
            if let Some(orphan) = line.strip_suffix(b"\n").and_then(record::parse) {
                self.insert(orphan.id, slot);
                orphans.insert(orphan.id, orphan);
            } else if line[0] != record::ENDED {
                unreadable += 1;
            }
        }
        if unreadable > 0 {
            warn!(path = %path.display(), lines = unreadable, "lines of the crash journal cannot be read and are passed over");
        }
        orphans.into_values().collect()
    }

    fn insert(&mut self, id: ConnectionId, slot: Slot) {
        self.live += slot.len;
        if let Some(before) = self.open.insert(id, slot) {
            self.live -= before.len;
        }
    }

    fn record(&mut self, id: ConnectionId, line: &str) -> io::Result<()> {
        let at = self.append(line)?;
        let before = self.open.get(&id).copied();
        let slot = Slot {
            at,
            len: line.len() as u64,
        };
        self.insert(id, slot);
        match (before, &self.store) {
            (Some(before), Some(store)) => store.mark_ended(before.at),
            _ => Ok(()),
        }
    }

    fn append(&mut self, line: &str) -> io::Result<u64> {
        let Some(store) = &self.store else {
            return Err(io::Error::other("it could not be opened"));
        };
        if !store.has_room_for(line) && !self.make_room()? {
            let all = format!("{} connections fill it", self.open.len());
            return Err(io::Error::new(io::ErrorKind::StorageFull, all));
        }
        match self.try_append(line) {
            Err(error) if is_full(&error) && self.make_room()? => self.try_append(line),
            done => done,
        }
    }

    fn try_append(&mut self, line: &str) -> io::Result<u64> {
        match &mut self.store {
            Some(store) => store.append(line),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn end(&mut self, id: ConnectionId) -> io::Result<()> {
        let Some(slot) = self.open.remove(&id) else {
            return Ok(());
        };
        self.live -= slot.len;
        let Some(store) = &self.store else {
            return Ok(());
        };
        store.mark_ended(slot.at)?;
        if store.end() > SMALL && store.end() > 2 * self.live {
            self.compact()?;
        }
        Ok(())
    }

    /// Whether writing the file anew has won something. Not where that would be little: it
    /// would have to be done again at once.
    fn make_room(&mut self) -> io::Result<bool> {
        let end = self.store.as_ref().map_or(0, Store::end);
        let worth_it = end - self.live > end / 8;
        if worth_it {
            self.compact()?;
        }
        Ok(worth_it)
    }

    fn compact(&mut self) -> io::Result<()> {
        let Some(store) = &mut self.store else {
            return Ok(());
        };
        let content = store.content()?;
        // In the order of the file, so that none is overwritten before it is moved.
        let mut slots: Vec<_> = self.open.values_mut().collect();
        slots.sort_by_key(|slot| slot.at);
        let mut lines = Vec::with_capacity(usize::try_from(self.live).unwrap_or_default());
        let moved: Vec<u64> = slots
            .iter()
            .map(|slot| {
                let at = lines.len() as u64;
                lines.extend_from_slice(slot.of(&content));
                at
            })
            .collect();
        if let Err(error) = store.rewrite(&lines) {
            // Nobody knows what stands where any more.
            self.store = None;
            return Err(error);
        }
        for (slot, at) in slots.into_iter().zip(moved) {
            slot.at = at;
        }
        Ok(())
    }
}

impl Slot {
    fn of(self, content: &[u8]) -> &[u8] {
        let (at, len) = (usize::try_from(self.at), usize::try_from(self.len));
        let range = at.unwrap_or(usize::MAX)..;
        let from = content.get(range).unwrap_or_default();
        from.get(..len.unwrap_or(usize::MAX)).unwrap_or_default()
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

#[cfg(test)]
mod tests;

//! Which connections the app was told of, on disk, so that a gateway that was killed can tell
//! the app of their end when it starts again.
//!
//! An append-only file of lines: `+` with a connection's identity, `-` with its id. It lives on
//! the pod's emptyDir and is written with one `write` a line: what has to survive is the
//! process, not the machine. The client's token is in it, as the close callback carries it; the
//! cookie is not. The file is readable by the gateway's user only.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::connection::Connection;
use crate::identity::{ConnectionId, Identity, Token};

#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    open: BTreeMap<ConnectionId, Box<str>>,
    /// Lines in the file; far more than `open` has means it is time to write it anew.
    lines: usize,
    failed: bool,
}

/// A connection that an earlier run left open.
#[derive(Clone, Debug)]
pub struct Orphan {
    pub id: ConnectionId,
    pub identity: Identity,
}

#[derive(Serialize, Deserialize)]
struct Line {
    id: String,
    user: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    token: String,
    public: bool,
}

const FILE: &str = "connections.journal";
const REWRITE_OVER: usize = 1024;

impl Journal {
    /// Opens the journal in `directory`, with what an earlier run left in it.
    pub fn open(directory: &Path) -> io::Result<(Self, Vec<Orphan>)> {
        std::fs::create_dir_all(directory)?;
        let path = directory.join(FILE);
        let open = match File::open(&path) {
            Ok(file) => read(BufReader::new(file))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        let orphans = open
            .values()
            .filter_map(|line| Orphan::parse(line))
            .collect();
        let file = rewrite(&path, &open)?;
        let state = State {
            file,
            lines: open.len(),
            open,
            failed: false,
        };
        Ok((
            Self {
                path,
                state: Mutex::new(state),
            },
            orphans,
        ))
    }

    /// To be called before the app hears of the connection, and again when it has another name.
    pub fn opened(&self, connection: &Connection) {
        let line = connection.with_identity(|identity| Line {
            id: connection.id.to_string(),
            user: identity.user.to_string(),
            namespace: identity.namespace.as_deref().map(str::to_owned),
            token: identity.token.expose(),
            public: identity.token.is_public(),
        });
        let Ok(line) = serde_json::to_string(&line) else {
            return;
        };
        let mut state = self.lock();
        self.append(&mut state, '+', &line);
        state.open.insert(connection.id, line.into());
    }

    /// To be called when the app knows of the end.
    pub fn closed(&self, id: ConnectionId) {
        let mut state = self.lock();
        if state.open.remove(&id).is_some() {
            self.append(&mut state, '-', &id.to_string());
        }
    }

    fn append(&self, state: &mut State, sign: char, rest: &str) {
        let written = state
            .file
            .write_all(format!("{sign}{rest}\n").as_bytes())
            .and_then(|()| {
                state.lines += 1;
                if state.lines > REWRITE_OVER + 4 * state.open.len() {
                    state.file = rewrite(&self.path, &state.open)?;
                    state.lines = state.open.len();
                }
                Ok(())
            });
        match written {
            Ok(()) => state.failed = false,
            Err(error) if !state.failed => {
                // Said once: a full disk must not fill the log as well.
                state.failed = true;
                warn!(%error, path = %self.path.display(), "the crash journal cannot be written");
            }
            Err(_) => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line cut short by the kill is passed over: its connection was not told to the app yet.
fn read(reader: impl BufRead) -> io::Result<BTreeMap<ConnectionId, Box<str>>> {
    let mut open = BTreeMap::new();
    for line in reader.split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        if let Some(orphan) = line.strip_prefix('+').and_then(Orphan::parse) {
            open.insert(orphan.id, line[1..].into());
        } else if let Some(id) = line.strip_prefix('-').and_then(ConnectionId::parse) {
            open.remove(&id);
        }
    }
    Ok(open)
}

/// Puts a file with just these lines in place of the old one, whole or not at all.
fn rewrite(path: &Path, open: &BTreeMap<ConnectionId, Box<str>>) -> io::Result<File> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    let mut text = String::new();
    for line in open.values() {
        text.push('+');
        text.push_str(line);
        text.push('\n');
    }
    file.write_all(text.as_bytes())?;
    std::fs::rename(&new, path)?;
    Ok(file)
}

impl Orphan {
    fn parse(line: &str) -> Option<Self> {
        let Line {
            id,
            user,
            namespace,
            token,
            public,
        } = serde_json::from_str(line).ok()?;
        let token = if public {
            Token::Public(token.parse().ok()?)
        } else {
            Token::Private(token.as_str().into())
        };
        let identity = Identity {
            user: user.into(),
            namespace: namespace.map(Into::into),
            token,
        };
        Some(Self {
            id: ConnectionId::parse(&id)?,
            identity,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(user: &str) -> Connection {
        let identity = Identity {
            user: user.into(),
            namespace: None,
            token: Token::random(),
        };
        Connection::new(ConnectionId::random(), identity, None, None)
    }

    #[test]
    fn what_was_not_closed_is_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let (journal, orphans) = Journal::open(directory.path()).unwrap();
        assert!(orphans.is_empty());
        let (left, ended) = (connection("ann"), connection("bob"));
        journal.opened(&left);
        journal.opened(&ended);
        journal.closed(ended.id);
        drop(journal);
        let (_, orphans) = Journal::open(directory.path()).unwrap();
        assert_eq!(orphans.len(), 1);
        assert_eq!(orphans[0].id, left.id);
        assert_eq!(*orphans[0].identity.user, *"ann");
    }

    #[test]
    fn a_line_cut_short_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(directory.path()).unwrap();
        let left = connection("ann");
        journal.opened(&left);
        journal.opened(&connection("bob"));
        let path = directory.path().join(FILE);
        let text = std::fs::read(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 10]).unwrap();
        let (_, orphans) = Journal::open(directory.path()).unwrap();
        assert_eq!(
            orphans.iter().map(|orphan| orphan.id).collect::<Vec<_>>(),
            [left.id]
        );
    }

    #[test]
    fn the_file_does_not_grow_with_churn() {
        let directory = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(directory.path()).unwrap();
        for _ in 0..5000 {
            let connection = connection("ann");
            journal.opened(&connection);
            journal.closed(connection.id);
        }
        let lines = std::fs::read_to_string(directory.path().join(FILE))
            .unwrap()
            .lines()
            .count();
        assert!(lines <= REWRITE_OVER + 8, "{lines}");
    }
}

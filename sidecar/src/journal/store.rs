//! The journal's file: what is written to it stands whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::record::ENDED;

#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    file: File,
    end: u64,
    /// Bytes that the file may have.
    most: u64,
    /// The last line has no end: a write was cut short by a kill.
    torn: bool,
}

/// Room for ten thousand of the longest records. It is written anew beside itself, and on a
/// volume in memory both count against the container's limit.
const MOST: u64 = 6 << 20;

impl Store {
    /// The file in `directory`, and what an earlier run left in it.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Vec<u8>)> {
        // Left by a kill amid a rewrite, it takes room; where it cannot be removed, the rewrite
        // does without a second file.
        let _ = std::fs::remove_file(beside(path));
        let file = create(path, false)?;
        let most = most_on(&file);
        let content = read(&file)?;
        let store = Self {
            path: path.to_owned(),
            end: content.len() as u64,
            torn: content.last().is_some_and(|last| *last != b'\n'),
            file,
            most,
        };
        Ok((store, content))
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn has_room_for(&self, line: &str) -> bool {
        self.end + line.len() as u64 <= self.most
    }

    /// Where the line now stands.
    pub(super) fn append(&mut self, line: &str) -> io::Result<u64> {
        if self.torn {
            self.file.write_all_at(b"\n", self.end)?;
            self.end += 1;
            self.torn = false;
        }
        let written = self.file.write_all_at(line.as_bytes(), self.end);
        if let Err(error) = written {
            // A part of it may be there, and must not run into the next line.
            self.file.set_len(self.end)?;
            return Err(error);
        }
        let at = self.end;
        self.end += line.len() as u64;
        Ok(at)
    }

    /// Needs no room: one byte of a record that is there.
    pub(super) fn mark_ended(&self, at: u64) -> io::Result<()> {
        self.file.write_all_at(&[ENDED], at)
    }

    pub(super) fn content(&self) -> io::Result<Vec<u8>> {
        let mut content = vec![0; usize::try_from(self.end).unwrap_or_default()];
        self.file.read_exact_at(&mut content, 0)?;
        Ok(content)
    }

    /// Puts these lines in place of all: by a second file, or over the old ones where there is
    /// no room for it.
    pub(super) fn rewrite(&mut self, lines: &[u8]) -> io::Result<()> {
        if let Ok(file) = self.write_beside(lines) {
            self.file = file;
        } else {
            // Records only move towards the front: whatever a kill leaves has each of them.
            self.file.write_all_at(lines, 0)?;
            self.file.set_len(lines.len() as u64)?;
        }
        self.end = lines.len() as u64;
        self.torn = false;
        Ok(())
    }

    fn write_beside(&self, lines: &[u8]) -> io::Result<File> {
        let beside = beside(&self.path);
        let write = || {
            let file = create(&beside, true)?;
            file.write_all_at(lines, 0)?;
            std::fs::rename(&beside, &self.path)?;
            Ok(file)
        };
        write().inspect_err(|_| {
            // It would take the room that is missing already.
            let _ = std::fs::remove_file(&beside);
        })
    }
}

/// What is left in a file that cannot be written.
pub(super) fn read_only(path: &Path) -> io::Result<Vec<u8>> {
    match File::open(path) {
        Ok(file) => read(&file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// What is beyond was not written by us.
fn read(file: &File) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.take(2 * MOST).read_to_end(&mut content)?;
    Ok(content)
}

fn beside(path: &Path) -> PathBuf {
    path.with_extension("new")
}

fn create(path: &Path, truncate: bool) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .read(true)
        .write(true)
        .truncate(truncate)
        .mode(0o600)
        .open(path)
}

/// On a small volume there has to be room for a second file, and some more.
fn most_on(file: &File) -> u64 {
    match rustix::fs::fstatvfs(file) {
        Ok(volume) if volume.f_blocks > 0 => MOST.min(volume.f_blocks * volume.f_frsize / 8 * 3),
        _ => MOST,
    }
}

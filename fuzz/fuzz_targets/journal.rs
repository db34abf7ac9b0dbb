//! Any journal that a run finds: no panic; as many connections as have a line of their own at
//! most; after it was written anew the next run finds the same, and nothing of those that ended.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use ws_gateway::journal::{Journal, Orphan};

static DIRECTORY: LazyLock<TempDir> = LazyLock::new(|| {
    let memory = std::path::Path::new("/dev/shm");
    tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).expect("a directory")
});

fuzz_target!(|content: &[u8]| {
    let directory = DIRECTORY.path();
    std::fs::write(directory.join("connections.journal"), content).expect("the file is ours");
    let (journal, left) = Journal::open(directory);
    assert!(left.len() <= content.split(|byte| *byte == b'\n').count());
    drop(journal);
    let (journal, again) = Journal::open(directory);
    assert_eq!(sorted(&left), sorted(&again));
    for orphan in &again {
        journal.closed(orphan.id);
    }
    drop(journal);
    assert_eq!(Journal::open(directory).1, []);
});

fn sorted(orphans: &[Orphan]) -> Vec<String> {
    let mut all: Vec<_> = orphans.iter().map(|orphan| format!("{orphan:?}")).collect();
    all.sort();
    all
}

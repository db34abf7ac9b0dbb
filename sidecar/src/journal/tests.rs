use super::*;
use crate::identity::Token;

fn connection(user: &str) -> Connection {
    let identity = Identity {
        user: user.into(),
        namespace: None,
        token: Token::Private("s3cret".into()),
    };
    Connection::new(ConnectionId::random(), identity, None, <_>::default())
}

fn left_in(directory: &Path) -> Vec<(ConnectionId, String)> {
    let (_, orphans) = Journal::open(directory);
    let named = |orphan: Orphan| (orphan.id, orphan.user.into());
    orphans.into_iter().map(named).collect()
}

fn size(directory: &Path) -> u64 {
    std::fs::metadata(directory.join(FILE)).unwrap().len()
}

#[test]
fn what_was_not_closed_is_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, orphans) = Journal::open(directory.path());
    assert!(orphans.is_empty());
    let (left, ended) = (connection("ann"), connection("bob"));
    journal.opened(&left);
    journal.opened(&ended);
    journal.closed(ended.id);
    drop(journal);
    assert_eq!(left_in(directory.path()), [(left.id, "ann".to_owned())]);
}

#[test]
fn the_last_name_counts() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(directory.path());
    let left = connection("ann");
    journal.opened(&left);
    left.rename(Some("bob"), None);
    journal.opened(&left);
    assert_eq!(left_in(directory.path()), [(left.id, "bob".to_owned())]);
}

#[test]
fn a_line_cut_short_is_passed_over_and_runs_into_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(directory.path());
    let (left, cut) = (connection("ann"), connection("bob"));
    journal.opened(&left);
    journal.opened(&cut);
    let path = directory.path().join(FILE);
    let text = std::fs::read(&path).unwrap();
    std::fs::write(&path, &text[..text.len() - 10]).unwrap();
    let (journal, orphans) = Journal::open(directory.path());
    assert_eq!(orphans.len(), 1);
    let next = connection("cid");
    journal.opened(&next);
    let found = left_in(directory.path());
    assert_eq!(found.len(), 2);
    assert!(found.iter().any(|(id, _)| *id == next.id));
}

#[test]
fn the_file_does_not_grow_with_churn() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(directory.path());
    let stays = connection("ann");
    journal.opened(&stays);
    let mut largest = 0;
    for _ in 0..5000 {
        let connection = connection("ann");
        journal.opened(&connection);
        journal.closed(connection.id);
        largest = largest.max(size(directory.path()));
    }
    assert!(largest <= SMALL + 200, "{largest} bytes");
    assert_eq!(left_in(directory.path()), [(stays.id, "ann".to_owned())]);
}

#[test]
fn what_does_not_fit_is_counted_and_room_is_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(directory.path());
    let one = entry_size(&connection(&"n".repeat(300)).with_identity(Clone::clone)) - IN_MEMORY;
    let fits = (6 << 20) / one;
    let all: Vec<_> = (0..2 * fits)
        .map(|_| connection(&"n".repeat(300)))
        .collect();
    for connection in &all {
        journal.opened(connection);
    }
    let recorded = all.len() - usize::try_from(journal.metrics.unrecorded.get()).unwrap();
    assert!(
        (fits..=fits + 1).contains(&recorded),
        "{recorded} of {fits}"
    );
    for connection in &all[..recorded] {
        journal.closed(connection.id);
    }
    let late = connection("late");
    journal.opened(&late);
    drop(journal);
    assert_eq!(left_in(directory.path()), [(late.id, "late".to_owned())]);
}

#[test]
fn garbage_a_stale_second_file_and_a_folder_in_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE);
    let left = connection("ann");
    let line = left.with_identity(|identity| record::write(left.id, identity));
    for garbage in [
        &b"\0\0\0\0"[..],
        b"\n\n+\n-\n",
        b"{\"a\":1}\n",
        &[0xff; 4096],
    ] {
        std::fs::write(&path, [line.as_bytes(), garbage].concat()).unwrap();
        std::fs::write(path.with_extension("new"), "stale").unwrap();
        assert_eq!(left_in(directory.path()), [(left.id, "ann".to_owned())]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), line);
        assert!(!path.with_extension("new").exists());
    }
    // The second file cannot be made: the lines are written over the old ones.
    std::fs::create_dir(path.with_extension("new")).unwrap();
    let ended = line.replacen('+', "-", 1);
    std::fs::write(&path, [&ended[..], &line, &ended, "+half"].concat()).unwrap();
    assert_eq!(left_in(directory.path()), [(left.id, "ann".to_owned())]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), line);

    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let (journal, orphans) = Journal::open(directory.path());
    assert!(orphans.is_empty());
    journal.opened(&connection("ann"));
    assert_eq!(journal.metrics.unrecorded.get(), 1);
}

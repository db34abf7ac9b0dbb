//! One record: a line of text, `+<id> [user, namespace, public]`. Of one that has ended the
//! first byte is `-`.

use crate::identity::{ConnectionId, Identity};

/// A connection that an earlier run left open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    pub id: ConnectionId,
    pub user: Box<str>,
    pub namespace: Option<Box<str>>,
    /// Whether the client came without a token of its own.
    pub public: bool,
}

pub(super) const LIVE: u8 = b'+';
pub(super) const ENDED: u8 = b'-';

/// Bytes of a name, as they are written. A stranger chooses the namespace, and ten thousand of
/// the longest have to fit.
const USER: usize = 256;
const NAMESPACE: usize = 128;
/// Sign, id, blank, brackets, quotes, commas, `null`, `false` and the line's end.
const AROUND: usize = 1 + 36 + 17;

pub(super) fn write(id: ConnectionId, identity: &Identity) -> String {
    let user = cut(&identity.user, USER);
    let namespace = identity
        .namespace
        .as_deref()
        .map(|name| cut(name, NAMESPACE));
    let names = serde_json::json!([user, namespace, identity.token.is_public()]);
    format!("{}{id} {names}\n", char::from(LIVE))
}

/// `None`: it has ended, or it is no record.
pub(super) fn parse(line: &[u8]) -> Option<Orphan> {
    let line = str::from_utf8(line).ok()?;
    let (id, names) = line.strip_prefix(char::from(LIVE))?.split_once(' ')?;
    let (user, namespace, public) = serde_json::from_str(names).ok()?;
    Some(Orphan {
        id: ConnectionId::parse(id)?,
        user,
        namespace,
        public,
    })
}

/// No less than [`write`] makes of it.
pub(super) fn size(identity: &Identity) -> usize {
    let namespace = identity.namespace.as_deref().unwrap_or_default();
    AROUND + fitting(&identity.user, USER).1 + fitting(namespace, NAMESPACE).1
}

fn cut(name: &str, most: usize) -> &str {
    &name[..fitting(name, most).0]
}

/// How many bytes of a name fit into so many of JSON, and how many they take there at most.
fn fitting(name: &str, most: usize) -> (usize, usize) {
    let mut written = 0;
    for (at, char) in name.char_indices() {
        let next = match char {
            '\0'..='\u{1f}' => 6,
            '"' | '\\' => 2,
            _ => char.len_utf8(),
        };
        if written + next > most {
            return (at, written);
        }
        written += next;
    }
    (name.len(), written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Token;

    fn identity(user: &str, namespace: Option<&str>) -> Identity {
        Identity {
            user: user.into(),
            namespace: namespace.map(Into::into),
            token: Token::Private("s3cret".into()),
        }
    }

    #[test]
    fn what_is_written_is_read_and_holds_no_token() {
        for user in ["", "ann", "\"ann\" \\ \u{1}\n", "J\u{f6}rg"] {
            for namespace in [None, Some("team a"), Some("")] {
                let (id, identity) = (ConnectionId::random(), identity(user, namespace));
                let line = write(id, &identity);
                assert!(line.len() <= size(&identity), "{line}");
                assert!(!line.contains("s3cret"));
                let orphan = parse(line.trim_end().as_bytes()).unwrap();
                assert_eq!((orphan.id, &*orphan.user), (id, user));
                assert_eq!(
                    (orphan.namespace.as_deref(), orphan.public),
                    (namespace, false)
                );
            }
        }
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let long = "\u{1}".repeat(5000) + &"\u{20ac}".repeat(5000);
        for name in [&long[..], &long[5000..]] {
            let identity = identity(name, Some(name));
            let line = write(ConnectionId::random(), &identity);
            assert!(line.len() <= size(&identity));
            assert!(size(&identity) <= AROUND + USER + NAMESPACE);
            let orphan = parse(line.trim_end().as_bytes()).unwrap();
            assert!(!orphan.user.is_empty() && name.starts_with(&*orphan.user));
        }
    }

    #[test]
    fn what_has_ended_and_what_is_no_record_is_nobody() {
        let line = write(ConnectionId::random(), &identity("ann", None));
        let line = line.trim_end().as_bytes();
        let ended = [&[ENDED], &line[1..]].concat();
        let halves = [&line[..line.len() - 3], &line[9..]];
        for text in [
            &ended[..],
            halves[0],
            halves[1],
            b"",
            b"+",
            b"\xff\xfe",
            b"+x []",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}

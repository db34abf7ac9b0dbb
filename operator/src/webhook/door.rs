//! Which paths the webhook answers to. Each has a part that only whoever may read our Secret or
//! the webhook configurations knows: the API server, and no pod.
//!
//! The API server names the URL in the error that a pod's creator reads where `failurePolicy: Fail`
//! refuses it. So each namespace with such an entry has a path of its own, which answers for that
//! namespace alone, and tells nothing about the others.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::sync::{PoisonError, RwLock};

use k8s_openapi::ByteString;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// What the paths are made from: in the operator's Secret, and in no path itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; Self::LENGTH]);

/// What a review that comes by a path is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum About<'a> {
    Pods,
    /// Pods of namespaces whose entrance leads to gateways: of that one, or of any.
    Entrance(Option<&'a str>),
    Services,
    Manifests,
}

/// Closed to everybody until the Secret was read.
#[derive(Default)]
pub struct Door(RwLock<Known>);

#[derive(Default)]
struct Known {
    key: Option<Key>,
    /// Paths of before, which the API server still asks by.
    present: BTreeSet<String>,
}

// === impl Key ===

impl Key {
    const LENGTH: usize = 16;
    /// In the Secret.
    pub const NAME: &str = "path";

    /// 128 random bits.
    pub fn generate() -> Result<Self, ring::error::Unspecified> {
        let mut key = [0; Self::LENGTH];
        SystemRandom::new().fill(&mut key)?;
        Ok(Self(key))
    }

    pub fn store(&self) -> ByteString {
        ByteString(hex(&self.0).into_bytes())
    }

    /// `None`: nobody's work, or somebody's by hand.
    pub fn load(stored: &ByteString) -> Option<Self> {
        let text = std::str::from_utf8(&stored.0).ok()?;
        Some(Self(unhex(text.trim())?.try_into().ok()?))
    }

    pub fn path(&self, about: About<'_>) -> String {
        let words = about.words();
        let tag = hmac::sign(&self.hmac(), words.as_bytes());
        format!("/{}/{words}", hex(tag.as_ref()))
    }

    fn made(&self, tag: &[u8], words: &str) -> bool {
        hmac::verify(&self.hmac(), words.as_bytes(), tag).is_ok()
    }

    fn hmac(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

// === impl About ===

impl<'a> About<'a> {
    fn words(self) -> String {
        match self {
            Self::Pods => "pods".to_owned(),
            Self::Entrance(None) => "entrance".to_owned(),
            Self::Entrance(Some(namespace)) => format!("entrance/{namespace}"),
            Self::Services => "services".to_owned(),
            Self::Manifests => "appmanifests".to_owned(),
        }
    }

    fn read(words: &'a str) -> Option<Self> {
        match words {
            "pods" => Some(Self::Pods),
            "entrance" => Some(Self::Entrance(None)),
            "services" => Some(Self::Services),
            "appmanifests" => Some(Self::Manifests),
            other => {
                let namespace = other.strip_prefix("entrance/")?;
                (!namespace.is_empty()).then_some(Self::Entrance(Some(namespace)))
            }
        }
    }

    /// By the name of a webhook in the installed configuration.
    pub fn of_webhook(name: &str) -> Option<About<'static>> {
        match name {
            "pods.ws.olares.com" => Some(About::Pods),
            "services.ws.olares.com" => Some(About::Services),
            "appmanifests.ws.olares.com" => Some(About::Manifests),
            _ => None,
        }
    }
}

// === impl Door ===

impl Door {
    /// From now on it opens for paths of this key, and for those that the API server has at present
    /// and that are of our making.
    pub fn answer_to(&self, key: &Key, present: impl IntoIterator<Item = String>) {
        let present = present.into_iter().filter(|path| is_ours(path));
        let known = Known {
            key: Some(key.clone()),
            present: present.collect(),
        };
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = known;
    }

    pub fn opens<'a>(&self, path: &'a str) -> Option<About<'a>> {
        let (tag, about) = split(path)?;
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let made = known
            .key
            .as_ref()
            .is_some_and(|key| key.made(&tag, &about.words()));
        (made || known.present.contains(path)).then_some(about)
    }
}

/// Whether we can have made it, with whatever key.
pub fn is_ours(path: &str) -> bool {
    split(path).is_some()
}

/// The two parts of a path of our making.
fn split(path: &str) -> Option<(Vec<u8>, About<'_>)> {
    let (tag, words) = path.strip_prefix('/')?.split_once('/')?;
    let tag = unhex(tag).filter(|tag| tag.len() == ring::digest::SHA256_OUTPUT_LEN)?;
    Some((tag, About::read(words)?))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    let byte = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    let is_hex = text.len().is_multiple_of(2) && text.bytes().all(|one| one.is_ascii_hexdigit());
    is_hex.then(|| digits.map(byte).collect())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [About<'_>; 6] = [
        About::Pods,
        About::Entrance(None),
        About::Entrance(Some("chat")),
        About::Entrance(Some("shop")),
        About::Services,
        About::Manifests,
    ];

    fn key() -> Key {
        Key::generate().unwrap()
    }

    #[test]
    fn nothing_opens_a_door_without_a_key() {
        let door = Door::default();
        for path in ["/pods", "", "/", "//pods", &key().path(About::Pods)] {
            assert_eq!(door.opens(path), None, "{path}");
        }
    }

    #[test]
    fn each_path_is_for_one_thing() {
        let (key, door) = (key(), Door::default());
        door.answer_to(&key, []);
        for about in ALL {
            let path = key.path(about);
            assert_eq!(door.opens(&path), Some(about));
            let (tag, _) = path[1..].split_once('/').unwrap();
            // What one namespace's owner has read in an error is of no use for anything else.
            for other in ALL.iter().filter(|&&other| other != about) {
                let forged = format!("/{tag}/{}", other.words());
                assert_eq!(door.opens(&forged), None, "{forged}");
            }
            for forged in [
                path[1..].to_owned(),
                format!("{path}/"),
                format!("{path}?"),
                path.replacen('/', "//", 1),
                format!("/{}/{}", "0".repeat(64), about.words()),
            ] {
                assert_eq!(door.opens(&forged), None, "{forged}");
            }
        }
    }

    #[test]
    fn paths_of_before_open_it_as_long_as_the_api_server_has_them() {
        let (old, new, door) = (key(), key(), Door::default());
        let strange = ["/pods", "/a/pods", ""].map(str::to_owned);
        door.answer_to(&new, strange.into_iter().chain([old.path(About::Pods)]));
        assert_eq!(door.opens(&old.path(About::Pods)), Some(About::Pods));
        assert_eq!(door.opens(&old.path(About::Services)), None);
        assert_eq!(
            door.opens(&new.path(About::Services)),
            Some(About::Services)
        );
        assert_eq!(door.opens("/pods"), None);
        door.answer_to(&new, []);
        assert_eq!(door.opens(&old.path(About::Pods)), None);
    }

    #[test]
    fn the_secret_gives_back_the_key() {
        let key = key();
        assert_eq!(Key::load(&key.store()), Some(key));
        for strange in ["", "00", "xyz", &"g".repeat(32), &"00".repeat(17)] {
            let stored = ByteString(strange.as_bytes().to_vec());
            assert_eq!(Key::load(&stored), None, "{strange}");
        }
    }
}

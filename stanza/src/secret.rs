//! Secrets: those of the app's namespace that the stanza names (`{name: chat, key: signing}`), whose
//! values are in no manifest and so in no patch, status, Event, log or hash; and a value itself,
//! where the stanza still has one.

use serde_json::{Value as Json, json};

use crate::env;
use crate::field::Field;
use crate::node::{Node, Value};

/// One key of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretRef {
    pub name: String,
    pub key: String,
}

/// What a secret is for: which setting names it, in which file the gateway finds it, and which
/// variable tells it so. A further secret is a further line of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SecretUse {
    CallbackSigning,
    AdminToken,
}

/// The secrets that a stanza names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secrets(Vec<(SecretUse, SecretRef)>);

/// A value that is never shown: its canonical form is for the gateway's environment only.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

// === impl Secret ===

impl Secret {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Field for Secret {
    const ALLOWED: &'static str = "a non-empty string";
    const HIDDEN: bool = true;

    fn read(node: &Node) -> Option<Self> {
        node.as_text()
            .filter(|text| !text.is_empty())
            .map(|text| Self(text.to_owned()))
    }

    fn to_json(&self) -> Json {
        Json::from(self.0.as_str())
    }
}

// === impl SecretRef ===

impl Field for SecretRef {
    const ALLOWED: &'static str =
        "a Secret of the app's namespace and one of its keys, such as {name: chat, key: signing}";
    const HIDDEN: bool = true;

    fn read(node: &Node) -> Option<Self> {
        let text = |key| node.get(key).and_then(Node::as_text);
        let only = matches!(node.value, Value::Map(_))
            && node
                .entries()
                .all(|(key, _)| matches!(key.name.as_str(), "name" | "key"));
        let name = text("name").filter(|name| only && is_name(name))?;
        let key = text("key").filter(|key| is_key(key))?;
        Some(Self {
            name: name.to_owned(),
            key: key.to_owned(),
        })
    }

    fn to_json(&self) -> Json {
        json!({"name": self.name, "key": self.key})
    }
}

/// A DNS subdomain (RFC 1123), as Kubernetes asks of a Secret's name.
fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty()
            && label.bytes().all(plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// As Kubernetes asks of a Secret's key, which is a file's name.
fn is_key(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=253).contains(&text.len())
        && text.bytes().all(plain)
        && text != "."
        && !text.starts_with("..")
}

// === impl SecretUse ===

impl SecretUse {
    pub const ALL: [Self; 2] = [Self::CallbackSigning, Self::AdminToken];

    /// The setting that names the Secret.
    pub fn setting(self) -> &'static str {
        match self {
            Self::CallbackSigning => "callback.signing.secretFrom",
            Self::AdminToken => "admin.token.secretFrom",
        }
    }

    /// The file's name in [`env::SECRETS_DIR`], and the metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CallbackSigning => "callback-signing",
            Self::AdminToken => "admin-token",
        }
    }

    /// The variable that names the file.
    pub fn variable(self) -> &'static str {
        match self {
            Self::CallbackSigning => env::CALLBACK_SIGNING_FILE,
            Self::AdminToken => env::ADMIN_TOKEN_FILE,
        }
    }

    /// Where the operator mounts it.
    pub fn path(self) -> String {
        format!("{}/{}", env::SECRETS_DIR, self.as_str())
    }
}

// === impl Secrets ===

impl Secrets {
    pub fn new(named: impl IntoIterator<Item = (SecretUse, Option<SecretRef>)>) -> Self {
        let named = named.into_iter();
        Self(
            named
                .filter_map(|(what, from)| Some((what, from?)))
                .collect(),
        )
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (SecretUse, &SecretRef)> {
        self.0.iter().map(|(what, from)| (*what, from))
    }

    pub fn get(&self, wanted: SecretUse) -> Option<&SecretRef> {
        self.iter()
            .find_map(|(what, from)| (what == wanted).then_some(from))
    }

    /// By setting: what the hash of an injection covers.
    pub fn to_json(&self) -> Json {
        let of =
            |(what, from): (SecretUse, &SecretRef)| (what.setting().to_owned(), from.to_json());
        Json::Object(self.iter().map(of).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Option<SecretRef> {
        SecretRef::read(&Node::from_yaml(yaml).unwrap())
    }

    #[test]
    fn names_and_keys_are_those_of_kubernetes() {
        let found = read("{name: chat.v1-x, key: Signing_key.pem}").unwrap();
        assert_eq!(
            (found.name.as_str(), found.key.as_str()),
            ("chat.v1-x", "Signing_key.pem")
        );
        for wrong in [
            "chat",
            "{name: chat}",
            "{key: a}",
            "{name: Chat, key: a}",
            "{name: -chat, key: a}",
            "{name: a..b, key: a}",
            "{name: '', key: a}",
            "{name: chat, key: ''}",
            "{name: chat, key: a/b}",
            "{name: chat, key: ..}",
            "{name: chat, key: ..data}",
            "{name: chat, key: a b}",
            "{name: chat, key: [a]}",
            "{name: chat, key: a, optional: true}",
            "[name, key]",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert!(read(&format!("{{name: {}, key: a}}", "n".repeat(254))).is_none());
    }
}

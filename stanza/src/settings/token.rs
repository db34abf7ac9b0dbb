//! What `identity.jwt` checks tokens with, as the settings hold it.

use serde_json::Value as Json;

use super::Jwt;
use crate::field::Field;
use crate::node::Node;

impl Jwt {
    /// A secret that can be guessed lets everyone in who does.
    pub fn weak_secret(&self) -> Option<String> {
        const ENOUGH: usize = 32;
        let length = self.secret.as_ref()?.expose().len();
        (length < ENOUGH).then(|| {
            format!(
                "has {length} bytes, which can be guessed: RFC 7518 §3.2 asks for {ENOUGH} random ones or more \
                 (openssl rand -base64 32)"
            )
        })
    }
}

/// A JSON Web Key Set as it stands; the gateway parses the keys.
#[derive(Clone, Debug, PartialEq)]
pub struct KeySet(pub Json);

impl Field for KeySet {
    const ALLOWED: &'static str = "a JSON Web Key Set: {keys: [...]}";

    /// A map, or the JSON text of one: flags and environment variables have no maps.
    fn read(node: &Node) -> Option<Self> {
        let set = match node.as_text() {
            Some(text) => serde_json::from_str(text).ok()?,
            None => node.to_json(),
        };
        set.get("keys")
            .is_some_and(Json::is_array)
            .then_some(Self(set))
    }

    fn to_json(&self) -> Json {
        self.0.clone()
    }
}

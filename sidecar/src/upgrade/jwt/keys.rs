//! The keys that tokens are checked with: a shared secret, or the usable ones of a JSON Web Key
//! Set (RFC 7517).

use anyhow::{Context, bail};
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use serde_json::Value as Json;
use tracing::debug;

use super::crypto;

/// Every key of a set may be tried on a token that names none.
const MOST_KEYS: usize = 100;

/// Keys that can verify, and nothing else: each with the algorithms that it may be used with.
pub struct Keys(Vec<Key>);

struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    decoding: DecodingKey,
}

impl Keys {
    pub(super) fn secret(secret: &str) -> Self {
        crypto::install();
        Self(vec![Key {
            id: None,
            algorithms: AlgorithmFamily::Hmac.algorithms().to_vec(),
            decoding: DecodingKey::from_secret(secret.as_bytes()),
        }])
    }

    /// The text of a key set.
    pub fn parse(text: &[u8]) -> anyhow::Result<Self> {
        let set = serde_json::from_slice(text).context("it is not JSON")?;
        Self::from_json(&set)
    }

    /// RFC 7517 §5: what cannot be used is left out, and the rest of the set counts.
    pub(super) fn from_json(set: &Json) -> anyhow::Result<Self> {
        let Some(keys) = set.get("keys").and_then(Json::as_array) else {
            bail!("it is no JSON Web Key Set: expected {{\"keys\": [...]}}");
        };
        if keys.len() > MOST_KEYS {
            bail!("it has {} keys; expected {MOST_KEYS} at most", keys.len());
        }
        crypto::install();
        let mut usable = Vec::new();
        for (index, jwk) in keys.iter().enumerate() {
            match Key::read(jwk) {
                Ok(key) => usable.push(key),
                Err(why) => debug!(index, why, "a key of the set is left out"),
            }
        }
        Ok(Self(usable))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The keys for a token: those with its id, or all where it names none, as far as they may be
    /// used with its algorithm. So a public key never serves as an HMAC secret.
    pub(super) fn candidates(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
    ) -> impl Iterator<Item = &DecodingKey> {
        let fits = move |key: &&Key| {
            key.algorithms.contains(&algorithm) && id.is_none_or(|id| key.has_id(id))
        };
        self.0.iter().filter(fits).map(|key| &key.decoding)
    }

    /// Whether one has this id. A shared secret has every one.
    pub(super) fn has_id(&self, id: &str) -> bool {
        self.0.iter().any(|key| key.has_id(id))
    }
}

impl Key {
    fn has_id(&self, id: &str) -> bool {
        match &self.id {
            Some(own) => own == id,
            None => self.decoding.family() == AlgorithmFamily::Hmac,
        }
    }

    fn read(jwk: &Json) -> Result<Self, &'static str> {
        let jwk: Jwk = serde_json::from_value(jwk.clone()).map_err(|_| "it is malformed")?;
        let common = &jwk.common;
        // RFC 7517 §4.2, §4.3: what a key is for.
        if let Some(purpose) = &common.public_key_use
            && *purpose != PublicKeyUse::Signature
        {
            return Err("its use is not sig");
        }
        if let Some(operations) = &common.key_operations
            && !operations.contains(&KeyOperations::Verify)
        {
            return Err("its key_ops have no verify");
        }
        let mut algorithms = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => AlgorithmFamily::Rsa.algorithms().to_vec(),
            AlgorithmParameters::EllipticCurve(key) => match key.curve {
                EllipticCurve::P256 => vec![Algorithm::ES256],
                EllipticCurve::P384 => vec![Algorithm::ES384],
                _ => return Err("its curve is not P-256 or P-384"),
            },
            AlgorithmParameters::OctetKeyPair(key) => match key.curve {
                EllipticCurve::Ed25519 => vec![Algorithm::EdDSA],
                _ => return Err("its curve is not Ed25519"),
            },
            AlgorithmParameters::OctetKey(_) => return Err("it is a secret, and a set is public"),
            _ => return Err("its kind is not known here"),
        };
        // RFC 7517 §4.4: then it is for that one alone.
        if let Some(only) = common.key_algorithm {
            algorithms.retain(|algorithm| KeyAlgorithm::from(*algorithm) == only);
        }
        if algorithms.is_empty() {
            return Err("its alg is not one of its kind, or not known here");
        }
        let key = DecodingKey::from_jwk(&jwk).map_err(|_| "it is not base64url")?;
        Ok(Self {
            id: jwk.common.key_id,
            decoding: of_its_length(key, &algorithms)?,
            algorithms,
        })
    }
}

/// A key whose length its algorithm allows; RFC 7518 §3.3 asks for 2048 bits of RSA.
fn of_its_length(key: DecodingKey, algorithms: &[Algorithm]) -> Result<DecodingKey, &'static str> {
    let wrong = "its length is not one of its kind; RSA keys have 2048 to 8192 bits";
    match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, e } => {
            // RFC 7518 §6.3.1.1: some libraries put a zero in front.
            let trimmed = |bytes: &[u8]| {
                let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
                bytes[zeros..].to_vec()
            };
            let (n, e) = (trimmed(n), trimmed(e));
            let fits = (256..=1024).contains(&n.len()) && !e.is_empty();
            let key = fits.then(|| DecodingKey::from_rsa_raw_components(&n, &e));
            key.ok_or(wrong)
        }
        DecodingKeyKind::SecretOrDer(bytes) => {
            let expected = match algorithms {
                [Algorithm::ES256] => 1 + 2 * 32,
                [Algorithm::ES384] => 1 + 2 * 48,
                _ => 32,
            };
            let fits = bytes.len() == expected;
            if fits { Ok(key) } else { Err(wrong) }
        }
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

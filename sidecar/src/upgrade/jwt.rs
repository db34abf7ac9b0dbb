//! `identity.jwt`: a token in a cookie or in `Authorization: Bearer` names the user (Bodhi's
//! `ID_TOKEN` with `preferred_username`).

use anyhow::{Context, bail};
use http::{HeaderMap, header};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::Value as Json;
use stanza::settings;

use super::identify::cookie;

#[derive(Debug)]
pub(crate) struct Verifier {
    keys: Keys,
    settings: settings::Jwt,
}

enum Keys {
    Secret(DecodingKey),
    Set(JwkSet),
}

impl Verifier {
    /// `None`: no key is configured, so no token is looked at.
    pub(crate) fn new(settings: &settings::Jwt) -> anyhow::Result<Option<Self>> {
        let keys = match (&settings.secret, &settings.jwks, &settings.jwks_file) {
            (Some(secret), None, None) => {
                Keys::Secret(DecodingKey::from_secret(secret.expose().as_bytes()))
            }
            (None, Some(set), None) => Keys::Set(
                serde_json::from_value(set.0.clone())
                    .context("identity.jwt.jwks is no JSON Web Key Set")?,
            ),
            (None, None, Some(file)) => {
                let text = std::fs::read_to_string(file)
                    .with_context(|| format!("identity.jwt.jwksFile: {file}"))?;
                let set = serde_json::from_str(&text);
                Keys::Set(set.with_context(|| {
                    format!("identity.jwt.jwksFile: {file} is no JSON Web Key Set")
                })?)
            }
            (None, None, None) if settings.required => {
                bail!("identity.jwt.required needs one of identity.jwt.secret, jwks and jwksFile")
            }
            (None, None, None) => return Ok(None),
            _ => bail!("identity.jwt: expected one of secret, jwks and jwksFile, found several"),
        };
        Ok(Some(Self {
            keys,
            settings: settings.clone(),
        }))
    }

    /// The user that a valid token names. `Err`: a token is required and there is no valid one.
    pub(crate) fn user(&self, headers: &HeaderMap) -> Result<Option<String>, String> {
        let found = bearer(headers).or_else(|| cookie(headers, &self.settings.cookie));
        let user = match found {
            Some(token) => self
                .verify(token)
                .map_err(|error| format!("the token is not valid: {error}")),
            None => Err("expected a token".to_owned()),
        };
        match user {
            Ok(user) => Ok(Some(user)),
            Err(why) if self.settings.required => Err(why),
            Err(_) => Ok(None),
        }
    }

    fn verify(&self, token: &str) -> Result<String, String> {
        let header = decode_header(token).map_err(|error| error.to_string())?;
        let key = self
            .keys
            .find(header.alg, header.kid.as_deref())
            .ok_or("no key fits it")?;
        let mut validation = Validation::new(header.alg);
        validation.validate_nbf = true;
        if let Some(issuer) = &self.settings.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        match &self.settings.audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                validation.required_spec_claims.insert("aud".to_owned());
            }
            None => validation.validate_aud = false,
        }
        let claims = decode::<Json>(token, &key, &validation)
            .map_err(|error| error.to_string())?
            .claims;
        let claim = &self.settings.claim;
        claims[claim]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| format!("it has no claim {claim}"))
    }
}

impl Keys {
    /// The key for a token, by its id. The algorithm has to be one of the key's own kind: a
    /// public key must never serve as an HMAC secret.
    fn find(&self, algorithm: Algorithm, id: Option<&str>) -> Option<DecodingKey> {
        let symmetric = matches!(
            algorithm,
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512
        );
        match self {
            Self::Secret(key) => symmetric.then(|| key.clone()),
            Self::Set(_) if symmetric => None,
            Self::Set(set) => {
                let fits = |jwk: &&Jwk| match id {
                    Some(id) => jwk.common.key_id.as_deref() == Some(id),
                    None => set.keys.len() == 1,
                };
                DecodingKey::from_jwk(set.keys.iter().find(fits)?).ok()
            }
        }
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Secret(_) => "Secret(…)",
            Self::Set(_) => "Set(…)",
        })
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{EncodingKey, Header, encode};

    const SECRET: &str = "a secret that is long enough";

    fn verifier(yaml: &str) -> Verifier {
        let mut settings = settings::Gateway::default();
        let node = stanza::node::Node::from_yaml(yaml).unwrap();
        for (key, value) in node.entries() {
            settings
                .set(&format!("identity.jwt.{}", key.name), value)
                .unwrap()
                .unwrap();
        }
        Verifier::new(&settings.jwt).unwrap().unwrap()
    }

    fn token(secret: &str, claims: &Json) -> HeaderMap {
        let token = encode(
            &Header::default(),
            claims,
            &EncodingKey::from_secret(secret.as_bytes()),
        )
        .unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, format!("ID_TOKEN={token}").parse().unwrap());
        headers
    }

    #[test]
    fn a_valid_token_names_the_user_and_any_other_does_not() {
        let verifier = verifier(&format!("{{secret: {SECRET}, audience: us}}"));
        let claims =
            serde_json::json!({"preferred_username": "ann", "exp": 4_000_000_000_u64, "aud": "us"});
        assert_eq!(
            verifier.user(&token(SECRET, &claims)),
            Ok(Some("ann".to_owned()))
        );
        assert_eq!(verifier.user(&token("another secret", &claims)), Ok(None));
        let expired =
            serde_json::json!({"preferred_username": "ann", "exp": 1_000_000_000, "aud": "us"});
        assert_eq!(verifier.user(&token(SECRET, &expired)), Ok(None));
        let elsewhere = serde_json::json!({"preferred_username": "ann", "exp": 4_000_000_000_u64, "aud": "them"});
        assert_eq!(verifier.user(&token(SECRET, &elsewhere)), Ok(None));
        assert_eq!(verifier.user(&HeaderMap::new()), Ok(None));
    }

    #[test]
    fn where_it_is_required_its_absence_is_an_error() {
        let verifier = verifier(&format!("{{secret: {SECRET}, required: true}}"));
        assert!(verifier.user(&HeaderMap::new()).is_err());
    }
}

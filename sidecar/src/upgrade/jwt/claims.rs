//! One token against the keys and the settings (RFC 7519, RFC 8725): whom it names, until when.

use std::collections::HashMap;

use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use serde_json::value::RawValue;
use stanza::settings;

use super::keys::Keys;

/// What a valid token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    pub user: String,
    /// What its claim `namespace` says, for `identity.namespaces: hook`.
    pub namespace: Option<String>,
    /// In seconds since 1970, leeway and all: from then on the token is worth nothing.
    pub expires: u64,
}

/// Why a token names nobody. None of it is the token's own text: it may be logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// Newer keys may know better.
    NoKey,
    Because(String),
}

const NAMESPACE: &str = "namespace";

/// As they stand: a number keeps all its digits.
type Claims = HashMap<String, Box<RawValue>>;

/// Whom this token names, by these keys.
pub fn check(token: &[u8], keys: &Keys, settings: &settings::Jwt) -> Result<Claimed, Invalid> {
    let header = decode_header(token).map_err(|error| because(&error))?;
    // RFC 7515 §4.1.11: whoever does not understand all of it has to refuse; we understand none.
    if header.crit.is_some() {
        let why = "its crit asks for an extension that is not known here";
        return Err(Invalid::Because(why.to_owned()));
    }
    let claims = verified(token, &header, keys, settings)?;
    let user = name(&claims, &settings.claim).map_err(Invalid::Because)?;
    let namespace = name(&claims, NAMESPACE).ok();
    let exp = claims.get("exp").and_then(|exp| seconds(exp.get()));
    let Some(exp) = exp else {
        return Err(Invalid::Because("its exp is no time".to_owned()));
    };
    Ok(Claimed {
        user,
        namespace,
        expires: exp.saturating_add(settings.leeway.0.as_secs()),
    })
}

/// The claims, once a key fits the signature and the times, issuer and audience are right.
fn verified(
    token: &[u8],
    header: &Header,
    keys: &Keys,
    settings: &settings::Jwt,
) -> Result<Claims, Invalid> {
    let validation = validation(header.alg, settings);
    let try_with = |key: &DecodingKey| decode::<Claims>(token, key, &validation);
    let mut tried = None;
    for key in keys.candidates(header.alg, header.kid.as_deref()) {
        match try_with(key) {
            Ok(decoded) => return Ok(decoded.claims),
            Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => {
                tried = Some(error);
            }
            Err(error) => return Err(because(&error)),
        }
    }
    match (tried, header.kid.as_deref()) {
        (Some(error), Some(_)) => Err(because(&error)),
        (None, Some(id)) if keys.has_id(id) => {
            let why = "its alg is not one that the key of its kid is for";
            Err(Invalid::Because(why.to_owned()))
        }
        _ => Err(Invalid::NoKey),
    }
}

fn validation(algorithm: Algorithm, settings: &settings::Jwt) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.validate_nbf = true;
    validation.leeway = settings.leeway.0.as_secs();
    if let Some(issuer) = &settings.issuer {
        validation.set_issuer(&[issuer]);
        validation.required_spec_claims.insert("iss".to_owned());
    }
    match &settings.audience {
        Some(audience) => {
            validation.set_audience(&[audience]);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        None => validation.validate_aud = false,
    }
    validation
}

/// A text, or a number as it is written. An empty one is nobody's name.
fn name(claims: &Claims, claim: &str) -> Result<String, String> {
    let raw = claims.get(claim).map(|value| value.get());
    let raw = raw.ok_or_else(|| format!("it has no claim {claim}"))?;
    let name = match raw.as_bytes().first() {
        Some(b'"') => serde_json::from_str(raw).map_err(|_| "its claims are malformed")?,
        Some(b'-' | b'0'..=b'9') => raw.to_owned(),
        _ => {
            return Err(format!(
                "its claim {claim} is neither a string nor a number"
            ));
        }
    };
    if name.trim().is_empty() {
        return Err(format!("its claim {claim} is empty"));
    }
    Ok(name)
}

/// RFC 7519 §2, NumericDate: it may have a fraction.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is out of range becomes the end of the range"
)]
fn seconds(raw: &str) -> Option<u64> {
    let whole = raw.parse::<u64>().ok();
    whole.or_else(|| Some(raw.parse::<f64>().ok()?.round() as u64))
}

fn because(error: &Error) -> Invalid {
    let why = match error.kind() {
        ErrorKind::InvalidSignature => "its signature is wrong",
        ErrorKind::ExpiredSignature => "it has expired",
        ErrorKind::ImmatureSignature => "it is not valid yet",
        ErrorKind::InvalidIssuer => "its iss is not identity.jwt.issuer",
        ErrorKind::InvalidAudience => "its aud has no identity.jwt.audience",
        ErrorKind::MissingRequiredClaim(claim) => {
            return Invalid::Because(format!("it has no claim {claim}, or a malformed one"));
        }
        ErrorKind::InvalidClaimFormat(claim) => {
            return Invalid::Because(format!("its claim {claim} is malformed"));
        }
        _ => "it is malformed, or its alg is not one that is known here",
    };
    Invalid::Because(why.to_owned())
}

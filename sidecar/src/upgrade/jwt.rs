//! `identity.jwt`: a token names the user (Bodhi's `ID_TOKEN` with `preferred_username`).

pub mod carried;
mod claims;
mod crypto;
mod fetch;
mod keeper;
pub mod keys;

use std::sync::Arc;

use anyhow::{Context, bail};
use http::Request;
use stanza::settings;
use tracing::debug;

use crate::metrics::{Metrics, TokenResult};
pub use claims::{Claimed, Invalid, check};
pub(crate) use keeper::Keeper;
use keeper::{Keyring, Source};
use keys::Keys;

#[derive(Debug)]
pub(crate) struct Verifier {
    keyring: Keyring,
    settings: settings::Jwt,
}

/// Why a client is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A token is required, and there is no valid one.
    Unauthorized(String),
    /// It brings a token, and there are no keys yet.
    NoKeysYet,
}

impl Verifier {
    /// `None`: no key is configured, so no token is looked at. The keeper, where there is one, has
    /// to run.
    pub(crate) fn new(settings: &settings::Jwt) -> anyhow::Result<Option<(Self, Option<Keeper>)>> {
        let Some((keyring, keeper)) = keyring(settings)? else {
            if settings.required {
                bail!(
                    "identity.jwt.required needs one of identity.jwt.secret, jwks, jwksFile and jwksUrl"
                );
            }
            return Ok(None);
        };
        if settings.from.is_empty() {
            bail!("identity.jwt.from is empty; expected header, cookie, query or subprotocol");
        }
        let verifier = Self {
            keyring,
            settings: settings.clone(),
        };
        Ok(Some((verifier, keeper)))
    }

    /// What a valid token claims. Takes the token out of where it should not be seen.
    pub(crate) async fn user<B>(
        &self,
        request: &mut Request<B>,
        metrics: &Metrics,
    ) -> Result<Option<Claimed>, Refusal> {
        let Some(token) = carried::take(request, &self.settings) else {
            metrics.token(TokenResult::None);
            return self.nobody("expected a token".to_owned());
        };
        let Some(keys) = self.keyring.keys() else {
            metrics.token(TokenResult::NoKeys);
            return Err(Refusal::NoKeysYet);
        };
        match self.check(&token, &keys).await {
            Ok(claimed) => {
                metrics.token(TokenResult::Valid);
                Ok(Some(claimed))
            }
            Err(invalid) => {
                metrics.token(TokenResult::Invalid);
                let why = match invalid {
                    Invalid::NoKey => "no key fits it",
                    Invalid::Because(ref why) => why,
                };
                debug!(why, "a token is not valid");
                self.nobody(format!("the token is not valid: {why}"))
            }
        }
    }

    fn nobody(&self, why: String) -> Result<Option<Claimed>, Refusal> {
        if self.settings.required {
            return Err(Refusal::Unauthorized(why));
        }
        Ok(None)
    }

    async fn check(&self, token: &[u8], keys: &Arc<Keys>) -> Result<Claimed, Invalid> {
        let checked = claims::check(token, keys, &self.settings);
        if checked == Err(Invalid::NoKey)
            && let Some(newer) = self.keyring.newer_than(keys).await
        {
            return claims::check(token, &newer, &self.settings);
        }
        checked
    }
}

fn keyring(settings: &settings::Jwt) -> anyhow::Result<Option<(Keyring, Option<Keeper>)>> {
    let sources = (
        &settings.secret,
        &settings.jwks,
        &settings.jwks_file,
        &settings.jwks_url,
    );
    let keyring = match sources {
        (None, None, None, None) => return Ok(None),
        (Some(secret), None, None, None) => (Keyring::fixed(Keys::secret(secret.expose())), None),
        (None, Some(set), None, None) => {
            let keys = Keys::from_json(&set.0).context("identity.jwt.jwks")?;
            keeper::warn_of_none(&keys);
            (Keyring::fixed(keys), None)
        }
        (None, None, Some(file), None) => {
            let made = Keeper::new(Source::File(file.into()), settings);
            let (keyring, keeper) =
                made.with_context(|| format!("identity.jwt.jwksFile: {file}"))?;
            (keyring, Some(keeper))
        }
        (None, None, None, Some(url)) => {
            let fetcher = fetch::Fetcher::new(url.as_str(), settings);
            let fetcher = fetcher.context("identity.jwt.jwksUrl")?;
            let source = Source::Url(url.as_str().to_owned(), Box::new(fetcher));
            let (keyring, keeper) = Keeper::new(source, settings)?;
            (keyring, Some(keeper))
        }
        _ => {
            bail!("identity.jwt: expected one of secret, jwks, jwksFile and jwksUrl, found several")
        }
    };
    Ok(Some(keyring))
}

//! The operator's own Secret: the key of the webhook's paths and, where nobody else makes its
//! certificates, the operator's certificate authorities.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::PostParams;
use time::OffsetDateTime;
use tracing::info;

use super::Lifetimes;
use super::authority::{self, Authorities, Signed};
use crate::names;
use crate::webhook::door::Key;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read or write the Secret {name}")]
    Secret { name: String, source: kube::Error },
    #[error("cannot make certificates")]
    Authority(#[from] authority::Error),
    #[error("cannot make a random number")]
    Random,
}

/// Of several replicas one writes, all read.
pub struct Safe {
    pub secrets: Api<Secret>,
    pub name: String,
    /// The Helm release that has the Secret, and its namespace.
    pub release: Option<(String, String)>,
}

/// How we make certificates.
pub struct Own {
    pub lifetimes: Lifetimes,
}

type Data = BTreeMap<String, ByteString>;

impl Safe {
    /// The key of the webhook's paths.
    pub async fn key(&self) -> Result<Key, Error> {
        self.tended(|data| {
            let present = data.get(Key::NAME).and_then(Key::load);
            let key = match present {
                Some(key) => key,
                None => Key::generate().map_err(|_| Error::Random)?,
            };
            data.insert(Key::NAME.to_owned(), key.store());
            Ok(key)
        })
        .await
    }

    /// The CAs as they should be now.
    pub async fn authorities(&self, own: &Own, now: OffsetDateTime) -> Result<Authorities, Error> {
        let lifetime = own.lifetimes.authority;
        self.tended(|data| {
            let tended = match Authorities::from_data(data) {
                Ok(present) => present.tended(lifetime, now)?,
                Err(_) => Authorities::new(lifetime, now)?,
            };
            tended.put(data);
            Ok(tended)
        })
        .await
    }

    /// What `tend` takes from the Secret's data, once the Secret has them as `tend` leaves them. A
    /// Secret that is missing is made: not everybody who installs a chart makes all of it.
    async fn tended<T>(
        &self,
        mut tend: impl FnMut(&mut Data) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let failed = |source| Error::Secret {
            name: self.name.clone(),
            source,
        };
        loop {
            let found = self.secrets.get_opt(&self.name).await.map_err(failed)?;
            let missing = found.is_none();
            let mut secret = found.unwrap_or_else(|| self.empty());
            let before = secret.data.clone().unwrap_or_default();
            let mut data = before.clone();
            let taken = tend(&mut data)?;
            if data == before {
                return Ok(taken);
            }
            secret.data = Some(data);
            let params = PostParams::default();
            let written = if missing {
                self.secrets.create(&params, &secret).await
            } else {
                // With the resourceVersion that was read, so that of two writers one fails.
                self.secrets.replace(&self.name, &params, &secret).await
            };
            match written {
                Ok(_) => {
                    info!(secret = self.name, missing, "the operator's Secret written");
                    return Ok(taken);
                }
                // Another replica was first: read what it wrote.
                Err(kube::Error::Api(error)) if error.code == 409 => {}
                Err(source) => return Err(failed(source)),
            }
        }
    }

    /// As Helm would have made it: it takes over what says that it is the release's.
    fn labels(&self) -> BTreeMap<String, String> {
        match self.release {
            Some(_) => BTreeMap::from([(names::MANAGED_BY.to_owned(), "Helm".to_owned())]),
            None => names::managed(),
        }
    }

    fn annotations(&self) -> Option<BTreeMap<String, String>> {
        let (name, namespace) = self.release.clone()?;
        Some(BTreeMap::from([
            ("meta.helm.sh/release-name".to_owned(), name),
            ("meta.helm.sh/release-namespace".to_owned(), namespace),
        ]))
    }

    fn empty(&self) -> Secret {
        Secret {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                labels: Some(self.labels()),
                annotations: self.annotations(),
                ..ObjectMeta::default()
            },
            type_: Some("Opaque".to_owned()),
            ..Secret::default()
        }
    }
}

impl Own {
    pub fn sign(
        &self,
        authorities: &Authorities,
        names: &[String],
        now: OffsetDateTime,
    ) -> Result<Signed, Error> {
        Ok(authorities.signing.sign(names, self.lifetimes.leaf, now)?)
    }
}

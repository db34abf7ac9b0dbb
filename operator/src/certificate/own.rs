//! The operator as its own certificate authority, kept in a Secret.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use time::OffsetDateTime;
use tracing::info;

use super::Lifetimes;
use super::authority::{self, Authorities, Signed};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read or write the Secret {name}")]
    Secret { name: String, source: kube::Error },
    #[error("cannot make certificates")]
    Authority(#[from] authority::Error),
}

pub struct Own {
    pub secrets: Api<Secret>,
    pub secret: String,
    pub lifetimes: Lifetimes,
}

impl Own {
    /// The Secret's CAs as they should be now; of several replicas one writes, all read. The
    /// Secret itself is there from the start, empty: whoever installs us also removes it.
    pub async fn authorities(&self, now: OffsetDateTime) -> Result<Authorities, Error> {
        let failed = |source| Error::Secret {
            name: self.secret.clone(),
            source,
        };
        loop {
            let mut secret = self.secrets.get(&self.secret).await.map_err(failed)?;
            let data = secret.data.take().unwrap_or_default();
            let lifetime = self.lifetimes.authority;
            let present = Authorities::from_data(&data).ok();
            let tended = match &present {
                Some(present) => present.tended(lifetime, now)?,
                None => Authorities::new(lifetime, now)?,
            };
            if present.as_ref() == Some(&tended) {
                return Ok(tended);
            }
            secret.data = Some(tended.to_data());
            // With the resourceVersion that was read, so that of two writers one fails.
            let written = self
                .secrets
                .replace(&self.secret, &PostParams::default(), &secret)
                .await;
            match written {
                Ok(_) => {
                    info!(secret = self.secret, "certificate authorities written");
                    return Ok(tended);
                }
                // Another replica was first: read what it wrote.
                Err(kube::Error::Api(error)) if error.code == 409 => {}
                Err(source) => return Err(failed(source)),
            }
        }
    }

    pub fn sign(
        &self,
        authorities: &Authorities,
        names: &[String],
        now: OffsetDateTime,
    ) -> Result<Signed, Error> {
        Ok(authorities.signing.sign(names, self.lifetimes.leaf, now)?)
    }
}

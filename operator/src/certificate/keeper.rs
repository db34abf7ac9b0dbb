//! Keeps the CA's Secret, the served leaf and the webhook configuration's caBundle in step.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use time::OffsetDateTime;
use tokio::sync::watch;
use tracing::{info, warn};

use super::Lifetimes;
use super::authority::{self, Authorities};
use super::entrances::Entrances;
use super::leaf::Leaf;
use crate::cluster::chain;
use crate::names;

/// The shortest and the longest pause between two looks.
const SOONEST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(15);
/// The pause is so small a part of the shortest lifetime that no step is missed.
const LOOKS: u32 = 20;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot read or write the Secret {name}")]
    Secret { name: String, source: kube::Error },
    #[error("cannot read or write the webhook configuration {name}")]
    Configuration { name: String, source: kube::Error },
    #[error("cannot make certificates")]
    Authority(#[from] authority::Error),
}

pub struct Keeper {
    secrets: Api<Secret>,
    secret: String,
    configurations: Api<MutatingWebhookConfiguration>,
    configuration: String,
    /// The names that the API server calls the webhook by.
    names: Vec<String>,
    lifetimes: Lifetimes,
    leaf: Arc<Leaf>,
    entrances: Entrances,
    /// Set once the API server has a bundle that vouches for the served leaf.
    trusted: watch::Sender<bool>,
}

/// A leaf certificate in use.
struct Served {
    bundle: String,
    renew: OffsetDateTime,
}

impl Keeper {
    pub fn new(
        client: Client,
        secret: &str,
        configuration: &str,
        lifetimes: Lifetimes,
        leaf: Arc<Leaf>,
        entrances: Entrances,
    ) -> Self {
        let Entrances {
            namespace, service, ..
        } = &entrances;
        Self {
            secrets: Api::namespaced(client.clone(), namespace),
            secret: secret.to_owned(),
            configurations: Api::all(client),
            configuration: configuration.to_owned(),
            names: vec![
                format!("{service}.{namespace}.svc"),
                format!("{service}.{namespace}.svc.cluster.local"),
            ],
            lifetimes,
            leaf,
            entrances,
            trusted: watch::Sender::new(false),
        }
    }

    pub fn trusted(&self) -> watch::Receiver<bool> {
        self.trusted.subscribe()
    }

    /// Works for ever. A failure leaves everything as it is and is tried again.
    pub async fn run(&self) {
        let shortest = self.lifetimes.authority.min(self.lifetimes.leaf);
        let pause = (shortest / LOOKS).clamp(SOONEST, LATEST);
        let mut served = None;
        loop {
            match self.tend(&mut served).await {
                Ok(()) => {
                    self.trusted
                        .send_if_modified(|trusted| !std::mem::replace(trusted, true));
                }
                Err(error) => warn!(error = %chain(&error), "certificates will be looked at again"),
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn tend(&self, served: &mut Option<Served>) -> Result<(), Error> {
        let now = OffsetDateTime::now_utc();
        let authorities = self.authorities(now).await?;
        let bundle = authorities.bundle();
        let due = served
            .as_ref()
            .is_none_or(|served| served.bundle != bundle || now >= served.renew);
        // The bundle before the leaf: what we serve is trusted at every moment.
        self.publish(&bundle).await?;
        let entrances = &self.entrances;
        entrances
            .publish(&bundle)
            .await
            .map_err(|source| Error::Configuration {
                name: entrances.configuration.clone(),
                source,
            })?;
        if due {
            let lifetime = self.lifetimes.leaf;
            let signed = authorities.signing.sign(&self.names, lifetime, now)?;
            let renew = now + (signed.expires - now) * 2 / 3;
            info!(expires = %signed.expires, "serving a new certificate");
            self.leaf.set(signed.key);
            *served = Some(Served { bundle, renew });
        }
        Ok(())
    }

    /// The Secret's CAs as they should be now; of several replicas one writes, all read. The
    /// Secret itself is there from the start, empty: whoever installs us also removes it.
    async fn authorities(&self, now: OffsetDateTime) -> Result<Authorities, Error> {
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

    /// Puts the bundle into each webhook of the configuration: that one field and no other, so
    /// that whoever installs the configuration keeps everything else.
    async fn publish(&self, bundle: &str) -> Result<(), Error> {
        let failed = |source| Error::Configuration {
            name: self.configuration.clone(),
            source,
        };
        let found = self
            .configurations
            .get(&self.configuration)
            .await
            .map_err(failed)?;
        let webhooks = found.webhooks.unwrap_or_default();
        let current = webhooks.iter().all(|webhook| {
            let bytes = webhook.client_config.ca_bundle.as_ref();
            bytes.is_some_and(|bytes| bytes.0 == bundle.as_bytes())
        });
        if current {
            return Ok(());
        }
        let encoded = ByteString(bundle.as_bytes().to_vec());
        let webhooks: Vec<_> = webhooks
            .iter()
            .map(|webhook| json!({"name": webhook.name, "clientConfig": {"caBundle": encoded}}))
            .collect();
        let body = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "webhooks": webhooks,
        });
        let params = PatchParams::apply(names::MANAGER).force();
        self.configurations
            .patch(&self.configuration, &params, &Patch::Apply(&body))
            .await
            .map_err(failed)?;
        info!(configuration = self.configuration, "caBundle written");
        Ok(())
    }
}

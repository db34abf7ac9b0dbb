//! Keeps the served leaf and the webhook configurations' caBundle in step: with certificates of
//! our own, or with files that others write.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use tokio::sync::watch;
use tracing::{info, warn};

use super::bundle::{self, Bundle};
use super::configuration::{Configuration, Present};
use super::entrances::Entrances;
use super::files::{self, Files};
use super::leaf::Leaf;
use super::own::{self, Own};
use crate::cluster::chain;
use crate::metrics::{Certificate, Metrics};

/// The shortest and the longest pause between two looks.
const SOONEST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(15);
/// The pause is so small a part of the shortest lifetime that no step is missed.
const LOOKS: u32 = 20;
/// Between two looks at files.
const LOOK: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot read or write the webhook configuration {name}")]
    Configuration { name: String, source: kube::Error },
    #[error(transparent)]
    Own(#[from] own::Error),
    #[error("the certificate of before is served on")]
    Files(#[from] files::Error),
    #[error(
        "the webhook configuration {name} has another caBundle than ca.crt: whoever injects it has not done so yet"
    )]
    NotInjected { name: String },
}

/// Where certificates come from.
pub enum Origin {
    Own(Box<Own>),
    Files(Files),
}

pub struct Keeper {
    pub origin: Origin,
    pub configuration: Configuration,
    pub entrances: Entrances,
    pub leaf: Arc<Leaf>,
    pub metrics: Metrics,
    /// Set once the API server has a bundle that vouches for the served leaf.
    pub trusted: watch::Sender<bool>,
}

/// What is remembered from one look to the next.
#[derive(Default)]
struct Memory {
    bundle: Bundle,
    served: Option<Served>,
}

/// A leaf certificate in use.
enum Served {
    Own {
        authorities: Vec<CertificateDer<'static>>,
        renew: OffsetDateTime,
    },
    File {
        chain: Vec<CertificateDer<'static>>,
        authorities: Vec<CertificateDer<'static>>,
    },
}

impl Keeper {
    pub fn trusted(&self) -> watch::Receiver<bool> {
        self.trusted.subscribe()
    }

    /// Works for ever. A failure leaves everything as it is and is tried again.
    pub async fn run(&self) {
        let pause = match &self.origin {
            Origin::Own(own) => {
                let lifetimes = &own.lifetimes;
                let shortest = lifetimes.authority.min(lifetimes.leaf);
                (shortest / LOOKS).clamp(SOONEST, LATEST)
            }
            Origin::Files(_) => LOOK,
        };
        let mut memory = Memory::default();
        let mut said = String::new();
        loop {
            let outcome = match &self.origin {
                Origin::Own(own) => self.tend_own(own, &mut memory).await,
                Origin::Files(files) => self.tend_files(files, &mut memory).await,
            };
            match outcome {
                Ok(()) => {
                    said.clear();
                    self.trusted
                        .send_if_modified(|trusted| !std::mem::replace(trusted, true));
                }
                Err(error) => {
                    let words = chain(&error);
                    // Once: files may be wrong until somebody comes.
                    if words != said {
                        warn!(error = words, "certificates will be looked at again");
                        said = words;
                    }
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn tend_own(&self, own: &Own, memory: &mut Memory) -> Result<(), Error> {
        let now = OffsetDateTime::now_utc();
        let signing = own.authorities(now).await?;
        let authorities = bundle::parse(signing.bundle().as_bytes());
        // The bundle before the leaf: what we serve is trusted at every moment.
        let present = self.present().await?;
        self.publish(&present, &authorities, &mut memory.bundle, now, true)
            .await?;
        self.metrics
            .expires(Certificate::Authority, signing.signing.expires());
        let due = match &memory.served {
            Some(Served::Own {
                authorities: before,
                renew,
            }) => *before != authorities || now >= *renew,
            _ => true,
        };
        if due {
            let signed = own.sign(&signing, &self.entrances.names(), now)?;
            let renew = now + (signed.expires - now) * 2 / 3;
            self.serve(signed.key, signed.expires);
            memory.served = Some(Served::Own { authorities, renew });
        }
        Ok(())
    }

    async fn tend_files(&self, files: &Files, memory: &mut Memory) -> Result<(), Error> {
        let now = OffsetDateTime::now_utc();
        let found = files.read(&self.entrances.names()[0]);
        let authorities = match (&found, &memory.served) {
            (Ok(found), _) => found.authorities.clone(),
            // What is served goes on being vouched for.
            (Err(_), Some(Served::File { authorities, .. })) => authorities.clone(),
            (Err(_), _) => return Ok(found.map(drop)?),
        };
        let present = self.present().await?;
        self.publish(
            &present,
            &authorities,
            &mut memory.bundle,
            now,
            !files.injected,
        )
        .await?;
        if let Some(first) = bundle::expires(&authorities) {
            self.metrics
                .expires(Certificate::Authority, first.unix_timestamp());
        }
        let found = found?;
        let vouched = present.trusts(&authorities);
        match &memory.served {
            Some(Served::File { chain, .. }) if *chain == found.key.cert => {}
            // The API server learns of a new bundle a moment after it is written.
            Some(_) if !vouched => {}
            _ => {
                let chain = found.key.cert.clone();
                self.serve(found.key, found.expires);
                memory.served = Some(Served::File { chain, authorities });
            }
        }
        if files.injected && !vouched {
            let name = self.configuration.name.clone();
            return Err(Error::NotInjected { name });
        }
        Ok(())
    }

    fn serve(&self, key: rustls::sign::CertifiedKey, expires: OffsetDateTime) {
        info!(%expires, "serving a new certificate");
        self.leaf.set(key);
        self.metrics
            .expires(Certificate::Leaf, expires.unix_timestamp());
    }

    async fn present(&self) -> Result<Present, Error> {
        let name = &self.configuration.name;
        self.configuration
            .read()
            .await
            .map_err(|source| failed(name, source))
    }

    /// `both`: the installed configuration is ours to keep, beside that for routed namespaces.
    async fn publish(
        &self,
        present: &Present,
        authorities: &[CertificateDer<'static>],
        bundle: &mut Bundle,
        now: OffsetDateTime,
        both: bool,
    ) -> Result<(), Error> {
        let wanted = bundle.merged(authorities, &present.certificates(), now);
        if both {
            let Configuration { name, .. } = &self.configuration;
            let written = self.configuration.write(present, &wanted).await;
            written.map_err(|source| failed(name, source))?;
        }
        let Entrances { configuration, .. } = &self.entrances;
        let written = self.entrances.publish(&bundle::to_pem(&wanted)).await;
        written.map_err(|source| failed(configuration, source))
    }
}

fn failed(name: &str, source: kube::Error) -> Error {
    let name = name.to_owned();
    Error::Configuration { name, source }
}

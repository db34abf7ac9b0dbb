//! Keeps the served leaf and the webhook configurations' caBundle in step, with certificates of our
//! own or with files that others write; and the paths in them with those that the webhook answers to.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use super::bundle::{self, Bundle};
use super::configuration::{Configuration, Present, Way};
use super::entrances::Entrances;
use super::files::{self, Files};
use super::leaf::Leaf;
use super::own::{self, Own, Safe};
use crate::cluster::chain;
use crate::metrics::{Certificate, Metrics};
use crate::webhook::door::{Door, Key};

/// The shortest and the longest pause between two looks.
const SOONEST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(15);
/// The pause is so small a part of the shortest lifetime that no step is missed.
const LOOKS: u32 = 20;
/// Between two looks at files.
const LOOK: Duration = Duration::from_secs(5);
/// How long until every replica has seen what is in the Secret.
const LEARNT: Duration = Duration::from_secs(2 * LATEST.as_secs());

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot read or write the webhook configuration {name}")]
    Configuration { name: String, source: kube::Error },
    /// No fault: what was just read is not what is there any more.
    #[error("conflict updating the webhook configuration {name}")]
    Overtaken { name: String },
    #[error(transparent)]
    Own(#[from] own::Error),
    #[error("keeping the previous certificate")]
    Files(#[from] files::Error),
    #[error(
        "the webhook configuration {name} has another caBundle than ca.crt: whoever injects it has not done so yet"
    )]
    NotInjected { name: String },
}

/// Where certificates come from.
pub enum Origin {
    Own(Own),
    Files(Files),
}

pub struct Keeper {
    pub safe: Safe,
    pub origin: Origin,
    pub door: Arc<Door>,
    pub configuration: Configuration,
    pub entrances: Entrances,
    pub leaf: Arc<Leaf>,
    pub metrics: Metrics,
    /// Set once a look has found bundles that vouch for the served leaf, and paths that lead to us.
    pub trusted: watch::Sender<bool>,
}

/// What is remembered from one look to the next.
#[derive(Default)]
struct Memory {
    bundle: Bundle,
    /// The key of the webhook's paths, and when we saw it first.
    key: Option<(Key, Instant)>,
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

struct Looked {
    /// What is served was vouched for before this look: the API server learns of a new bundle a
    /// moment after it is written.
    vouched: bool,
    /// Until the next.
    pause: Duration,
}

impl Looked {
    fn new(vouched: bool, pause: Duration) -> Self {
        let pause = if vouched { pause } else { SOONEST };
        Self { vouched, pause }
    }
}

/// What the API server trusts, and where it asks.
struct Trust {
    installed: Present,
    entrances: Present,
}

impl Trust {
    /// Each once, in their order.
    fn certificates(&self) -> Vec<CertificateDer<'static>> {
        let mut all = Vec::new();
        let both = self.installed.certificates();
        for certificate in both.chain(self.entrances.certificates()) {
            if !all.contains(certificate) {
                all.push(certificate.clone());
            }
        }
        all
    }

    fn paths(&self) -> impl Iterator<Item = &String> {
        self.installed.paths().chain(self.entrances.paths())
    }

    /// Whether it will ask us by that way, and believe that it is us.
    fn vouches(&self, authorities: &[CertificateDer<'static>], way: Way<'_>) -> bool {
        let trusted = self.installed.trusts(authorities) && self.entrances.trusts(authorities);
        trusted && self.installed.is_led(way)
    }
}

impl Keeper {
    pub fn trusted(&self) -> watch::Receiver<bool> {
        self.trusted.subscribe()
    }

    /// Works for ever. A failure leaves everything as it is and is tried again.
    pub async fn run(&self) {
        // Which namespaces are routed is written beside the bundle, and must not shrink because
        // not all is known yet.
        self.entrances.cluster.services.synced().await;
        let mut memory = Memory::default();
        let mut said = String::new();
        let mut pause = SOONEST;
        loop {
            let outcome = match &self.origin {
                Origin::Own(own) => self.tend_own(own, &mut memory).await,
                Origin::Files(files) => self.tend_files(files, &mut memory).await,
            };
            pause = match outcome {
                Ok(looked) => {
                    said.clear();
                    if looked.vouched {
                        self.trusted.send_replace(true);
                    }
                    looked.pause
                }
                Err(Error::Overtaken { .. }) => SOONEST,
                Err(error) => {
                    let words = chain(&error);
                    // Once: files may be wrong until somebody comes.
                    if words != said {
                        warn!(
                            error = words,
                            "certificates could not be checked; trying again"
                        );
                        said = words;
                    }
                    pause
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn tend_own(&self, own: &Own, memory: &mut Memory) -> Result<Looked, Error> {
        let now = OffsetDateTime::now_utc();
        let signing = self.safe.authorities(own, now).await?;
        let authorities = bundle::parse(signing.bundle().as_bytes());
        let trust = self.trust().await?;
        let (key, settled) = self.key(&trust, memory).await?;
        let way = Way { key: &key, settled };
        self.publish(&trust, &authorities, &mut memory.bundle, way, true)
            .await?;
        self.metrics
            .expires(Certificate::Authority, signing.signing.expires());
        let vouched = trust.vouches(&authorities, way);
        let due = match &memory.served {
            Some(Served::Own {
                authorities: before,
                renew,
            }) => vouched && (*before != authorities || now >= *renew),
            _ => true,
        };
        if due {
            let signed = own.sign(&signing, &self.entrances.names(), now)?;
            let renew = now + (signed.expires - now) * 2 / 3;
            self.serve(signed.key, signed.expires);
            memory.served = Some(Served::Own { authorities, renew });
        }
        // The Secret's may be of before, when lifetimes were others.
        let lifetimes = [
            own.lifetimes.authority,
            own.lifetimes.leaf,
            signing.signing.lifetime(),
        ];
        let shortest = lifetimes.into_iter().min().unwrap_or_default();
        Ok(Looked::new(
            vouched,
            (shortest / LOOKS).clamp(SOONEST, LATEST),
        ))
    }

    async fn tend_files(&self, files: &Files, memory: &mut Memory) -> Result<Looked, Error> {
        let served = match &memory.served {
            Some(Served::File { authorities, .. }) => Some(authorities.clone()),
            Some(Served::Own { .. }) | None => None,
        };
        let (found, authorities) = match (files.read(&self.entrances.names()[0]), served) {
            (Ok(found), _) => {
                let authorities = found.authorities.clone();
                (Ok(found), authorities)
            }
            // What is served goes on being vouched for.
            (Err(error), Some(authorities)) => (Err(error), authorities),
            (Err(error), None) => return Err(error.into()),
        };
        let trust = self.trust().await?;
        let (key, settled) = self.key(&trust, memory).await?;
        let way = Way { key: &key, settled };
        let both = !files.injected;
        self.publish(&trust, &authorities, &mut memory.bundle, way, both)
            .await?;
        if let Some(first) = bundle::expires(&authorities) {
            self.metrics
                .expires(Certificate::Authority, first.unix_timestamp());
        }
        let found = found?;
        let vouched = trust.vouches(&authorities, way);
        match &memory.served {
            Some(Served::File { chain, .. }) if *chain == found.key.cert => {}
            Some(_) if !vouched => {}
            _ => {
                let chain = found.key.cert.clone();
                self.serve(found.key, found.expires);
                let authorities = authorities.clone();
                memory.served = Some(Served::File { chain, authorities });
            }
        }
        if files.injected && !trust.installed.trusts(&authorities) {
            let name = self.configuration.name.clone();
            return Err(Error::NotInjected { name });
        }
        Ok(Looked::new(vouched, LOOK))
    }

    fn serve(&self, key: rustls::sign::CertifiedKey, expires: OffsetDateTime) {
        info!(%expires, "serving a new certificate");
        self.leaf.set(key);
        self.metrics
            .expires(Certificate::Leaf, expires.unix_timestamp());
    }

    async fn trust(&self) -> Result<Trust, Error> {
        let read = async |configuration: &Configuration| {
            let read = configuration.read().await;
            read.map_err(|source| failed(configuration, source))
        };
        Ok(Trust {
            installed: read(&self.configuration).await?,
            entrances: read(&self.entrances.configuration).await?,
        })
    }

    /// Opens the webhook to paths of the Secret's key, and to those that the API server has. Paths
    /// of another key, as when the Secret was lost, stay until every replica has had the time to
    /// learn of this one: who does not know it answers 404.
    async fn key(&self, trust: &Trust, memory: &mut Memory) -> Result<(Key, bool), Error> {
        let key = self.safe.key().await?;
        self.door.answer_to(&key, trust.paths().cloned());
        let since = match &memory.key {
            Some((known, since)) if *known == key => *since,
            _ => Instant::now(),
        };
        memory.key = Some((key.clone(), since));
        Ok((key, since.elapsed() >= LEARNT))
    }

    /// `both`: the installed configuration's caBundle is ours to keep, beside that for routed
    /// namespaces.
    async fn publish(
        &self,
        trust: &Trust,
        authorities: &[CertificateDer<'static>],
        bundle: &mut Bundle,
        way: Way<'_>,
        both: bool,
    ) -> Result<(), Error> {
        let now = OffsetDateTime::now_utc();
        let wanted = bundle.merged(authorities, &trust.certificates(), now);
        let Trust {
            installed,
            entrances,
        } = trust;
        let written = if both {
            self.configuration.write(installed, &wanted, way).await
        } else {
            self.configuration.write_paths(installed, way).await
        };
        written.map_err(|source| failed(&self.configuration, source))?;
        let written = self.entrances.publish(entrances, &wanted, way).await;
        written.map_err(|source| failed(&self.entrances.configuration, source))
    }
}

fn failed(configuration: &Configuration, source: kube::Error) -> Error {
    let name = configuration.name.clone();
    match source {
        kube::Error::Api(status) if status.is_conflict() => Error::Overtaken { name },
        source => Error::Configuration { name, source },
    }
}

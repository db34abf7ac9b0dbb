//! Of several replicas one controls: the holder of a Lease. All of them serve admission.
//!
//! A holder that is not heard of for [`LASTS`] has lost it, by the clock of whoever looks on, so
//! that clocks need not agree; and stops before that by its own.

use std::time::Duration;

use k8s_openapi::api::coordination::v1 as api;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::cluster::chain;
use crate::names;

/// How long a holder may be silent.
const LASTS: Duration = Duration::from_secs(10);
/// When a holder that cannot renew stops.
const ENDS: Duration = Duration::from_secs(7);
const LOOKS: Duration = Duration::from_secs(2);

pub struct Lease {
    leases: Api<api::Lease>,
    name: String,
    holder: String,
    leading: watch::Sender<bool>,
    /// Given back for good.
    released: CancellationToken,
}

/// What another holder wrote last, and when we saw it first.
struct Seen {
    renewed: Option<Timestamp>,
    holder: Option<String>,
    at: Instant,
}

impl Lease {
    pub fn new(client: Client, namespace: &str, name: &str, holder: &str) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            name: name.to_owned(),
            holder: holder.to_owned(),
            leading: watch::Sender::new(false),
            released: CancellationToken::new(),
        }
    }

    pub fn leading(&self) -> watch::Receiver<bool> {
        self.leading.subscribe()
    }

    /// Works for ever.
    pub async fn run(&self) {
        let keep = self.keep();
        if self.released.run_until_cancelled(keep).await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    async fn keep(&self) {
        let mut seen = None;
        let mut renewed = Instant::now();
        loop {
            match tokio::time::timeout(LOOKS, self.look(&mut seen)).await {
                Ok(Ok(held)) => {
                    renewed = Instant::now();
                    self.set(held);
                }
                Ok(Err(error)) => {
                    warn!(error = %chain(&error), "the Lease could not be read or written; trying again");
                }
                Err(_) => warn!("the API server did not answer about the Lease"),
            }
            if renewed.elapsed() > ENDS {
                self.set(false);
            }
            tokio::time::sleep(LOOKS).await;
        }
    }

    /// Lets another replica begin at once; this one never again.
    pub async fn release(&self) -> kube::Result<()> {
        self.released.cancel();
        if !self.leading.send_replace(false) {
            return Ok(());
        }
        let Some(mut lease) = self.leases.get_opt(&self.name).await? else {
            return Ok(());
        };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_ref() == Some(&self.holder) {
            spec.holder_identity = None;
            self.write(&lease).await?;
        }
        Ok(())
    }

    /// Whether the Lease is ours now.
    async fn look(&self, seen: &mut Option<Seen>) -> kube::Result<bool> {
        let found = self.leases.get_opt(&self.name).await?;
        let missing = found.is_none();
        let mut lease = found.unwrap_or_else(|| self.empty());
        let spec = lease.spec.get_or_insert_default();
        let ours = spec.holder_identity.as_ref() == Some(&self.holder);
        if !ours && !is_free(spec, seen) {
            return Ok(false);
        }
        let now = MicroTime(Timestamp::now());
        if !ours {
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or_default() + 1);
        }
        spec.holder_identity = Some(self.holder.clone());
        spec.lease_duration_seconds = i32::try_from(LASTS.as_secs()).ok();
        spec.renew_time = Some(now);
        let written = if missing {
            self.create(&lease).await
        } else {
            self.write(&lease).await
        };
        match written {
            // Another replica was first.
            Err(kube::Error::Api(error)) if error.code == 409 => Ok(false),
            outcome => outcome.map(|()| true),
        }
    }

    /// Whoever installs us need not: not everybody who installs a chart makes the Leases in it.
    async fn create(&self, lease: &api::Lease) -> kube::Result<()> {
        let params = PostParams::default();
        self.leases.create(&params, lease).await?;
        info!(name = self.name, "the Lease was missing, and is made");
        Ok(())
    }

    fn empty(&self) -> api::Lease {
        api::Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                labels: Some(names::managed()),
                ..ObjectMeta::default()
            },
            spec: None,
        }
    }

    /// With the resourceVersion that was read, so that of two writers one fails.
    async fn write(&self, lease: &api::Lease) -> kube::Result<()> {
        self.leases
            .replace(&self.name, &PostParams::default(), lease)
            .await
            .map(drop)
    }

    fn set(&self, leading: bool) {
        if self.leading.send_replace(leading) != leading {
            info!(leading, "leadership has changed");
        }
    }
}

fn is_free(spec: &api::LeaseSpec, seen: &mut Option<Seen>) -> bool {
    if spec
        .holder_identity
        .as_deref()
        .unwrap_or_default()
        .is_empty()
    {
        return true;
    }
    let renewed = spec.renew_time.as_ref().map(|time| time.0);
    match seen {
        Some(seen) if seen.renewed == renewed && seen.holder == spec.holder_identity => {
            seen.at.elapsed() > LASTS
        }
        _ => {
            *seen = Some(Seen {
                renewed,
                holder: spec.holder_identity.clone(),
                at: Instant::now(),
            });
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_silent_holder_loses_the_lease_by_our_clock() {
        let spec = |holder: &str, second| api::LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            // Far behind: the holder's clock does not matter.
            renew_time: Some(MicroTime(Timestamp::from_second(second).unwrap())),
            ..api::LeaseSpec::default()
        };
        let mut seen = None;
        assert!(is_free(&api::LeaseSpec::default(), &mut seen));
        assert!(!is_free(&spec("a", 1), &mut seen));
        tokio::time::advance(LASTS).await;
        assert!(!is_free(&spec("a", 2), &mut seen), "renewed");
        tokio::time::advance(LASTS + Duration::from_millis(1)).await;
        assert!(is_free(&spec("a", 2), &mut seen));
        assert!(is_free(&spec("", 2), &mut seen), "given back");
    }
}

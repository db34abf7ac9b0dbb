//! The controller: for one app after the other, dereference -> validate -> plan -> apply ->
//! update_status. One file a step.

mod apply;
mod dereference;
mod due;
mod entrance;
mod obstacle;
mod plan;
mod repairs;
mod retry;
mod roll;
mod service;
mod trigger;
mod triggers;
mod update_status;
mod validate;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::app::AppId;
use crate::cluster::Cluster;
use crate::events::Notices;
use crate::injection::Rules;
use crate::metrics::Metrics;
use crate::queue::Queue;

pub use apply::restart;
pub use entrance::Retarget;
pub use repairs::Repairs;
use retry::Retry;
pub use roll::{Candidate, Next, candidates};
pub use trigger::Trigger;
pub use triggers::Triggers;
pub use update_status::APART;
pub use validate::{Verdict, accept, superseded};

/// How many apps are looked at at once.
const WORKERS: usize = 4;
/// Every app is looked at again after so long, whatever the watches said.
const RESYNC: Duration = Duration::from_mins(10);

pub struct Controller {
    pub client: Client,
    pub cluster: Arc<Cluster>,
    pub queue: Arc<Queue<AppId>>,
    pub rules: Rules,
    pub notices: Notices,
    pub metrics: Metrics,
    pub repairs: Repairs,
    /// The wait before what was refused is tried again; zero: never.
    pub retry_refused: Duration,
    /// Whether new pods reach the webhook.
    pub webhook_up: watch::Receiver<bool>,
}

impl Controller {
    /// Works for ever; everything must be synced before.
    pub async fn run(&self) {
        self.queue
            .work(WORKERS, async |id| self.reconcile(id).await)
            .await;
    }

    async fn reconcile(&self, id: AppId) -> Result<Option<Duration>, apply::Error> {
        let started = Instant::now();
        let outcome = self.look(id).await;
        self.metrics.reconciled(outcome.is_ok(), started.elapsed());
        outcome
    }

    async fn look(&self, id: AppId) -> Result<Option<Duration>, apply::Error> {
        let observed = dereference::dereference(&self.cluster, &id);
        let validated = validate::validate(observed, &self.rules);
        let means = plan::Means {
            expose: self.rules.expose.now(),
            repairs: &self.repairs,
            retry: Retry {
                first: self.retry_refused,
                now: Timestamp::now(),
            },
            webhook_up: *self.webhook_up.borrow(),
            app_protocol: self.rules.app_protocol.as_deref(),
        };
        let plan = plan::plan(validated, &means);
        let mut applied = apply::apply(self, plan).await;
        let (again, failed) = (applied.plan.again, applied.failed.take());
        update_status::update_status(self, applied).await?;
        match failed {
            Some(error) => Err(error),
            None => Ok(again.or(Some(RESYNC))),
        }
    }
}

//! What is due with a workload's pods (pure).

use std::fmt::Write;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use stanza::choice::Rollout;

use super::retry::Retry;
use super::validate::{Assessed, Verdict, Wish};
use crate::cluster::{PodFacts, Progress};
use crate::reason::Reason;
use crate::shape::Gateway;

/// What is due with a workload's pods.
pub(super) struct Due {
    pub(super) reason: Reason,
    /// The hash to reach; `None`: no gateway.
    pub(super) goal: Option<String>,
    pub(super) rollout: Rollout,
    pub(super) pods: usize,
}

impl Due {
    /// Whether the pod is one that has to go.
    pub(super) fn concerns(&self, pod: &PodFacts) -> bool {
        match &pod.shape.gateway {
            Gateway::Ours { hash, .. } => self.goal.as_ref() != Some(hash),
            Gateway::Bare => self.goal.is_some(),
            Gateway::Platform => false,
        }
    }

    pub(super) fn words(&self) -> String {
        let pods = self.pods;
        let noun = if pods == 1 { "pod" } else { "pods" };
        match self.reason {
            Reason::RollStale => format!("{pods} {noun} with settings of before"),
            Reason::RollOutdated => format!("{pods} {noun} with another gateway image"),
            Reason::RollUnwanted => format!("{pods} {noun} with a gateway that nothing asks for"),
            _ => format!("{pods} {noun} without the gateway"),
        }
    }
}

impl Assessed {
    /// What keeps a rollout from its end, where it is the gateway's image.
    pub(super) fn with_cause(&self, verdict: Verdict) -> Verdict {
        let Some(words) = &self.unpulled else {
            return verdict;
        };
        let message = match verdict.reason {
            Reason::PodsNotReady => Reason::GatewayImage.advise(words),
            // Which may name the pod to delete.
            Reason::Rolling | Reason::RolloutFailed => {
                format!(
                    "{}; {}",
                    Reason::GatewayImage.advise(words),
                    verdict.message
                )
            }
            _ => return verdict,
        };
        Verdict::new(Reason::GatewayImage, message)
    }
}

/// What must change, or why nothing must.
pub(super) fn due(member: &Assessed, app: &str, retry: Retry) -> Result<Due, Verdict> {
    let pods = |wanted: &dyn Fn(&Gateway) -> bool| {
        member
            .pods
            .iter()
            .filter(|pod| wanted(&pod.shape.gateway))
            .count()
    };
    match &member.wish {
        Wish::Gateway {
            hash,
            rollout,
            attempt,
        } => {
            let due = |reason, pods| Due {
                reason,
                goal: Some(hash.clone()),
                rollout: *rollout,
                pods,
            };
            let mut refused = refused(member, hash, attempt);
            // Who wants no restarts of ours is not told to restart for an attempt.
            let again = retry
                .at(member, hash, &refused)
                .filter(|_| *rollout == Rollout::Auto);
            if retry.is_due(again) {
                refused.clear();
            }
            let bare = pods(&|gateway| *gateway == Gateway::Bare) - refused.len();
            let stale = pods(&|gateway| gateway.hash().is_some_and(|found| found != hash));
            if pods(&|gateway| *gateway == Gateway::Platform) > 0 {
                let message = "the platform injected a gateway of its own";
                return Err(Verdict::new(Reason::PlatformInjected, message));
            }
            match (bare, stale) {
                (0, 0) => Err(refused
                    .first()
                    .map_or_else(|| settled(member), |pod| told(pod, again))),
                (0, stale) => Ok(due(Reason::RollStale, stale)),
                (bare, _) => Ok(due(Reason::RollBare, bare)),
            }
        }
        Wish::None(verdict) => {
            let unwanted = pods(&|gateway| gateway.is_for(app));
            if unwanted == 0 {
                return Err(verdict.clone());
            }
            Ok(Due {
                reason: Reason::RollUnwanted,
                goal: None,
                rollout: Rollout::Auto,
                pods: unwanted,
            })
        }
        Wish::Leave(verdict) => Err(verdict.clone()),
    }
}

/// The same for somebody who asks for it: pods of another gateway image count, and
/// `rollout: notify` does not.
pub(super) fn due_by_hand(member: &Assessed, app: &str, image: &str) -> Option<Due> {
    let rollout = Rollout::Auto;
    let verdict = match due(member, app, Retry::NEVER) {
        Ok(due) => return Some(Due { rollout, ..due }),
        Err(verdict) => verdict,
    };
    let Wish::Gateway { hash, .. } = &member.wish else {
        return None;
    };
    let outdated =
        |gateway: &Gateway| matches!(gateway, Gateway::Ours { image: found, .. } if found != image);
    let pods = member.pods.iter();
    let pods = pods.filter(|pod| outdated(&pod.shape.gateway)).count();
    (pods > 0 && verdict.reason != Reason::PlatformInjected).then(|| Due {
        reason: Reason::RollOutdated,
        goal: Some(hash.clone()),
        rollout,
        pods,
    })
}

/// Pods that the API server would not take with the gateway as it would be now. Where it took a later
/// one, it may take these.
fn refused<'a>(member: &'a Assessed, hash: &str, attempt: &str) -> Vec<&'a Arc<PodFacts>> {
    let taken = member.pods.iter();
    let taken = taken.filter(|pod| pod.shape.gateway.hash() == Some(hash));
    let taken = taken.map(|pod| pod.created).max().flatten();
    let pods = member.pods.iter().filter(|pod| {
        let note = pod.refused.as_ref();
        pod.shape.gateway == Gateway::Bare
            && note.is_some_and(|note| note.attempt == attempt)
            && taken.is_none_or(|taken| Some(taken) <= pod.created)
    });
    pods.collect()
}

/// Of a pod that was let in without the gateway; `again`: when that is tried again.
pub(super) fn told(pod: &PodFacts, again: Option<Timestamp>) -> Verdict {
    let words = pod.refused.as_ref().map_or("", |note| note.words.as_str());
    let mut message = format!(
        "the pods run without the gateway, as with it they are refused: {}",
        Reason::PodsRefused.advise(words)
    );
    if let Some(again) = again {
        // Writing to a String cannot fail.
        let _ = write!(message, "; it is tried again by itself after {again:.0}");
    }
    Verdict::new(Reason::PodsRefused, message)
}

fn settled(member: &Assessed) -> Verdict {
    let all = member.pods.len();
    let ready = member.pods.iter().filter(|pod| pod.ready).count();
    if all == 0 {
        return Verdict::new(Reason::NoPods, "no pods");
    }
    match member.workload.progress {
        Progress::Failed => Verdict::new(Reason::RolloutFailed, "the rollout did not finish"),
        Progress::Mixed | Progress::Starting => {
            Verdict::new(Reason::PodsNotReady, "a rollout is under way")
        }
        _ if ready < all => {
            let message = format!("{ready} of {all} pods are ready");
            Verdict::new(Reason::PodsNotReady, message)
        }
        Progress::Settled | Progress::Paused | Progress::OnDelete => {
            Verdict::new(Reason::AllInjected, format!("{all} pods have the gateway"))
        }
    }
}

//! Step 2 (pure): what each workload of the app should have, and whether the app is acceptable.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ResourceRequirements;
use stanza::WebSocket;
use stanza::choice::Rollout;

use super::dereference::Observed;
use super::due::told;
use super::obstacle::DISABLED;
use crate::app::{App, AppId, Stanza};
use crate::cluster::{Budget, Ground, PodFacts, ServiceFacts, WorkloadFacts};
use crate::injection::{Decision, Neighbours, Rules, Skip, Trust, attempt, desired};
use crate::reason::Reason;
use crate::shape::{Gateway, Shape};
use crate::source::precedence::winner;

pub(super) struct Validated {
    pub(super) id: AppId,
    pub(super) app: Option<Arc<App>>,
    pub(super) accepted: Verdict,
    pub(super) entrance: Option<Arc<ServiceFacts>>,
    pub(super) members: Vec<Assessed>,
    /// Pods of the entrance that get no gateway, or that we could not roll.
    pub(super) strays: Vec<(Arc<PodFacts>, Verdict)>,
    pub(super) services: Vec<Arc<ServiceFacts>>,
    /// The uids of apps whose pods this one has in their place.
    pub(super) overruled: Vec<String>,
    pub(super) budgets: Vec<Arc<Budget>>,
    pub(super) ground: Ground,
    pub(super) disabled: bool,
    pub(super) image: String,
    /// Whose word on users' names counts.
    pub(super) identity: Option<String>,
}

/// A reason and what was found, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub reason: Reason,
    pub message: String,
}

pub(super) struct Assessed {
    pub(super) workload: WorkloadFacts,
    pub(super) pods: Vec<Arc<PodFacts>>,
    pub(super) wish: Wish,
    /// What a gateway takes of a quota.
    pub(super) asks: Option<ResourceRequirements>,
    /// What one of its pods waits for that does not get the gateway's image.
    pub(super) unpulled: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Pods with a gateway of this hash.
    Gateway {
        hash: String,
        rollout: Rollout,
        /// With what the API server is tried.
        attempt: String,
    },
    /// Pods without a gateway.
    None(Verdict),
    /// No change until somebody mends the manifest: what runs, runs on.
    Leave(Verdict),
}

impl Verdict {
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}

impl Validated {
    /// The app's manifest has a mistake or a gap: what is there stays as it is.
    pub(super) fn holds_still(&self) -> bool {
        self.app.is_some() && holds_still(self.accepted.reason)
    }

    pub(super) fn pods(&self) -> impl Iterator<Item = &Arc<PodFacts>> {
        let members = self.members.iter().flat_map(|member| &member.pods);
        members.chain(self.strays.iter().map(|(pod, _)| pod))
    }

    pub(super) fn websocket(&self) -> Option<&WebSocket> {
        match &self.app.as_ref()?.stanza {
            Stanza::Valid { websocket, .. } => Some(websocket),
            Stanza::Absent | Stanza::Invalid { .. } => None,
        }
    }
}

pub(super) fn validate(observed: Observed, rules: &Rules) -> Validated {
    let mut accepted = accept(observed.app.as_deref(), observed.entrance.as_deref());
    if let Some(by) = observed.claims.overruling(&observed.id) {
        accepted = superseded(by);
    }
    let claims = observed.claims.borrow();
    let mut others = BTreeSet::new();
    let leave = observed.app.is_some() && holds_still(accepted.reason);
    let members: Vec<Assessed> = observed
        .members
        .into_iter()
        .filter_map(|member| {
            let (workload, unpulled) = (member.workload, member.unpulled);
            let (mut pods, mut asks) = (member.pods, None);
            let wish = match desired(&workload.shape, &claims, rules) {
                _ if leave => Wish::Leave(accepted.clone()),
                Decision::Inject(injection) | Decision::AlreadyCurrent(injection) => {
                    if injection.app != observed.id.name {
                        others.insert(injection.app.to_owned());
                        return None;
                    }
                    let behind = Shape {
                        envoy: true,
                        ..workload.shape.clone()
                    };
                    if let Decision::Inject(behind) = desired(&behind, &claims, rules) {
                        pods = same_settings(pods, &behind.hash, &injection.hash);
                    }
                    asks = injection.resources(&workload.shape, rules);
                    Wish::Gateway {
                        attempt: attempt(&injection, rules),
                        hash: injection.hash,
                        rollout: injection.websocket.operator.rollout,
                    }
                }
                Decision::Skip(skip) => {
                    if skip
                        .app
                        .as_ref()
                        .is_some_and(|app| *app != observed.id.name)
                    {
                        return None;
                    }
                    without(skip, &workload.shape, observed.entrance.as_deref())
                }
            };
            Some(Assessed {
                workload,
                pods,
                wish,
                asks,
                unpulled,
            })
        })
        .collect();
    let mut strays = Vec::new();
    for pod in observed.strays {
        let decision = desired(&pod.shape, &claims, rules);
        if let Some(other) = claimed_by(&decision).filter(|app| *app != observed.id.name) {
            others.insert(other.to_owned());
            continue;
        }
        let verdict = match decision {
            Decision::Skip(skip) => Verdict::new(skip.reason, skip.message),
            Decision::AlreadyCurrent(_) => Verdict::new(Reason::AlreadyCurrent, "has the gateway"),
            Decision::Inject(injection) => {
                let attempt = attempt(&injection, rules);
                by_hand(&pod, &attempt, observed.disabled)
            }
        };
        strays.push((pod, verdict));
    }
    // Two Services may select the same pods.
    if accepted.reason == Reason::Accepted
        && members.is_empty()
        && strays.is_empty()
        && let Some(other) = claims
            .iter()
            .find(|claim| others.contains(&claim.app.id.name))
    {
        accepted = superseded(other.app);
    }
    let overruled = observed.claims.overruled_by(&observed.id);
    let identity = identity(observed.app.as_deref(), &members, rules);
    Validated {
        overruled: overruled.cloned().collect(),
        id: observed.id.clone(),
        app: observed.app,
        accepted,
        entrance: observed.entrance,
        members,
        strays,
        services: observed.services,
        budgets: observed.budgets,
        ground: observed.ground,
        disabled: observed.disabled,
        image: rules.image.clone(),
        identity,
    }
}

/// The app that a pod is a matter of.
fn claimed_by<'a>(decision: &'a Decision<'_>) -> Option<&'a str> {
    match decision {
        Decision::Inject(injection) | Decision::AlreadyCurrent(injection) => Some(injection.app),
        Decision::Skip(skip) => skip.app.as_deref(),
    }
}

/// A pod that is to have the gateway, and that nothing of ours restarts.
fn by_hand(pod: &PodFacts, attempt: &str, disabled: bool) -> Verdict {
    let refused = pod.refused.as_ref();
    if refused.is_some_and(|note| note.attempt == attempt) {
        return told(pod, None);
    }
    if disabled {
        return Verdict::new(Reason::NamespaceDisabled, DISABLED);
    }
    let found = match pod.shape.gateway {
        Gateway::Ours { .. } => "its gateway has settings of before",
        Gateway::Bare | Gateway::Platform => "it came up without the gateway",
    };
    let message = format!(
        "{found}, and no Deployment restarts it: delete it, and its owner makes it anew with the gateway"
    );
    Verdict::new(Reason::ReplaceByHand, message)
}

/// What becomes of pods that would get no gateway now.
fn without(skip: Skip, shape: &Shape, entrance: Option<&ServiceFacts>) -> Wish {
    let verdict = Verdict::new(skip.reason, skip.message);
    // The entrance may come back to them, as it does between two colours.
    let may_be_selected = entrance.is_some_and(|service| shape.is_kin(&service.selector));
    match skip.reason {
        // What runs, runs on.
        Reason::Quota => Wish::Leave(verdict),
        Reason::NotEntrance if may_be_selected => Wish::Leave(verdict),
        _ => Wish::None(verdict),
    }
}

/// As new pods get it; what others put into pods shows in those that run.
fn identity(app: Option<&App>, members: &[Assessed], rules: &Rules) -> Option<String> {
    let Stanza::Valid { websocket, .. } = &app?.stanza else {
        return None;
    };
    let pods = members.iter().flat_map(|member| &member.pods);
    let mut shapes = pods.map(|pod| &pod.shape);
    let neighbours = Neighbours {
        envoy: shapes.clone().any(|shape| shape.envoy),
        mesh: shapes.find_map(|shape| shape.mesh),
    };
    Some(Trust::of(&websocket.gateway.identity, rules, neighbours).to_string())
}

/// A template does not show the Envoy that the platform puts into its pods. A pod behind one has
/// what it should by another hash: it counts as the template's.
fn same_settings(pods: Vec<Arc<PodFacts>>, behind: &str, hash: &str) -> Vec<Arc<PodFacts>> {
    let same = |pod: Arc<PodFacts>| match &pod.shape.gateway {
        Gateway::Ours {
            app,
            hash: found,
            image,
        } if pod.shape.envoy && found == behind => {
            let gateway = Gateway::Ours {
                app: app.clone(),
                hash: hash.to_owned(),
                image: image.clone(),
            };
            let mut pod = (*pod).clone();
            pod.shape.gateway = gateway;
            Arc::new(pod)
        }
        _ => pod,
    };
    pods.into_iter().map(same).collect()
}

/// Whether the manifest and its entrance will do.
pub fn accept(app: Option<&App>, entrance: Option<&ServiceFacts>) -> Verdict {
    let Some(app) = app else {
        return Verdict::new(Reason::NoApp, "the AppManifest is gone");
    };
    match &app.stanza {
        Stanza::Absent => Verdict::new(Reason::NoStanza, "the manifest has no options.websocket"),
        Stanza::Invalid { problems, .. } => Verdict::new(Reason::InvalidStanza, problems.errors()),
        Stanza::Valid {
            service: Err(reason),
            ..
        } => Verdict::new(*reason, reason.about().trim()),
        Stanza::Valid {
            service: Ok(name), ..
        } => match entrance {
            None => Verdict::new(Reason::NoService, format!("there is no Service {name}")),
            Some(service) if service.selector.is_empty() => Verdict::new(
                Reason::NoSelector,
                format!("the Service {name} selects no pods by labels"),
            ),
            Some(_) => Verdict::new(
                Reason::Accepted,
                format!("the entrance is the Service {name}"),
            ),
        },
    }
}

pub fn superseded(by: &App) -> Verdict {
    let (name, source) = (&by.id.name, winner(by.source.as_deref()));
    let message = format!("the AppManifest {name} ({source}) has the same pods and comes first");
    Verdict::new(Reason::Superseded, message)
}

/// Mistakes and gaps that a person or the next second will mend: running gateways stay.
fn holds_still(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::InvalidStanza
            | Reason::NoEntrance
            | Reason::NoService
            | Reason::ForeignService
            | Reason::NoSelector
    )
}

#[cfg(test)]
mod tests;

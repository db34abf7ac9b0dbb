//! What the API server refused of workloads' pods after admission, as their owners tell in Events
//! and conditions: every replica reads the same, and nobody has to remember.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::store::{Facts, Room};
use super::written::{LONGEST, ROOM, is_by};
use crate::names;

/// An owner tries again after a thousand seconds at the latest.
const RECENT: SignedDuration = SignedDuration::from_mins(20);
/// How far the clock of who writes Events may be before ours.
const AHEAD: SignedDuration = SignedDuration::from_mins(1);
/// Of the API server's words.
const WORDS: usize = 400;
/// What `kubectl rollout restart` writes into a template.
const RESTARTED: &str = "kubectl.kubernetes.io/restartedAt";
/// In the annotation [`names::ROLLOUT`], before a time.
const AFTER: &str = ".after-";
/// Refusals that no gateway causes: what the pod needs is not there, or no longer.
const OTHERS: [&str; 4] = [
    "create Claim ",
    "error looking up service account",
    "because it is being terminated",
    "no PriorityClass with name",
];

/// The last of the owner's Events about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    owner: Maker,
    pub(super) at: Timestamp,
    pub words: String,
}

/// A ReplicaSet, StatefulSet or DaemonSet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Maker {
    kind: String,
    name: String,
    uid: String,
}

impl Facts for Refusal {
    type Object = Event;
    const ROOM: Option<Room> = Some(ROOM);

    fn read(object: Event) -> Option<Self> {
        let words = judged(object.message.as_deref()?)?;
        let owner = Maker::of_event(&object)?;
        let observed = object.series.and_then(|series| series.last_observed_time);
        let at = observed
            .map(|time| time.0)
            .or(object.last_timestamp.map(|time| time.0))
            .or(object.event_time.map(|time| time.0))?;
        Some(Self { owner, at, words })
    }

    fn same_as(&self, other: &Self) -> bool {
        self == other
    }

    fn since(&self) -> Option<Timestamp> {
        Some(self.at)
    }
}

impl Maker {
    /// Whom the Event is about, where its author is the controller of that kind.
    fn of_event(event: &Event) -> Option<Self> {
        let about = &event.involved_object;
        let kind = about.kind.as_deref()?;
        let author = match kind {
            "ReplicaSet" => "replicaset-controller",
            "StatefulSet" => "statefulset-controller",
            "DaemonSet" => "daemonset-controller",
            _ => return None,
        };
        let apps = about.api_version.as_deref()?.starts_with("apps/");
        let (name, uid) = (about.name.clone()?, about.uid.clone()?);
        let short = name.len() <= LONGEST && uid.len() <= LONGEST;
        (is_by(event, author) && apps && short).then(|| Self {
            kind: kind.to_owned(),
            name,
            uid,
        })
    }
}

impl Refusal {
    /// Whether it says something of a pod that its owner makes now.
    pub(super) fn concerns(&self, pod: &ObjectMeta, now: Timestamp) -> bool {
        let age = now.duration_since(self.at);
        maker(pod).is_some_and(|maker| {
            (&maker.kind, &maker.name, &maker.uid)
                == (&self.owner.kind, &self.owner.name, &self.owner.uid)
        }) && (-AHEAD..RECENT).contains(&age)
            && since(pod).is_none_or(|since| self.at > since)
    }
}

/// A Deployment's condition ReplicaFailure while it holds: the API server refuses one of its
/// ReplicaSets a pod, and no user of a namespace writes that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Since when; later refusals change neither this nor the words.
    at: Option<Timestamp>,
    /// The API server's, where it judged a pod.
    words: Option<String>,
}

impl Failure {
    pub(super) fn of(deployment: &Deployment) -> Option<Self> {
        let conditions = &deployment.status.as_ref()?.conditions;
        let failure = conditions.iter().flatten().find(|condition| {
            condition.type_ == "ReplicaFailure"
                && condition.status == "True"
                && condition.reason.as_deref() == Some("FailedCreate")
        })?;
        Some(Self {
            at: failure.last_transition_time.as_ref().map(|time| time.0),
            words: failure.message.as_deref().and_then(judged),
        })
    }

    /// What it says of a pod that the Deployment makes now.
    pub(super) fn words(&self, pod: &ObjectMeta) -> Option<&str> {
        let concerns = since(pod).is_none_or(|since| self.at.is_some_and(|at| at >= since));
        self.words.as_deref().filter(|_| concerns)
    }
}

pub(super) fn maker(pod: &ObjectMeta) -> Option<&OwnerReference> {
    let mut owners = pod.owner_references.iter().flatten();
    owners.find(|owner| owner.controller == Some(true))
}

/// The value of [`names::ROLLOUT`] that makes refusals of before count no more.
pub fn anew(rollout: &str, now: Timestamp) -> String {
    format!("{rollout}{AFTER}{}", now.as_second())
}

/// Since when its template is as it is, where that is known.
fn since(pod: &ObjectMeta) -> Option<Timestamp> {
    let annotation = |key| pod.annotations.as_ref()?.get(key);
    let after = |rollout: &String| {
        let (_, second) = rollout.rsplit_once(AFTER)?;
        Timestamp::from_second(second.parse().ok()?).ok()
    };
    let rolled = annotation(names::ROLLOUT).and_then(after);
    let restarted = annotation(RESTARTED).and_then(|time| time.parse().ok());
    rolled.max(restarted)
}

/// The API server's own words, where it judged the pod as a whole.
fn judged(message: &str) -> Option<String> {
    if OTHERS.iter().any(|other| message.contains(other)) {
        return None;
    }
    let words = [" is forbidden: ", " is invalid: "]
        .into_iter()
        .find_map(|verb| message.split_once(verb))
        .map(|(_, words)| words)
        .or_else(|| message.contains("denied the request").then_some(message))?;
    Some(words.chars().take(WORDS).collect())
}

#[cfg(test)]
mod tests;

//! The answer to one review: store lookup -> injection::desired -> patch.

use json_patch::Patch;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};
use serde_json::json;
use stanza::choice::Expose;

use super::PROBE;
use super::review::Review;
use super::subject::Subject;
use crate::api::AppManifest;
use crate::app::{App, Stanza};
use crate::cluster::{Cluster, Facts, PodFacts, ServiceFacts};
use crate::entrance;
use crate::events::Notice;
use crate::injection::{self, Decision, Rules, desired};
use crate::names;
use crate::reason::{Reason, Weight};
use crate::shape::{Owner, Shape, Workload};
use crate::text::cut;

/// Longer warnings are cut by the API server.
const WARNING: usize = 256;

#[derive(Debug)]
pub struct Answer {
    /// `inject`, `already-current` or `skip`: the metric's label.
    pub decision: &'static str,
    pub reason: Reason,
    pub patch: Option<Patch>,
    pub warnings: Vec<String>,
    pub notices: Vec<Notice>,
    /// Why nothing could be decided: an Event for whom it concerns.
    pub failure: Option<String>,
    /// The pod's workload, where the pod asks by label and nothing is known of it yet.
    pub asks: Option<Workload>,
}

pub fn admit(review: &Review<'_>, cluster: &Cluster, rules: &Rules) -> Answer {
    if !cluster.knows_claims() {
        return failed(Reason::NotReady, "the operator is still starting");
    }
    let namespace = review.namespace();
    let claims = cluster.claims(namespace);
    let claims = claims.borrow();
    if claims.is_empty() && !review.mentions(names::INJECT) {
        // The pod itself is not even read.
        return quiet(Reason::NoApp);
    }
    let pod: Pod = match review.object() {
        Ok(pod) => pod,
        Err(error) => {
            return failed(
                Reason::InternalError,
                &format!("the pod could not be read: {error}"),
            );
        }
    };
    let shape = Shape::of_pod(&pod.metadata, pod.spec.as_ref());
    let refusal = || cluster.refusal(namespace, &pod.metadata, Timestamp::now());
    let (decision, reason, message, patch) = match desired(&shape, &claims, rules) {
        Decision::Inject(injection) | Decision::AlreadyCurrent(injection)
            if let Some(words) = refusal() =>
        {
            let mut after = pod.clone();
            injection::let_in(&mut after, &injection, rules, &words);
            let message = format!("app {}: a pod without the gateway: {words}", injection.app);
            let patch = injection::patch(&pod, &after).ok();
            ("skip", Reason::PodsRefused, message, patch)
        }
        Decision::Inject(injection) => {
            let mut after = pod.clone();
            injection::inject_pod(&mut after, &injection, rules);
            match injection::patch(&pod, &after) {
                Ok(patch) => {
                    let message = format!("app {}: a new pod got the gateway", injection.app);
                    ("inject", Reason::Injected, message, Some(patch))
                }
                Err(error) => {
                    let message = format!("the pod could not be changed: {error}");
                    return failed(Reason::InternalError, &message);
                }
            }
        }
        Decision::AlreadyCurrent(_) => {
            let reason = Reason::AlreadyCurrent;
            ("already-current", reason, String::new(), None)
        }
        Decision::Skip(skip) => {
            let message = match skip.app {
                Some(app) => format!("app {app}: {}", skip.message),
                None => skip.message,
            };
            // What we gave it before another webhook gave it the same.
            let patch = injection::withdrawal(&pod);
            ("skip", skip.reason, message, patch)
        }
    };
    let warnings = match reason.weight() {
        Weight::Warning => vec![warning(reason, &message)],
        Weight::Quiet | Weight::Notice => Vec::new(),
    };
    let unknown = matches!(reason, Reason::NoApp | Reason::NotEntrance);
    let asks = match &shape.owner {
        Owner::Workload(workload) if unknown && shape.asks() => Some(workload.clone()),
        _ => None,
    };
    let subject = Subject {
        api_version: "v1",
        kind: "Pod",
        namespace,
        metadata: &pod.metadata,
    };
    let notices = subject
        .reference(cluster)
        .map(|regarding| Notice {
            regarding,
            reason,
            message,
        })
        .into_iter()
        .collect();
    Answer {
        decision,
        reason,
        patch,
        warnings,
        notices,
        failure: None,
        asks,
    }
}

/// Keeps an entrance's Service led to the gateway when its owner writes it anew: within the
/// owner's own request, so that the field stays the owner's. A Service that does not lead there
/// yet is the controller's to lead.
pub(super) fn service(review: &Review<'_>, cluster: &Cluster, rules: &Rules) -> Option<Patch> {
    if !cluster.knows_claims() {
        return None;
    }
    let before = ServiceFacts::read(review.old_object().ok()?)?;
    let after = ServiceFacts::read(review.object().ok()?)?;
    let noted = after.routed.as_ref()?;
    let app = cluster.apps.get(review.namespace(), &noted.app)?;
    let Stanza::Valid { websocket, .. } = &app.stanza else {
        return None;
    };
    let wanted = !app.leaving
        && app.service() == Some(&after.name)
        && rules.expose(websocket, false) == Expose::Entrance
        && entrance::port(&app, &before).is_ok_and(|port| port.routed);
    let port = entrance::port(&app, &after).ok()?;
    if !wanted {
        return None;
    }
    let target = format!("/spec/ports/{}/targetPort", port.index);
    let pods = cluster.pods.in_namespace(review.namespace());
    let selected = pods
        .iter()
        .map(AsRef::as_ref)
        .filter(|pod: &&PodFacts| pod.shape.is_selected_by(&after.selector));
    let switched = before.selector != after.selector;
    let fronts = if cluster.pods.is_synced() {
        entrance::may_front(selected)
    } else {
        !switched
    };
    match (port.routed, fronts) {
        // Other pods than before, within the same request: none of theirs goes to a port that they
        // do not have.
        (true, false) if switched => {
            return serde_json::from_value(json!([
                {"op": "replace", "path": target, "value": port.own},
            ]))
            .ok();
        }
        (false, true) => {}
        _ => return None,
    }
    let note = injection::annotation(names::OWN_TARGET);
    serde_json::from_value(json!([
        {"op": "add", "path": target, "value": entrance::target(websocket)},
        {"op": "add", "path": note, "value": entrance::note(&port)},
    ]))
    .ok()
}

/// What is said of an AppManifest.
#[derive(Default)]
pub(super) struct Said {
    /// The mark that a probe looks for.
    pub(super) patch: Option<Patch>,
    /// For its author.
    pub(super) warnings: Vec<String>,
    pub(super) notice: Option<Notice>,
}

pub(super) fn manifest(review: &Review<'_>) -> Said {
    let Ok(mut object) = review.object::<AppManifest>() else {
        return Said::default();
    };
    let notice = undone(review, &object);
    object
        .metadata
        .namespace
        .get_or_insert_with(|| review.namespace().to_owned());
    let probed = object
        .metadata
        .annotations
        .as_ref()
        .is_some_and(|annotations| annotations.contains_key(PROBE));
    let patch = probed.then(mark).flatten();
    let app = App::read(object);
    let problems: Vec<String> = match &app.stanza {
        Stanza::Invalid { problems, .. } => problems.iter().map(ToString::to_string).collect(),
        Stanza::Valid {
            service: Err(reason),
            ..
        } => vec![warning(*reason, reason.about().trim())],
        Stanza::Valid { .. } | Stanza::Absent => {
            app.warnings.iter().map(ToString::to_string).collect()
        }
    };
    let undone = notice
        .iter()
        .map(|notice| warning(notice.reason, &notice.message));
    Said {
        patch,
        warnings: undone
            .chain(problems.into_iter().map(|problem| cut(problem, WARNING)))
            .collect(),
        notice,
    }
}

/// A change of what a source keeps as its own: it will not last.
fn undone(review: &Review<'_>, after: &AppManifest) -> Option<Notice> {
    let before: Option<AppManifest> = review.old_object().ok()?;
    let (before, source) = (before?, after.labels().get(names::SOURCE)?);
    let kept = before.labels().get(names::SOURCE) == Some(source)
        && before.spec.document != after.spec.document
        && review.field_manager() != names::MANAGER;
    kept.then(|| Notice {
        regarding: after.object_ref(&()),
        reason: Reason::SourceOwned,
        message: format!(
            "the source {source} writes it again as it was: change what it comes from, or remove the label {}",
            names::SOURCE
        ),
    })
}

fn mark() -> Option<Patch> {
    serde_json::from_value(json!([
        {"op": "replace", "path": injection::annotation(PROBE), "value": "answered"}
    ]))
    .ok()
}

fn quiet(reason: Reason) -> Answer {
    Answer {
        decision: "skip",
        reason,
        patch: None,
        warnings: Vec::new(),
        notices: Vec::new(),
        failure: None,
        asks: None,
    }
}

pub(super) fn failed(reason: Reason, message: &str) -> Answer {
    Answer {
        warnings: vec![warning(reason, message)],
        failure: Some(message.to_owned()),
        ..quiet(reason)
    }
}

fn warning(reason: Reason, message: &str) -> String {
    cut(format!("ws-operator: {reason}: {message}"), WARNING)
}

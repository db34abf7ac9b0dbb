//! `expose: entrance` (pure): when the entrance's Service is led to the gateways, and when back.
//!
//! Roll first, retarget after; on removal retarget back first, roll after. Then no request meets
//! a pod that does not answer it.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value as Json, json};
use stanza::WebSocket;

use super::validate::{Validated, Verdict, Wish};
use crate::app::App;
use crate::cluster::{PodFacts, Protocol, ServiceFacts};
use crate::entrance::{self, EntrancePort};
use crate::names;
use crate::reason::Reason;

/// How many pods a message names.
const NAMED: usize = 5;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Entrance {
    /// It leads to the gateway.
    Kept(i32),
    Lead(Retarget),
    /// To the app itself again, for now.
    Back(Retarget, Verdict),
    /// Not yet, or not at all.
    Waits(Verdict),
}

/// One port of one Service led elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Retarget {
    pub service: String,
    port: i32,
    target: IntOrString,
    /// The app it is done for, and our note of where the port led before; `None`: as if we had
    /// never been there.
    note: Option<(String, String)>,
}

pub(super) fn entrance(
    app: &App,
    websocket: &WebSocket,
    service: &ServiceFacts,
    validated: &Validated,
) -> Entrance {
    let waits = |reason, message: String| Entrance::Waits(Verdict::new(reason, message));
    let port = match entrance::port(app, service) {
        Ok(port) => port,
        Err(why) => return waits(Reason::ExposeUnsupported, why),
    };
    let selected = || {
        validated
            .pods()
            .map(AsRef::as_ref)
            .filter(|pod: &&PodFacts| pod.shape.is_selected_by(&service.selector))
    };
    if port.routed && entrance::may_front(selected()) {
        return Entrance::Kept(port.number);
    }
    if let Some(why) = undeclared(validated, service, &port) {
        return waits(Reason::ExposeUnsupported, why);
    }
    let ready: Vec<&PodFacts> = selected().filter(|pod| pod.ready).collect();
    let fronted = ready.iter().filter(|pod| pod.shape.fronted).count();
    if fronted == 0 || fronted < ready.len() {
        let message = format!(
            "{fronted} of {} ready pods have the gateway in front of the app{}",
            ready.len(),
            never(validated, service)
        );
        let verdict = Verdict::new(Reason::EntranceWaiting, message);
        return match Retarget::back(service) {
            Some(back) => Entrance::Back(back, verdict),
            None => Entrance::Waits(verdict),
        };
    }
    Entrance::Lead(Retarget::lead(app, websocket, service, &port))
}

/// The Service leads to a name that no container has: a gateway knows no port to stand in front of,
/// and nobody reaches the app without one either.
fn undeclared(
    validated: &Validated,
    service: &ServiceFacts,
    port: &EntrancePort,
) -> Option<String> {
    let IntOrString::String(target) = &port.own else {
        return None;
    };
    let mut members = validated.members.iter();
    let pod = members.find_map(|member| {
        let Wish::Gateway { hash, .. } = &member.wish else {
            return None;
        };
        let mut pods = member.pods.iter();
        // It has the gateway as it should be, and that is not in front of anything.
        pods.find(|pod| pod.shape.gateway.hash() == Some(hash) && !pod.shape.fronted)
    })?;
    Some(format!(
        "port {} of the Service {} leads to the pods' port {target}, and no container of the pod {} declares one of \
         that name: name a containerPort so, or give targetPort a number",
        port.number, service.name, pod.name
    ))
}

/// The pods that the Service waits for and that nobody replaces, and how to end it.
fn never(validated: &Validated, service: &ServiceFacts) -> String {
    let waited_for = |pod: &PodFacts| {
        pod.ready && !pod.shape.fronted && pod.shape.is_selected_by(&service.selector)
    };
    let strays = validated.strays.iter();
    let strays = strays.map(|(pod, verdict)| (pod, verdict));
    let members = validated.members.iter().filter_map(|member| {
        let (Wish::None(verdict) | Wish::Leave(verdict)) = &member.wish else {
            return None;
        };
        Some(member.pods.iter().map(move |pod| (pod, verdict)))
    });
    let all = strays.chain(members.flatten());
    let all: Vec<_> = all.filter(|(pod, _)| waited_for(pod)).collect();
    let by_hand = replaced_by_hand(all.iter().copied());
    if !by_hand.is_empty() {
        return format!("; {}", delete(&by_hand));
    }
    match all.first() {
        Some((pod, verdict)) => format!(
            "; the pod {} never will ({}: {}): change that, or have the Service select it no more",
            pod.name, verdict.reason, verdict.message
        ),
        None => String::new(),
    }
}

/// The names of those that only somebody else can replace.
pub(super) fn replaced_by_hand<'a>(
    pods: impl Iterator<Item = (&'a Arc<PodFacts>, &'a Verdict)>,
) -> Vec<&'a str> {
    pods.filter(|(_, verdict)| verdict.reason == Reason::ReplaceByHand)
        .map(|(pod, _)| pod.name.as_str())
        .collect()
}

/// What ends it.
pub(super) fn delete(pods: &[&str]) -> String {
    let (named, rest) = pods.split_at(pods.len().min(NAMED));
    let noun = if pods.len() == 1 { "pod" } else { "pods" };
    let more = match rest.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "nothing of ours restarts the {noun} {}{more}: delete, and the owner makes anew with the gateway",
        named.join(", ")
    )
}

/// The Services that we led to a gateway of this app, and that should lead to the app again.
pub(super) fn returns(validated: &Validated, kept: Option<&str>) -> Vec<Retarget> {
    if validated.holds_still() {
        return Vec::new();
    }
    validated
        .services
        .iter()
        .filter(|service| {
            let routed = service.routed.as_ref();
            routed.is_some_and(|routed| routed.app == validated.id.name)
        })
        .filter(|service| kept != Some(service.name.as_str()))
        .filter_map(|service| Retarget::back(service))
        .collect()
}

// === impl Retarget ===

impl Retarget {
    fn lead(app: &App, websocket: &WebSocket, service: &ServiceFacts, port: &EntrancePort) -> Self {
        Self {
            service: service.name.clone(),
            port: port.number,
            target: entrance::target(websocket),
            note: Some((app.id.name.clone(), entrance::note(port))),
        }
    }

    /// Where the port led before we came, if it is ours.
    pub fn back(service: &ServiceFacts) -> Option<Self> {
        let routed = service.routed.as_ref()?;
        let port = service
            .ports
            .iter()
            .find(|port| port.number == routed.port && port.protocol == Protocol::Tcp)?;
        // Somebody led it elsewhere meanwhile: only our note goes.
        let target = match &port.target {
            Some(target) if !entrance::is_gateway(target) => target.clone(),
            _ => routed.own.clone(),
        };
        Some(Self {
            service: service.name.clone(),
            port: routed.port,
            target,
            note: None,
        })
    }

    /// A merge patch of `service`, with all its ports: one number may stand for TCP and for UDP, and
    /// then a strategic merge would not tell them apart.
    pub fn patch(&self, service: &Service) -> Json {
        let (routed, app, own) = match &self.note {
            Some((app, own)) => (json!("true"), json!(app), json!(own)),
            None => (Json::Null, Json::Null, Json::Null),
        };
        let ports = service.spec.as_ref().and_then(|spec| spec.ports.clone());
        let mut ports = ports.unwrap_or_default();
        let ours = ports.iter_mut().find(|port| {
            let tcp = port
                .protocol
                .as_deref()
                .is_none_or(|protocol| protocol == "TCP");
            port.port == self.port && tcp
        });
        if let Some(port) = ours {
            port.target_port = Some(self.target.clone());
        }
        json!({
            "metadata": {
                "resourceVersion": service.metadata.resource_version,
                "labels": {names::ROUTED: routed},
                "annotations": {names::APP: app, names::OWN_TARGET: own},
            },
            "spec": {"ports": ports},
        })
    }

    pub(super) fn port(&self) -> i32 {
        self.port
    }

    pub fn words(&self) -> String {
        let target = match &self.target {
            IntOrString::Int(number) => number.to_string(),
            IntOrString::String(name) => name.clone(),
        };
        format!("port {} of {} leads to {target}", self.port, self.service)
    }
}

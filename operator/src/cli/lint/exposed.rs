//! What the objects beside a manifest say of it: whether strangers can post what passes for a
//! callback, and whether several pods serve.

use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use stanza::{Entrance, Manifest};

use super::objects;
use super::scaled::Scaler;
use crate::cli::chart::Source;
use crate::cluster::ServiceFacts;
use crate::controller::APART;
use crate::entrance::is_gateway;
use crate::shape::{Workload, containers, selects};
use crate::strangers::{REMEDY, can_post, leads_to};

/// A workload that may be behind an entrance.
pub(super) struct Behind {
    pub(super) workload: Workload,
    pub(super) namespace: Option<String>,
    pub(super) replicas: Option<i64>,
    pub(super) template: PodTemplateSpec,
}

/// The Services and workloads of all files, and what scales them.
pub(super) struct Beside {
    pub(super) services: Vec<ServiceFacts>,
    workloads: Vec<Behind>,
    scalers: Vec<Scaler>,
}

impl Beside {
    pub(super) fn read(sources: &[Source]) -> Self {
        Self {
            services: sources.iter().flat_map(objects::services).collect(),
            workloads: sources.iter().flat_map(objects::workloads).collect(),
            scalers: sources.iter().flat_map(objects::scalers).collect(),
        }
    }

    /// What strangers can do, and the remedy.
    pub(super) fn can_post(&self, manifest: &Manifest) -> Option<String> {
        let websocket = manifest.websocket.as_ref()?;
        let entrance = manifest.entrance()?;
        let (name, service) = self.service(entrance);
        let led_to = match service {
            Some(service) => self.led_to(service, entrance.port)?,
            // A chart's Services are templates: most lead to the port of the same number.
            None => entrance.port?.into(),
        };
        let found = can_post(websocket, websocket.operator.expose, name, led_to)?;
        Some(format!("{found}; {REMEDY}"))
    }

    fn led_to(&self, service: &ServiceFacts, wanted: Option<u16>) -> Option<i32> {
        let port = match (wanted, service.ports.as_slice()) {
            (Some(wanted), ports) => ports.iter().find(|port| port.number == i32::from(wanted))?,
            (None, [port]) => port,
            (None, _) => return None,
        };
        let target = port.target.clone();
        let target = target.unwrap_or(IntOrString::Int(port.number));
        let behind = self.behind(service);
        (!is_gateway(&target)).then(|| leads_to(&target, behind))?
    }

    /// That several pods of the entrance know nothing of each other's clients.
    pub(super) fn several(&self, manifest: &Manifest) -> Vec<String> {
        let entrance = manifest.websocket.as_ref().and(manifest.entrance());
        let service = entrance.and_then(|entrance| self.service(entrance).1);
        let selected = service
            .into_iter()
            .flat_map(|service| self.selected(service));
        let found = selected.flat_map(|found| {
            let who = &found.workload;
            let replicas = found.replicas.filter(|replicas| *replicas > 1);
            let stated = replicas.map(|replicas| format!("{who} has {replicas} replicas"));
            let namespace = found.namespace.as_deref();
            let scalers = self.scalers.iter();
            stated
                .into_iter()
                .chain(scalers.filter_map(move |scaler| scaler.several(who, namespace)))
        });
        found.map(|found| format!("{found}; {APART}")).collect()
    }

    fn service<'a>(&self, entrance: &'a Entrance) -> (&'a str, Option<&ServiceFacts>) {
        let name = entrance.host.split('.').next().unwrap_or_default();
        let service = self.services.iter().find(|service| service.name == name);
        (name, service)
    }

    fn behind(&self, service: &ServiceFacts) -> impl Iterator<Item = &Container> {
        let selected = self.selected(service);
        let specs = selected.filter_map(|found| found.template.spec.as_ref());
        specs.flat_map(containers)
    }

    fn selected(&self, service: &ServiceFacts) -> impl Iterator<Item = &Behind> {
        let selector = service.selector.clone();
        self.workloads.iter().filter(move |found| {
            let metadata = found.template.metadata.as_ref();
            let labels = metadata.and_then(|metadata| metadata.labels.as_ref());
            labels.is_some_and(|labels| selects(&selector, labels))
        })
    }
}

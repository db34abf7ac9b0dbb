//! Whether strangers can post what passes for a callback, as far as files tell.

use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use stanza::Manifest;

use super::objects;
use crate::cli::chart::Source;
use crate::cluster::ServiceFacts;
use crate::entrance::is_gateway;
use crate::shape::{containers, selects};
use crate::strangers::{REMEDY, can_post, leads_to};

/// The Services and pod templates of all files.
pub(super) struct Beside {
    pub(super) services: Vec<ServiceFacts>,
    templates: Vec<PodTemplateSpec>,
}

impl Beside {
    pub(super) fn read(sources: &[Source]) -> Self {
        Self {
            services: sources.iter().flat_map(objects::services).collect(),
            templates: sources.iter().flat_map(objects::templates).collect(),
        }
    }

    /// What strangers can do, and the remedy.
    pub(super) fn can_post(&self, manifest: &Manifest) -> Option<String> {
        let websocket = manifest.websocket.as_ref()?;
        let entrance = manifest.entrance()?;
        let name = entrance.host.split('.').next().unwrap_or_default();
        let service = self.services.iter().find(|service| service.name == name);
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

    fn behind(&self, service: &ServiceFacts) -> impl Iterator<Item = &Container> {
        let selector = service.selector.clone();
        let selected = self.templates.iter().filter(move |template| {
            let metadata = template.metadata.as_ref();
            let labels = metadata.and_then(|metadata| metadata.labels.as_ref());
            labels.is_some_and(|labels| selects(&selector, labels))
        });
        let specs = selected.filter_map(|template| template.spec.as_ref());
        specs.flat_map(containers)
    }
}

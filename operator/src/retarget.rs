//! Leads a Service's port elsewhere without becoming the field's owner.
//!
//! Helm 4, and everybody else who applies server-side, would meet a conflict with us in their
//! next change. So the list of owners is put back as it was. That is a second write; where it is
//! cut off from the first, we are taken off the list later.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value as Json, json};
use tracing::{info, warn};

use crate::controller::Retarget;
use crate::names;

/// How often another writer may come between.
const TRIES: usize = 5;

/// A Service that is gone has nothing to lead.
pub async fn retarget(services: &Api<Service>, change: &Retarget) -> kube::Result<()> {
    for _ in 0..TRIES {
        match once(services, change).await {
            Err(kube::Error::Api(error)) if error.code == 404 => return Ok(()),
            Err(kube::Error::Api(error)) if error.code == 409 => {}
            outcome => return outcome,
        }
    }
    once(services, change).await
}

async fn once(services: &Api<Service>, change: &Retarget) -> kube::Result<()> {
    let name = &change.service;
    let before = services.get(name).await?;
    let patch = change.patch(&before);
    let owners = before.metadata.managed_fields;
    let after = write(services, name, &Patch::Merge(patch)).await?;
    let mut version = after.metadata.resource_version;
    info!(change = change.words(), "Service retargeted");
    for _ in 0..TRIES {
        let body = json!({"metadata": {"resourceVersion": version, "managedFields": owners}});
        match write(services, name, &Patch::Merge(body)).await {
            Err(kube::Error::Api(error)) if error.code == 409 => {
                version = services.get(name).await?.metadata.resource_version;
            }
            outcome => return outcome.map(drop),
        }
    }
    // The Service leads where it should; only its next server-side apply may meet a conflict.
    warn!(
        name,
        "the owners of a Service's fields could not be put back"
    );
    Ok(())
}

/// Whether we own fields of somebody's Service. Our companions are applied, these are not.
pub fn holds(owners: &[ManagedFieldsEntry]) -> bool {
    owners.iter().any(is_ours)
}

fn is_ours(owner: &ManagedFieldsEntry) -> bool {
    let update = owner.operation.as_deref() == Some("Update");
    update && owner.manager.as_deref() == Some(names::MANAGER) && owner.subresource.is_none()
}

/// Ends what [`retarget`] had begun. Who owned the port before is not known any more; without an
/// owner nobody meets a conflict, and the next who applies it owns it again.
pub async fn disown(services: &Api<Service>, name: &str) -> kube::Result<()> {
    for _ in 0..TRIES {
        let metadata = match services.get_metadata_opt(name).await? {
            Some(service) => service.metadata,
            None => return Ok(()),
        };
        let owners = metadata.managed_fields.unwrap_or_default();
        if !holds(&owners) {
            return Ok(());
        }
        let body = json!({"metadata": {
            "resourceVersion": metadata.resource_version,
            "managedFields": without_us(owners),
        }});
        match write(services, name, &Patch::Merge(body)).await {
            Err(kube::Error::Api(error)) if error.code == 404 => return Ok(()),
            Err(kube::Error::Api(error)) if error.code == 409 => {}
            outcome => {
                info!(name, "the owners of a Service's fields were put right");
                return outcome.map(drop);
            }
        }
    }
    Ok(())
}

/// An empty list would change nothing; one empty entry is none.
fn without_us(mut owners: Vec<ManagedFieldsEntry>) -> Vec<ManagedFieldsEntry> {
    owners.retain(|owner| !is_ours(owner));
    if owners.is_empty() {
        owners.push(ManagedFieldsEntry::default());
    }
    owners
}

async fn write(services: &Api<Service>, name: &str, patch: &Patch<Json>) -> kube::Result<Service> {
    let params = PatchParams {
        field_manager: Some(names::MANAGER.to_owned()),
        ..PatchParams::default()
    };
    services.patch(name, &params, patch).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(of: &[(&str, &str)]) -> Vec<ManagedFieldsEntry> {
        let entry = |(manager, operation): &(&str, &str)| ManagedFieldsEntry {
            manager: Some((*manager).to_owned()),
            operation: Some((*operation).to_owned()),
            ..ManagedFieldsEntry::default()
        };
        of.iter().map(entry).collect()
    }

    #[test]
    fn a_write_that_broke_off_shows_in_the_owners() {
        let helm = ("helm", "Apply");
        assert!(!holds(&owners(&[helm])));
        // The companions'.
        assert!(!holds(&owners(&[("ws-operator", "Apply")])));
        let cut = owners(&[helm, ("ws-operator", "Update")]);
        assert!(holds(&cut));
        assert_eq!(without_us(cut), owners(&[helm]));
        let alone = without_us(owners(&[("ws-operator", "Update")]));
        assert_eq!(alone, [ManagedFieldsEntry::default()]);
    }
}

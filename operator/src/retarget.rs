//! Leads a Service's port elsewhere without becoming the field's owner.
//!
//! Helm 4, and everybody else who applies server-side, would meet a conflict with us in their
//! next change. So the list of owners is put back as it was.

use k8s_openapi::api::core::v1::Service;
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

async fn write(services: &Api<Service>, name: &str, patch: &Patch<Json>) -> kube::Result<Service> {
    let params = PatchParams {
        field_manager: Some(names::MANAGER.to_owned()),
        ..PatchParams::default()
    };
    services.patch(name, &params, patch).await
}

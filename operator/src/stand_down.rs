//! Before the operator is removed: every entrance that leads to a gateway leads to its app again.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use tracing::info;

use crate::api::AppManifest;
use crate::certificate::configuration::Configuration;
use crate::certificate::entrances;
use crate::cluster::{Facts, ServiceFacts};
use crate::controller::Retarget;
use crate::names;
use crate::retarget::{disown, retarget};

/// How long the operator's pods may take to end.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Clone, Debug, Args)]
pub struct StandDown {
    /// The operator's own namespace
    #[arg(long, env = "POD_NAMESPACE", default_value = "ws-operator")]
    pub namespace: String,
    /// The operator's Deployment
    #[arg(long, default_value = "ws-operator")]
    pub deployment: String,
    /// The MutatingWebhookConfiguration with the entry for routed namespaces
    #[arg(
        long,
        env = "WS_OPERATOR_ENTRANCE_CONFIGURATION",
        default_value = "ws-operator-entrance"
    )]
    pub entrance_configuration: String,
    /// The Lease of the operator, which made it: it goes with the operator
    #[arg(long, env = "WS_OPERATOR_LEASE", default_value = "ws-operator")]
    pub lease: String,
    /// Remove the companion Services too, for when the AppManifests go with their CRD: nobody
    /// would collect them, as their owners' kind is not known any more
    #[arg(long)]
    pub remove_companions: bool,
    /// Remove these Certificates of cert-manager and their Secrets, which it would keep
    #[arg(long, value_name = "CERTIFICATE=SECRET", value_delimiter = ',', value_parser = pair)]
    pub remove_certificates: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (certificate, secret) = text.split_once('=').ok_or("not CERTIFICATE=SECRET")?;
    Ok((certificate.to_owned(), secret.to_owned()))
}

pub async fn stand_down(settings: StandDown) -> anyhow::Result<()> {
    let client = Client::try_default()
        .await
        .context("cannot connect to the API server")?;
    // An operator at work would lead the entrances to the gateways again.
    stop(&client, &settings).await?;
    let configuration = Configuration {
        api: Api::all(client.clone()),
        name: settings.entrance_configuration.clone(),
    };
    entrances::clear(&configuration)
        .await
        .context("cannot clear the webhook configuration")?;
    let params = ListParams::default().labels(names::ROUTED);
    let services: Api<Service> = Api::all(client.clone());
    for service in services.list(&params).await.context("Services")? {
        let namespace = service.namespace().unwrap_or_default();
        let Some(facts) = ServiceFacts::read(service) else {
            continue;
        };
        let Some(change) = Retarget::back(&facts) else {
            continue;
        };
        let services = Api::namespaced(client.clone(), &namespace);
        let led = async {
            retarget(&services, &change).await?;
            // A write of before that broke off.
            disown(&services, &change.service).await
        };
        led.await
            .with_context(|| format!("cannot retarget {} in {namespace}", change.service))?;
    }
    info!("every entrance leads to its app");
    if settings.remove_companions {
        remove_companions(&client).await?;
    }
    remove_certificates(&client, &settings).await?;
    let leases: Api<Lease> = Api::namespaced(client, &settings.namespace);
    remove(&leases, &settings.lease).await
}

/// All Certificates first: of one that is there cert-manager would issue the Secret anew.
async fn remove_certificates(client: &Client, settings: &StandDown) -> anyhow::Result<()> {
    let kind = GroupVersionKind::gvk("cert-manager.io", "v1", "Certificate");
    let kind = ApiResource::from_gvk(&kind);
    let place = &settings.namespace;
    let certificates: Api<DynamicObject> = Api::namespaced_with(client.clone(), place, &kind);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), place);
    for (certificate, _) in &settings.remove_certificates {
        remove(&certificates, certificate).await?;
    }
    for (_, secret) in &settings.remove_certificates {
        remove(&secrets, secret).await?;
    }
    Ok(())
}

/// What is gone already is no error.
async fn remove<K>(api: &Api<K>, name: &str) -> anyhow::Result<()>
where
    K: Clone + Debug + DeserializeOwned,
{
    match api.delete(name, &DeleteParams::default()).await {
        Ok(_) => info!(name, "deleted before the uninstall"),
        Err(kube::Error::Api(error)) if error.code == 404 => {}
        Err(error) => return Err(error).with_context(|| format!("cannot remove {name}")),
    }
    Ok(())
}

async fn remove_companions(client: &Client) -> anyhow::Result<()> {
    let kind = AppManifest::kind(&());
    let params = ListParams::default().labels(names::ENTRANCE);
    let services: Api<Service> = Api::all(client.clone());
    for service in services.list(&params).await.context("Services")? {
        let owners = service.owner_references();
        if !owners.iter().any(|owner| owner.kind == kind) {
            continue;
        }
        let namespace = service.namespace().unwrap_or_default();
        let services: Api<Service> = Api::namespaced(client.clone(), &namespace);
        remove(&services, &service.name_any())
            .await
            .with_context(|| format!("a companion Service in {namespace}"))?;
    }
    Ok(())
}

async fn stop(client: &Client, settings: &StandDown) -> anyhow::Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &settings.namespace);
    let pods: Api<Pod> = Api::namespaced(client.clone(), &settings.namespace);
    let name = &settings.deployment;
    let none = Patch::Merge(json!({"spec": {"replicas": 0}}));
    match deployments
        .patch_scale(name, &PatchParams::default(), &none)
        .await
    {
        Err(kube::Error::Api(error)) if error.code == 404 => return Ok(()),
        outcome => outcome.context("cannot stop the operator")?,
    };
    let started = tokio::time::Instant::now();
    while started.elapsed() < PATIENCE {
        let scale = deployments
            .get_scale(name)
            .await
            .context("the operator's scale")?;
        let selector = scale.status.and_then(|status| status.selector);
        // Pods that are ending still control for a moment, and the scale counts them no more.
        let ours = ListParams::default().labels(&selector.unwrap_or_default());
        let left = pods
            .list_metadata(&ours)
            .await
            .context("the operator's pods")?;
        if left.items.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    bail!("the operator did not stop within {PATIENCE:?}")
}

//! The cluster as it is at one moment, for commands that decide as the operator does.

use anyhow::Context;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};

use crate::cluster::{Cluster, Facts, Store, UNRETRIEVED};

/// Objects a page.
const PAGE: u32 = 500;

/// Of one namespace, or of all.
pub(super) async fn read(client: &Client, namespace: Option<&str>) -> anyhow::Result<Cluster> {
    let cluster = Cluster::default();
    list(client, namespace, &cluster.apps).await?;
    list(client, namespace, &cluster.services).await?;
    list(client, namespace, &cluster.pods).await?;
    list(client, namespace, &cluster.deployments).await?;
    list(client, namespace, &cluster.stateful_sets).await?;
    list(client, namespace, &cluster.daemon_sets).await?;
    list(client, namespace, &cluster.budgets).await?;
    // Who may not read these is not told what they keep from being.
    let _ = list(client, namespace, &cluster.ranges).await;
    let _ = list(client, namespace, &cluster.quotas).await;
    let told = ListParams::default().fields(&format!("reason={UNRETRIEVED}"));
    let _ = list_some(client, namespace, &cluster.unretrieved, told).await;
    labels(client, namespace, &cluster).await;
    Ok(cluster)
}

/// Who may not read namespaces finds out later, by what a restart did not help.
async fn labels(client: &Client, namespace: Option<&str>, cluster: &Cluster) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let found = match namespace {
        Some(name) => namespaces.get_metadata(name).await.map(|one| vec![one]),
        None => namespaces
            .list_metadata(&ListParams::default())
            .await
            .map(|list| list.items),
    };
    for object in found.into_iter().flatten() {
        let name = object.name_any();
        cluster.namespaces.put("", &name, Facts::read(object));
    }
}

async fn list<T: Facts>(
    client: &Client,
    namespace: Option<&str>,
    store: &Store<T>,
) -> anyhow::Result<()>
where
    T::Object: Resource<Scope = NamespaceResourceScope>,
{
    list_some(client, namespace, store, ListParams::default()).await
}

async fn list_some<T: Facts>(
    client: &Client,
    namespace: Option<&str>,
    store: &Store<T>,
    params: ListParams,
) -> anyhow::Result<()>
where
    T::Object: Resource<Scope = NamespaceResourceScope>,
{
    let api: Api<T::Object> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let mut params = params.limit(PAGE);
    loop {
        let page = api.list(&params).await.with_context(|| {
            let kind = T::Object::plural(&());
            let place = namespace.map(|name| format!(" in {name}"));
            format!("cannot list {kind}{}", place.unwrap_or_default())
        })?;
        let next = page.metadata.continue_.clone().unwrap_or_default();
        for object in page {
            let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
            store.put(&namespace, &name, T::read(object));
        }
        if next.is_empty() {
            return Ok(());
        }
        params = params.continue_token(&next);
    }
}

//! The objects: apps with their Services, Deployments whose pods no scheduler takes.

use std::time::Duration;

use anyhow::Result;
use e2e::small::Small;
use futures_util::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, PostParams,
};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value as Json, json};
use tokio::time::MissedTickBehavior;

const APPS_IN_A_NAMESPACE: usize = 50;
const AT_ONCE: usize = 16;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) apps: usize,
    pub(crate) pods_per_app: usize,
    /// Pods replaced in a second, once all are there.
    pub(crate) rate: u32,
    pub(crate) replaced: usize,
}

/// What came of it.
pub(crate) struct Injected {
    pub(crate) pods: usize,
    pub(crate) apps: usize,
}

impl Load {
    /// Namespaces, Services and AppManifests.
    pub(crate) async fn apps(&self, client: &Client) -> Result<()> {
        for index in 0..self.namespaces() {
            let body = json!({"metadata": {"name": format!("bench-{index}")}});
            let object: Namespace = serde_json::from_value(body)?;
            Api::all(client.clone())
                .create(&PostParams::default(), &object)
                .await?;
        }
        self.each(async |namespace, small| {
            let services: Api<Service> = Api::namespaced(client.clone(), &namespace);
            create(&services, small.service()).await?;
            let manifests = manifests(client, &namespace);
            create(&manifests, small.manifest(&json!({}))).await
        })
        .await
    }

    pub(crate) async fn deployments(&self, client: &Client) -> Result<()> {
        let replicas = u32::try_from(self.pods_per_app)?;
        self.each(async |namespace, small| {
            let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
            let small = small
                .replicas(replicas)
                .pod(json!({"schedulerName": "nobody"}));
            create(&deployments, small.workload()).await
        })
        .await
    }

    /// Deletes pods of ever other apps at a steady rate: each is made anew by its ReplicaSet.
    pub(crate) async fn replace(&self, client: &Client) -> Result<()> {
        let mut all = Vec::new();
        for index in 0..self.namespaces() {
            let pods: Api<Pod> = Api::namespaced(client.clone(), &format!("bench-{index}"));
            all.push(pods.list_metadata(&ListParams::default()).await?.items);
        }
        let longest = all.iter().map(Vec::len).max().unwrap_or_default();
        let in_turn = (0..longest).flat_map(|index| all.iter().filter_map(move |of| of.get(index)));
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / self.rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for pod in in_turn.take(self.replaced) {
            ticks.tick().await;
            let namespace = pod.namespace().unwrap_or_default();
            let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
            pods.delete(&pod.name_any(), &DeleteParams::default())
                .await?;
        }
        Ok(())
    }

    fn namespaces(&self) -> usize {
        self.apps.div_ceil(APPS_IN_A_NAMESPACE)
    }

    async fn each(&self, what: impl AsyncFn(String, Small) -> Result<()>) -> Result<()> {
        stream::iter(0..self.apps)
            .map(|index| {
                let namespace = format!("bench-{}", index / APPS_IN_A_NAMESPACE);
                what(namespace, Small::deployment(&format!("app-{index}")))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// How many pods have a gateway, and how many apps say that all have.
    pub(crate) async fn injected(&self, client: &Client) -> Result<Injected> {
        let mut injected = Injected { pods: 0, apps: 0 };
        for index in 0..self.namespaces() {
            let namespace = format!("bench-{index}");
            let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
            let pods = pods.list(&ListParams::default()).await?;
            let has = |pod: &&Pod| pod.annotations().contains_key("ws.olares.com/injected");
            injected.pods += pods.iter().filter(has).count();
            let apps = manifests(client, &namespace);
            let apps = apps.list(&ListParams::default()).await?;
            let says = |app: &&DynamicObject| {
                let words = app.data["status"]["conditions"].to_string();
                words.contains("\"AllInjected\"")
            };
            injected.apps += apps.iter().filter(says).count();
        }
        Ok(injected)
    }
}

fn manifests(client: &Client, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("ws.olares.com", "v1alpha1", "AppManifest");
    let resource = ApiResource::from_gvk_with_plural(&kind, "appmanifests");
    Api::namespaced_with(client.clone(), namespace, &resource)
}

async fn create<K>(api: &Api<K>, object: Json) -> Result<()>
where
    K: Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    let object = serde_json::from_value(object)?;
    api.create(&PostParams::default(), &object).await?;
    Ok(())
}

//! The cluster that the tests run against, and a namespace of it for each test.

use std::env;
use std::error::Error;
use std::fmt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Namespace as NamespaceObject, Pod};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::command::{kubectl, look};
use crate::operator;

/// The variable that says that this cluster may be used: `disposable` is set by
/// tests/cluster/run, `existing` by people.
const OPT_IN: &str = "WS_CLUSTER";

/// Why there is no cluster for tests here; `None`: there is one.
pub fn missing() -> Option<String> {
    let opted_in =
        env::var(OPT_IN).is_ok_and(|value| ["disposable", "existing"].contains(&value.as_str()));
    if opted_in && env::var_os("KUBECONFIG").is_some() {
        return None;
    }
    Some("no cluster: run `make e2e`, or set KUBECONFIG to a disposable cluster and WS_CLUSTER=existing".to_owned())
}

/// Whether this runs inside the cluster's network, as under tests/cluster/run.
pub fn in_its_network() -> bool {
    env::var(OPT_IN).is_ok_and(|value| value == "disposable")
}

/// The error of a test that finds that it cannot run here.
#[derive(Debug)]
pub struct Skipped(pub &'static str);

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SKIPPED, {}", self.0)
    }
}

impl Error for Skipped {}

/// The checkout's root.
pub fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A client of the API server, with the rights of whoever runs the tests.
pub async fn client() -> Result<Client> {
    Client::try_default()
        .await
        .context("KUBECONFIG leads to no API server")
}

/// A namespace of one test. PodSecurity admits only restricted pods to it, as a careful cluster does.
pub struct Namespace {
    pub name: String,
    pub client: Client,
}

impl Namespace {
    /// A namespace whose name begins with `prefix`.
    pub async fn create(prefix: &str) -> Result<Self> {
        let client = client().await?;
        let object: NamespaceObject = serde_json::from_value(json!({
            "metadata": {
                "generateName": format!("{prefix}-"),
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            }
        }))?;
        let created = Api::all(client.clone())
            .create(&PostParams::default(), &object)
            .await?;
        let name = created
            .metadata
            .name
            .context("a namespace without a name")?;
        Ok(Self { name, client })
    }

    /// The namespace of that name, from another thread: a client lives and ends with its runtime.
    pub async fn of(name: &str) -> Result<Self> {
        let name = name.to_owned();
        Ok(Self {
            name,
            client: client().await?,
        })
    }

    pub fn api<T>(&self) -> Api<T>
    where
        T: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        T::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// The pods with that label.
    pub async fn all_pods(&self, label: &str) -> Result<Vec<Pod>> {
        let labels = ListParams::default().labels(label);
        Ok(self.api().list(&labels).await?.items)
    }

    /// The same, those that are going left out.
    pub async fn pods(&self, label: &str) -> Result<Vec<Pod>> {
        let mut pods = self.all_pods(label).await?;
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        Ok(pods)
    }

    /// `kubectl delete --wait=false` in this namespace.
    pub fn begin_delete(&self, kind: &str, name: &str) -> Result<()> {
        kubectl(["-n", &self.name, "delete", kind, name, "--wait=false"]).map(drop)
    }

    /// `kubectl apply -f -` in this namespace.
    pub fn apply(&self, yaml: &str) -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), yaml)?;
        kubectl([
            "-n",
            &self.name,
            "apply",
            "-f",
            &file.path().display().to_string(),
        ])
        .map(drop)
    }

    /// Removes the namespace; nobody waits for it to be gone.
    pub async fn delete(&self) -> Result<()> {
        let namespaces: Api<NamespaceObject> = Api::all(self.client.clone());
        namespaces
            .delete(&self.name, &DeleteParams::background())
            .await?;
        Ok(())
    }

    /// What there is to see in this namespace and of the operator, for messages of failures.
    pub fn describe(&self) -> String {
        let place = ["-n", self.name.as_str()];
        let look = |title: &str, args: &[&str]| look(title, &[&place, args].concat());
        let logs = [
            "logs",
            "-l",
            "app=chat",
            "--all-containers",
            "--prefix",
            "--tail=20",
        ];
        [
            look("pods and Services", &["get", "pods,services", "-o", "wide"]),
            look("events", &["get", "events", "--sort-by=.lastTimestamp"]),
            look("AppManifests", &["get", "appmanifests", "-o", "yaml"]),
            look("the app's and the gateway's log", &logs),
            operator::describe(),
        ]
        .concat()
    }
}

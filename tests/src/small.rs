//! A workload that does nothing, and an AppManifest for it: for tests of what becomes of pods.

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value as Json, json};

use crate::chart;
use crate::cluster::Namespace;

/// An app of that name: its workload, its Service and its AppManifest are called the same.
#[derive(Clone, Debug)]
#[must_use]
pub struct Small {
    pub name: String,
    kind: &'static str,
    replicas: u32,
    /// What else the workload's spec says.
    spec: Json,
    /// What else its pods' spec says.
    pod: Json,
    annotations: Json,
    /// Beside the label that the Service selects by.
    labels: Json,
    container: Json,
}

impl Small {
    pub fn new(kind: &'static str, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            replicas: 1,
            spec: json!({}),
            pod: json!({}),
            annotations: json!({}),
            labels: json!({}),
            container: json!({}),
        }
    }

    pub fn deployment(name: &str) -> Self {
        Self::new("Deployment", name)
    }

    pub fn replicas(self, replicas: u32) -> Self {
        Self { replicas, ..self }
    }

    pub fn spec(self, spec: Json) -> Self {
        Self { spec, ..self }
    }

    pub fn pod(self, pod: Json) -> Self {
        Self { pod, ..self }
    }

    pub fn annotations(self, annotations: Json) -> Self {
        Self {
            annotations,
            ..self
        }
    }

    pub fn labels(self, labels: Json) -> Self {
        Self { labels, ..self }
    }

    pub fn container(self, container: Json) -> Self {
        Self { container, ..self }
    }

    /// The pod's template, or a pod without its name.
    pub fn template(&self) -> Json {
        let mut container = json!({
            "name": "main",
            "image": chart::image(),
            "command": ["python3", "-c", "import signal; signal.pause()"],
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
        });
        merge(&mut container, &self.container);
        let mut pod = json!({
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
        });
        merge(&mut pod, &self.pod);
        let mut labels = json!({"small": self.name});
        merge(&mut labels, &self.labels);
        json!({"metadata": {"labels": labels, "annotations": self.annotations}, "spec": pod})
    }

    pub fn workload(&self) -> Json {
        let mut spec = json!({
            "selector": {"matchLabels": {"small": self.name}},
            "template": self.template(),
        });
        if self.kind != "DaemonSet" {
            spec["replicas"] = json!(self.replicas);
        }
        if self.kind == "StatefulSet" {
            spec["serviceName"] = json!(self.name);
        }
        merge(&mut spec, &self.spec);
        json!({"apiVersion": "apps/v1", "kind": self.kind, "metadata": {"name": self.name}, "spec": spec})
    }

    pub fn service(&self) -> Json {
        let spec =
            json!({"selector": {"small": self.name}, "ports": [{"port": 80, "targetPort": 8888}]});
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": self.name}, "spec": spec})
    }

    /// With `more` in the stanza.
    pub fn manifest(&self, more: &Json) -> Json {
        let mut websocket = json!({"url": "/ws/message", "port": 8888});
        merge(&mut websocket, more);
        json!({
            "apiVersion": "ws.olares.com/v1alpha1", "kind": "AppManifest", "metadata": {"name": self.name},
            "spec": {"entrances": [{"name": self.name, "host": self.name}], "options": {"websocket": websocket}},
        })
    }

    /// Workload and Service, and no AppManifest yet.
    pub fn start(&self, namespace: &Namespace) -> Result<()> {
        apply(namespace, &[self.workload(), self.service()])
    }

    pub fn ask(&self, namespace: &Namespace, more: &Json) -> Result<()> {
        apply(namespace, &[self.manifest(more)])
    }

    /// Its pods, those that are going left out.
    pub async fn pods(&self, namespace: &Namespace) -> Result<Vec<Pod>> {
        namespace.pods(&format!("small={}", self.name)).await
    }
}

/// `kubectl apply` of these objects.
pub fn apply(namespace: &Namespace, objects: &[Json]) -> Result<()> {
    namespace.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string())
}

/// The keys of `more` over those of `base`; objects in both are merged.
fn merge(base: &mut Json, more: &Json) {
    let (Json::Object(base), Json::Object(more)) = (&mut *base, more) else {
        more.clone_into(base);
        return;
    };
    for (key, value) in more {
        merge(base.entry(key.clone()).or_insert(Json::Null), value);
    }
}

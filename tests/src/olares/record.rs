//! Olares' own records of apps, which the operator reads where the cluster has the kind.

use serde_json::json;

/// The CRD of Olares' records of apps.
pub const CRD: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: applicationmanagers.app.bytetrade.io}
spec:
  group: app.bytetrade.io
  scope: Cluster
  names: {kind: ApplicationManager, listKind: ApplicationManagerList, plural: applicationmanagers, singular: applicationmanager}
  versions:
  - name: v1alpha1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}
";

/// The record of the example, with the names of Olares' Go types.
pub fn record(namespace: &str) -> String {
    let config = json!({
        "AppID": "chat", "AppName": "chat", "OwnerName": "alice", "Namespace": namespace,
        "Entrances": [{"name": "chat", "host": "chat", "port": 80, "title": "Chat", "authLevel": "private"}],
        "WsConfig": {"port": 8888, "url": "/ws/message"},
    });
    let object = json!({
        "apiVersion": "app.bytetrade.io/v1alpha1", "kind": "ApplicationManager",
        "metadata": {"name": format!("{namespace}-chat")},
        "spec": {
            "appName": "chat", "appNamespace": namespace, "appOwner": "alice",
            "source": "market", "type": "app", "config": config.to_string(),
        },
    });
    object.to_string()
}

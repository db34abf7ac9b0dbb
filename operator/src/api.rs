//! The AppManifest: the one object that everything downstream of the sources reads.

mod bounded;

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value as Json};

use bounded::Bounded;

/// Of an AppManifest's spec; an OlaresManifest is a tenth of it.
pub const LONGEST_SPEC: usize = 256 << 10;

/// An OlaresManifest document as it stands. The schema is open: the operator validates, and
/// says in the status what is wrong.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize)]
#[kube(
    group = "ws.olares.com",
    version = "v1alpha1",
    kind = "AppManifest",
    namespaced,
    schema = "derived",
    status = "AppManifestStatus",
    shortname = "appm",
    category = "all",
    derive = "PartialEq",
    doc = "An app's OlaresManifest: its options.websocket asks for a WebSocket gateway in the app's pods.",
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name": "Injected", "type": "string", "jsonPath": ".status.pods.summary"}"#,
    printcolumn = r#"{"name": "URL", "type": "string", "jsonPath": ".status.url"}"#,
    printcolumn = r#"{"name": "Message", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].message", "priority": 1}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(transparent)]
pub struct AppManifestSpec {
    pub document: Map<String, Json>,
    /// It is over [`LONGEST_SPEC`], and `document` a part of it.
    #[serde(skip)]
    pub too_long: bool,
}

impl<'de> Deserialize<'de> for AppManifestSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Bounded { map, too_long } = Bounded::deserialize(deserializer, LONGEST_SPEC)?;
        Ok(Self {
            document: map,
            too_long,
        })
    }
}

impl JsonSchema for AppManifestSpec {
    fn schema_name() -> Cow<'static, str> {
        "AppManifestSpec".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "An OlaresManifest document as it stands. Read are metadata.name, entrances and options.websocket.",
            "x-kubernetes-preserve-unknown-fields": true
        })
    }
}

/// What the operator found and did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppManifestStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    #[serde(default, deserialize_with = "conditions")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
    /// The entrance's pods.
    #[serde(default)]
    pub pods: PodCounts,
    /// The Service that the gateway's pods were found through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrance: Option<String>,
    /// How clients reach the gateway: `entrance`, `service` or `none`; as the stanza says, or by
    /// default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expose: Option<String>,
    /// Where clients connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Whose word on a user's name the gateway takes (`identity.trustedProxies`), and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Settings that were ignored, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The workloads in play, and what is done or due with each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workloads: Vec<WorkloadStatus>,
}

/// As `metav1.Condition` has it: k8s-openapi's own schema leaves the patterns out.
fn conditions_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "description": "Accepted, Injected, Routed and Ready.",
        "default": [],
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "type": {
                    "type": "string",
                    "maxLength": 316,
                    "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
                },
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "reason": {
                    "type": "string",
                    "description": "One of docs/reasons.md.",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                },
                "message": {"type": "string", "maxLength": 32768},
                "lastTransitionTime": {"type": "string", "format": "date-time"},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
            },
        },
    })
}

/// Without those that are none: whoever may write a status must not keep the whole list from being
/// read.
fn conditions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Condition>, D::Error> {
    let found = Option::<Vec<Json>>::deserialize(deserializer)?;
    let read = |one| serde_json::from_value(one).ok();
    Ok(found
        .unwrap_or_default()
        .into_iter()
        .filter_map(read)
        .collect())
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodCounts {
    /// `2/3`: injected with the present settings, of all that should be.
    #[serde(default)]
    pub summary: String,
    /// Pods that should have the gateway.
    #[serde(default)]
    pub wanted: u32,
    /// … and have it with the present settings.
    #[serde(default)]
    pub current: u32,
    /// … have it with settings of before.
    #[serde(default)]
    pub stale: u32,
    /// … have none.
    #[serde(default)]
    pub bare: u32,
    /// … and are ready.
    #[serde(default)]
    pub ready: u32,
    /// Pods whose gateway image is not the operator's present one.
    #[serde(default)]
    pub outdated: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadStatus {
    pub kind: String,
    pub name: String,
    /// One of docs/reasons.md.
    pub reason: String,
    pub message: String,
}

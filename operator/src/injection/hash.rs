//! The hash of the settings that a gateway was injected with.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use ring::digest;
use serde_json::json;
use stanza::field::Field;
use stanza::{WebSocket, env};

/// Counts up when the injected container changes so much that running pods must be restarted.
const FORM: u32 = 1;

/// Covers what the stanza says, and neither the image nor the operator's defaults: their change
/// never restarts a pod by itself. What the gateway stands in front of belongs to it, as the
/// entrance is led to the gateway only when every pod has one that does.
pub fn hash(websocket: &WebSocket, upstream: Option<&IntOrString>) -> String {
    let operator = &websocket.operator;
    let mut settings = vec![
        json!(FORM),
        json!(env::to_env(websocket)),
        json!(operator.sidecar.as_str()),
        json!(operator.resources.as_ref().map(Field::to_json)),
        json!(websocket.hold_app),
    ];
    settings.extend(upstream.map(|port| json!(port)));
    let text = serde_json::Value::Array(settings).to_string();
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&digest.as_ref()[..8]);
    format!("{:016x}", u64::from_be_bytes(first))
}

//! The hash of the settings that a gateway was injected with.

use ring::digest;
use serde_json::json;
use stanza::field::Field;
use stanza::{WebSocket, env};

/// Counts up when the injected container changes so much that running pods must be restarted.
const FORM: u32 = 1;

/// Covers what the stanza says, and neither the image nor the operator's defaults: their change
/// never restarts a pod by itself.
pub fn hash(websocket: &WebSocket) -> String {
    let operator = &websocket.operator;
    let settings = json!([
        FORM,
        env::to_env(websocket),
        operator.sidecar.as_str(),
        operator.resources.as_ref().map(Field::to_json),
        websocket.hold_app,
    ]);
    let digest = digest::digest(&digest::SHA256, settings.to_string().as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&digest.as_ref()[..8]);
    format!("{:016x}", u64::from_be_bytes(first))
}

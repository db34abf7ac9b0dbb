//! The contract between operator and gateway: the sidecar's name, ports, files and environment.
//!
//! The operator writes these into the pod, the gateway reads them; neither has a copy.

use serde_json::{Map, Value as Json};

use crate::manifest::{CallbackTarget, WebSocket};

/// The container's name, as the original Olares injection called it.
pub const CONTAINER: &str = "olares-ws-sidecar";
/// Clients connect here, and the app's own admin calls arrive here.
pub const CLIENT_PORT: u16 = 40010;
/// `/healthz`, `/readyz` and `/metrics`.
pub const OPS_PORT: u16 = 40011;
/// The admin API for other pods; open only with [`ADMIN_TOKEN`] or [`ADMIN_TOKEN_FILE`].
pub const REMOTE_ADMIN_PORT: u16 = 40012;
/// Ports that no app in the same pod can have.
pub const GATEWAY_PORTS: [u16; 3] = [CLIENT_PORT, OPS_PORT, REMOTE_ADMIN_PORT];
/// The program's path in the image.
pub const PROGRAM: &str = "/ws-gateway";

/// The app's callback port, as upstream: `8888`.
pub const PORT: &str = "WS_PORT";
/// The app's callback path, as upstream: `/ws/message`.
pub const URL: &str = "WS_URL";
/// The rest of the stanza that differs from the defaults, as one JSON object.
pub const OPTIONS: &str = "WS_OPTIONS";
/// With `expose: entrance`: the pod's address, by the downward API.
pub const POD_IP: &str = "WS_POD_IP";
/// With `expose: entrance`: the app's own port, to which everything but WebSockets goes.
pub const UPSTREAM_PORT: &str = "WS_UPSTREAM_PORT";
/// The bearer token of the admin API.
pub const ADMIN_TOKEN: &str = "WS_ADMIN_TOKEN";
/// The file that holds such tokens, one a line.
pub const ADMIN_TOKEN_FILE: &str = "WS_ADMIN_TOKEN_FILE";
/// The file that holds the keys that callbacks are signed with, one a line.
pub const CALLBACK_SIGNING_FILE: &str = "WS_CALLBACK_SIGNING_FILE";
/// Where the operator mounts the Secrets that the stanza names.
pub const SECRETS_DIR: &str = "/etc/ws-gateway";
/// The directory of the crash journal; unset: no journal.
pub const JOURNAL: &str = "WS_JOURNAL";
/// Where the operator mounts the journal's emptyDir.
pub const JOURNAL_DIR: &str = "/var/lib/ws-gateway";
/// That emptyDir's size. The journal takes up to 6 MiB of it, which is ten thousand connections
/// with the longest names, and as much again while it is written anew. In memory what is used
/// counts against the container's limit.
pub const JOURNAL_SIZE: &str = "16Mi";

/// The variables that carry a stanza, in the order in which they stand in the container.
pub fn to_env(stanza: &WebSocket) -> Vec<(&'static str, String)> {
    let mut env = vec![
        (PORT, stanza.target.port.to_string()),
        (URL, stanza.target.path.to_string()),
    ];
    let options = stanza.gateway.changed();
    if !options.is_empty() {
        env.push((OPTIONS, Json::Object(options).to_string()));
    }
    env
}

/// The settings of type `Secret`, by their places in [`OPTIONS`].
const SECRETS: [[&str; 3]; 1] = [["identity", "jwt", "secret"]];

/// The options without what is secret in them, and that.
pub fn without_secrets(options: &str) -> (String, Vec<Json>) {
    let Ok(mut rest) = serde_json::from_str::<Json>(options) else {
        return (options.to_owned(), Vec::new());
    };
    let mut secrets = Vec::new();
    for [group, part, key] in SECRETS {
        let found = rest
            .pointer_mut(&format!("/{group}/{part}"))
            .and_then(|part| part.as_object_mut()?.get_mut(key));
        secrets.extend(found.map(Json::take));
    }
    if secrets.is_empty() {
        return (options.to_owned(), secrets);
    }
    (rest.to_string(), secrets)
}

/// The stanza as one document again: what [`to_env`] wrote, or what a person set.
pub fn stanza_of(target: &CallbackTarget, options: Map<String, Json>) -> Json {
    let mut stanza = options;
    stanza.insert("url".to_owned(), Json::from(target.path.as_str()));
    stanza.insert("port".to_owned(), Json::from(target.port.get()));
    Json::Object(stanza)
}

/// The environment variable of a gateway setting: `heartbeat.serverPing` is `WS_HEARTBEAT_SERVER_PING`.
pub fn variable(key: &str) -> String {
    let mut name = String::from("WS_");
    for c in key.chars() {
        match c {
            '.' => name.push('_'),
            c if c.is_ascii_uppercase() => {
                name.push('_');
                name.push(c);
            }
            c => name.push(c.to_ascii_uppercase()),
        }
    }
    name
}

/// The flag of a gateway setting, without dashes in front: `heartbeat-server-ping`.
pub fn flag(key: &str) -> String {
    variable(key)["WS_".len()..]
        .to_ascii_lowercase()
        .replace('_', "-")
}

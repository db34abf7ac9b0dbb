//! The hash of the settings that a gateway was injected with.
//!
//! Written down it says nothing of secrets: they may be short, and whoever reads Deployments could
//! try words until the hash fits. In memory it covers them too, under a key of this process. What
//! a running gateway has of them is seen in its container.

use std::sync::LazyLock;

use k8s_openapi::api::core::v1::Container;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use ring::{digest, hmac, rand};
use serde_json::{Value as Json, json};
use stanza::field::Field;
use stanza::{WebSocket, env};

use crate::webhook::door::hex;

/// Counts up when the injected container changes so much that running pods must be restarted.
const FORM: u32 = 1;
/// Between what is written down and what is not.
const UNWRITTEN: char = '~';

static KEY: LazyLock<Option<hmac::Key>> =
    LazyLock::new(|| hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new()).ok());

/// Covers what the stanza says, and neither the image nor the operator's defaults: their change
/// never restarts a pod by itself. What the gateway stands in front of belongs to it, as the
/// entrance is led to the gateway only when every pod has one that does. Of Secrets it covers which
/// they are and never what is in them.
pub fn hash(websocket: &WebSocket, upstream: Option<&IntOrString>) -> String {
    let plain = websocket.gateway.heartbeat.plain();
    if plain != websocket.gateway.heartbeat {
        // Who writes a default out restarts nothing.
        let mut websocket = websocket.clone();
        websocket.gateway.heartbeat = plain;
        return hash(&websocket, upstream);
    }
    let operator = &websocket.operator;
    let mut secrets = Vec::new();
    let variables = env::to_env(websocket).into_iter().map(|(name, value)| {
        if name != env::OPTIONS {
            return (name, value);
        }
        let (rest, found) = env::without_secrets(&value);
        secrets = found;
        (name, rest)
    });
    let variables: Vec<_> = variables.collect();
    let mut settings = vec![
        json!(FORM),
        json!(variables),
        json!(operator.sidecar.as_str()),
        json!(operator.resources.as_ref().map(Field::to_json)),
        json!(websocket.hold_app),
    ];
    settings.extend(upstream.map(|port| json!(port)));
    if !websocket.secrets.is_empty() {
        settings.push(websocket.secrets.to_json());
    }
    let text = Json::Array(settings).to_string();
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&digest.as_ref()[..8]);
    with_secrets(format!("{:016x}", u64::from_be_bytes(first)), &secrets)
}

/// Of a gateway that was injected with settings of the hash that is written beside it.
pub fn injected(written: String, gateway: &Container) -> String {
    let mut variables = gateway.env.iter().flatten();
    let options = variables.find(|variable| variable.name == env::OPTIONS);
    let options = options.and_then(|options| options.value.as_deref());
    let (_, secrets) = env::without_secrets(options.unwrap_or_default());
    with_secrets(written, &secrets)
}

/// What may be written down.
pub fn written(hash: &str) -> &str {
    hash.split(UNWRITTEN).next().unwrap_or_default()
}

fn with_secrets(mut hash: String, secrets: &[Json]) -> String {
    if secrets.is_empty() {
        return hash;
    }
    hash.push(UNWRITTEN);
    if let Some(key) = &*KEY {
        let tag = hmac::sign(key, json!(secrets).to_string().as_bytes());
        hash.push_str(&hex(tag.as_ref()));
    }
    hash
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::EnvVar;
    use stanza::Manifest;

    use super::*;

    fn websocket(jwt: &Json) -> WebSocket {
        let document = json!({
            "options": {"websocket": {"url": "/ws", "port": 80, "identity": {"jwt": jwt}}},
        });
        let read = Manifest::from_json("test", "spec", &document);
        read.unwrap().websocket.unwrap()
    }

    fn container(websocket: &WebSocket) -> Container {
        let variables = env::to_env(websocket).into_iter();
        let variables = variables.map(|(name, value)| EnvVar {
            name: name.to_owned(),
            value: Some(value),
            value_from: None,
        });
        Container {
            env: Some(variables.collect()),
            ..Container::default()
        }
    }

    #[test]
    fn a_guessed_secret_is_not_confirmed_by_what_is_written() {
        let of = |secret: &str| hash(&websocket(&json!({"secret": secret})), None);
        let (one, other) = (of("summer-2026"), of("winter-2026"));
        assert_ne!(one, other, "another secret restarts pods");
        assert_eq!(written(&one), written(&other));
        assert!(!one.contains("summer"));
        let claim = hash(
            &websocket(&json!({"secret": "summer-2026", "claim": "sub"})),
            None,
        );
        assert_ne!(written(&one), written(&claim));
    }

    #[test]
    fn a_running_gateway_shows_whether_its_secret_is_of_before() {
        for jwt in [json!({"secret": "summer-2026"}), json!({"claim": "sub"})] {
            let websocket = websocket(&jwt);
            let wanted = hash(&websocket, None);
            let of_pod = |container: &Container| injected(written(&wanted).to_owned(), container);
            assert_eq!(of_pod(&container(&websocket)), wanted, "{jwt}");
        }
        let wanted = hash(&websocket(&json!({"secret": "winter-2026"})), None);
        let before = container(&websocket(&json!({"secret": "summer-2026"})));
        assert_ne!(injected(written(&wanted).to_owned(), &before), wanted);
    }

    #[test]
    fn a_default_that_follows_another_setting_restarts_nobody_when_written_out() {
        let of = |heartbeat: Json| {
            let document = json!({
                "options": {"websocket": {"url": "/ws", "port": 80, "heartbeat": heartbeat}},
            });
            let read = Manifest::from_json("test", "spec", &document);
            hash(&read.unwrap().websocket.unwrap(), None)
        };
        let unset = of(json!({}));
        assert_eq!(unset, of(json!({"timeout": "75s"})));
        assert_ne!(unset, of(json!({"timeout": "76s"})));
        assert_ne!(unset, of(json!({"timeout": 0})));
        let pings = of(json!({"serverPing": true}));
        assert_eq!(
            pings,
            of(json!({"serverPing": true, "interval": "30s", "timeout": "75s"}))
        );
        let slow = of(json!({"serverPing": true, "interval": "60s"}));
        assert_ne!(slow, pings);
        assert_eq!(
            slow,
            of(json!({"serverPing": true, "interval": "60s", "timeout": "150s"}))
        );
        assert_ne!(
            slow,
            of(json!({"serverPing": true, "interval": "60s", "timeout": "75s"}))
        );
    }

    /// A setting of that type that is not listed would be in the hash.
    #[test]
    fn every_secret_setting_is_left_out() {
        let settings = include_str!("../../../stanza/src/settings.rs");
        assert_eq!(settings.matches(": Option<Secret>").count(), 1);
    }
}

//! Whether strangers can post what passes for a callback: through the entrance's own Service,
//! where that leads to the very port that callbacks go to (pure).

use k8s_openapi::api::core::v1::Container;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use stanza::WebSocket;
use stanza::choice::Expose;
use stanza::secret::SecretUse;

/// What to do about it.
pub const REMEDY: &str = "set callback.signing.secretFrom and verify the signature (docs/signing.md), or expose: entrance, which refuses such requests";

/// Where the Service leads, as a container of its pods has it.
pub fn leads_to<'a>(
    target: &IntOrString,
    mut containers: impl Iterator<Item = &'a Container>,
) -> Option<i32> {
    match target {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => containers.find_map(|container| {
            let mut ports = container.ports.iter().flatten();
            let port = ports.find(|port| port.name.as_ref() == Some(name))?;
            Some(port.container_port)
        }),
    }
}

/// `None`: nobody can, or the app can tell. `expose` is what is in force, or what the stanza says.
pub fn can_post(
    websocket: &WebSocket,
    expose: Option<Expose>,
    service: &str,
    leads_to: i32,
) -> Option<String> {
    let target = &websocket.target;
    let signed = websocket.secrets.get(SecretUse::CallbackSigning).is_some();
    let reached = leads_to == i32::from(target.port.get()) && expose != Some(Expose::Entrance);
    (reached && !signed).then(|| {
        format!(
            "the Service {service} leads to port {}, where callbacks go, so whoever reaches it can POST to {} as if it were the gateway, and nothing proves the sender",
            target.port,
            target.path.as_str()
        )
    })
}

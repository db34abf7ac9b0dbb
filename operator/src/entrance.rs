//! `expose: entrance`: which port of the entrance's Service is led to the gateway, and where it
//! leads while it is not (pure).

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use stanza::WebSocket;
use stanza::choice::Placement;
use stanza::env;

use crate::app::{App, Stanza};
use crate::cluster::ServiceFacts;
use crate::names;

/// The entrance's port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntrancePort {
    /// Its place among the Service's ports.
    pub index: usize,
    pub number: i32,
    /// Where the app itself listens.
    pub own: IntOrString,
    /// It leads to the gateway.
    pub routed: bool,
}

/// The port that the app's entrance names, or else the only one; or why none can be led elsewhere.
pub fn port(app: &App, service: &ServiceFacts) -> Result<EntrancePort, String> {
    let wanted = match &app.stanza {
        Stanza::Valid { port, .. } => port.map(i32::from),
        Stanza::Absent | Stanza::Invalid { .. } => None,
    };
    let name = &service.name;
    if service.headless {
        return Err(format!("the Service {name} is headless"));
    }
    let (index, port) = match wanted {
        Some(wanted) => service
            .ports
            .iter()
            .enumerate()
            .find(|(_, port)| port.number == wanted)
            .ok_or_else(|| format!("the Service {name} has no port {wanted}"))?,
        None => match service.ports.as_slice() {
            [port] => (0, port),
            ports => {
                let count = ports.len();
                return Err(format!(
                    "the Service {name} has {count} ports and the entrance names none"
                ));
            }
        },
    };
    let present = port.target.clone().unwrap_or(IntOrString::Int(port.number));
    let routed = is_gateway(&present);
    let noted = service
        .routed
        .as_ref()
        .filter(|routed| routed.port == port.number);
    let own = match (routed, noted) {
        (false, _) => present,
        (true, Some(noted)) => noted.own.clone(),
        (true, None) => {
            return Err(format!(
                "the Service {name} leads to a gateway, and nothing says where it led before"
            ));
        }
    };
    Ok(EntrancePort {
        index,
        number: port.number,
        own,
        routed,
    })
}

/// What leads to the gateway. Where that is an init container, older endpoint controllers do not
/// find its port by name.
pub fn target(websocket: &WebSocket) -> IntOrString {
    match websocket.operator.sidecar {
        Placement::Container => IntOrString::String(names::ENTRANCE_PORT_NAME.to_owned()),
        Placement::Native => IntOrString::Int(env::CLIENT_PORT.into()),
    }
}

/// Whether a Service's port that leads there leads to a gateway.
pub fn is_gateway(target: &IntOrString) -> bool {
    match target {
        IntOrString::Int(number) => *number == i32::from(env::CLIENT_PORT),
        IntOrString::String(name) => name == names::ENTRANCE_PORT_NAME,
    }
}

/// The value of the annotation [`names::OWN_TARGET`].
pub fn note(port: &EntrancePort) -> String {
    match &port.own {
        IntOrString::Int(own) => format!("{}={own}", port.number),
        IntOrString::String(own) => format!("{}={own}", port.number),
    }
}

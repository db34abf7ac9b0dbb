//! `expose: entrance`: which port of the entrance's Service is led to the gateway, and where it
//! leads while it is not (pure).

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use stanza::WebSocket;
use stanza::choice::Placement;
use stanza::env;

use crate::app::{App, Stanza};
use crate::cluster::{PodFacts, Protocol, ServiceFacts};
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
    let mut tcp = service
        .ports
        .iter()
        .enumerate()
        .filter(|(_, port)| port.protocol == Protocol::Tcp);
    let (index, port) = if let Some(wanted) = wanted {
        tcp.find(|(_, port)| port.number == wanted)
            .ok_or_else(|| format!("the Service {name} has no TCP port {wanted}"))?
    } else {
        let tcp: Vec<_> = tcp.collect();
        let [only] = tcp[..] else {
            let count = tcp.len();
            return Err(format!(
                "the Service {name} has {count} TCP ports and the entrance names none"
            ));
        };
        only
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

/// Whether the port may lead to gateways: as long as one of these pods answers and has none in front
/// of the app, it leads to the app itself, which every pod has. Where none answers yet, those count
/// that will.
pub fn may_front<'a>(pods: impl Iterator<Item = &'a PodFacts>) -> bool {
    let (mut answering, mut behind, mut coming) = (0, 0, 0);
    for pod in pods.filter(|pod| !pod.leaving) {
        answering += u32::from(pod.ready);
        behind += u32::from(pod.ready && pod.shape.fronted);
        coming += u32::from(!pod.shape.fronted);
    }
    if answering == 0 {
        coming == 0
    } else {
        behind == answering
    }
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

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::cluster::Facts;
    use crate::controller::Retarget;
    use k8s_openapi::api::core::v1::Service;

    fn app(port: &Json) -> App {
        let object = json!({
            "metadata": {"name": "chat", "namespace": "a"},
            "spec": {
                "entrances": [{"host": "chat", "port": port}],
                "options": {"websocket": {"url": "/ws", "port": 8888}},
            },
        });
        App::read(serde_json::from_value(object).unwrap())
    }

    fn service(annotations: &Json) -> Service {
        serde_json::from_value(json!({
            "metadata": {"name": "chat", "annotations": annotations},
            "spec": {"ports": [
                {"name": "media", "port": 80, "protocol": "UDP", "targetPort": 9000},
                {"name": "web", "port": 80, "protocol": "TCP", "targetPort": 8080},
            ]},
        }))
        .unwrap()
    }

    #[test]
    fn of_one_number_for_udp_and_tcp_the_tcp_port_is_meant() {
        let facts = ServiceFacts::read(service(&json!({}))).unwrap();
        for wanted in [json!(80), Json::Null] {
            let found = port(&app(&wanted), &facts).unwrap();
            assert_eq!((found.index, found.own), (1, IntOrString::Int(8080)));
        }
        let why = port(&app(&json!(9000)), &facts).unwrap_err();
        assert_eq!(why, "the Service chat has no TCP port 9000");
    }

    #[test]
    fn the_udp_port_stays_where_it_is() {
        let noted = service(&json!({"ws.olares.com/app": "chat", names::OWN_TARGET: "80=8888"}));
        let facts = ServiceFacts::read(noted.clone()).unwrap();
        let patch = Retarget::back(&facts).unwrap().patch(&noted);
        let ports = &patch["spec"]["ports"];
        assert_eq!(
            (&ports[0]["targetPort"], &ports[1]["targetPort"]),
            (&json!(9000), &json!(8080))
        );
        let mut led = noted;
        led.spec.as_mut().unwrap().ports.as_mut().unwrap()[1].target_port =
            Some(IntOrString::String(names::ENTRANCE_PORT_NAME.to_owned()));
        let facts = ServiceFacts::read(led.clone()).unwrap();
        let patch = Retarget::back(&facts).unwrap().patch(&led);
        let ports = &patch["spec"]["ports"];
        assert_eq!(
            (&ports[0]["targetPort"], &ports[1]["targetPort"]),
            (&json!(9000), &json!(8888))
        );
    }
}

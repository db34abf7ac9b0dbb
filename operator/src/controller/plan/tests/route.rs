//! The companion Service.

use std::collections::BTreeMap;

use super::super::*;
use super::case::{Case, WANTED, injected};
use crate::cluster::Facts;

// === the companion Service ===

fn companion_of(found: Option<ServiceFacts>) -> Route {
    let mut validated = Case::default().validated();
    validated.services.extend(found.map(Arc::new));
    let means = Means {
        retry: Retry::NEVER,
        expose: Expose::Service,
        repairs: &Repairs::default(),
        webhook_up: true,
        app_protocol: Some("kubernetes.io/ws"),
    };
    plan(validated, &means).route
}

#[test]
fn the_companion_service_is_made_kept_and_never_taken_from_others() {
    let Route::Service(Companion::Apply(made)) = companion_of(None) else {
        panic!()
    };
    insta::assert_yaml_snapshot!(made);
    let made = ServiceFacts::read(*made).unwrap();
    assert!(matches!(
        companion_of(Some(made.clone())),
        Route::Service(Companion::Kept)
    ));
    let edited = ServiceFacts {
        selector: BTreeMap::new(),
        ..made.clone()
    };
    assert!(matches!(
        companion_of(Some(edited)),
        Route::Service(Companion::Apply(_))
    ));
    let foreign = ServiceFacts {
        owners: Vec::new(),
        ..made
    };
    assert!(matches!(
        companion_of(Some(foreign)),
        Route::Service(Companion::Taken)
    ));
}

#[test]
fn a_mistake_in_the_manifest_keeps_the_route() {
    let Route::Service(Companion::Apply(made)) = companion_of(None) else {
        panic!()
    };
    let mut validated = Case::default().validated();
    validated
        .services
        .push(Arc::new(ServiceFacts::read(*made).unwrap()));
    let means = Means {
        retry: Retry::NEVER,
        expose: Expose::None,
        repairs: &Repairs::default(),
        webhook_up: true,
        app_protocol: Some("kubernetes.io/ws"),
    };
    let mut invalid = Case::default().validated();
    invalid.services.clone_from(&validated.services);
    invalid.accepted = Verdict::new(Reason::InvalidStanza, "port");
    assert_eq!(plan(validated, &means).leftovers, ["chat-ws"]);
    assert!(plan(invalid, &means).leftovers.is_empty());
}

#[test]
fn an_app_protocol_is_left_out_where_nobody_wants_it() {
    let Route::Service(Companion::Apply(made)) = companion_of(None) else {
        panic!()
    };
    let mut validated = Case::default().validated();
    let made = ServiceFacts::read(*made).unwrap();
    validated.services.push(Arc::new(made));
    let means = Means {
        retry: Retry::NEVER,
        expose: Expose::Service,
        repairs: &Repairs::default(),
        webhook_up: true,
        app_protocol: None,
    };
    let Route::Service(Companion::Apply(made)) = plan(validated, &means).route else {
        panic!("the one of before is kept")
    };
    let port = &made.spec.unwrap().ports.unwrap()[0];
    assert_eq!(port.app_protocol, None);
}

// === expose: entrance ===

fn entrance_of(pod: PodFacts) -> Entrance {
    let mut validated = Case {
        pods: vec![pod],
        ..Case::default()
    }
    .validated();
    let service = serde_json::json!({
        "metadata": {"name": "chat"},
        "spec": {"selector": {"app": "chat"}, "ports": [{"port": 80, "targetPort": "web"}]},
    });
    let service = ServiceFacts::read(serde_json::from_value(service).unwrap());
    validated.entrance = service.map(Arc::new);
    let means = Means {
        retry: Retry::NEVER,
        expose: Expose::Entrance,
        repairs: &Repairs::default(),
        webhook_up: true,
        app_protocol: None,
    };
    match plan(validated, &means).route {
        Route::Entrance(entrance) => entrance,
        _ => panic!("no entrance"),
    }
}

#[test]
fn a_port_that_no_container_declares_is_named() {
    let Entrance::Waits(verdict) = entrance_of(injected(WANTED)) else {
        panic!()
    };
    assert_eq!(verdict.reason, Reason::ExposeUnsupported);
    assert_eq!(
        verdict.message,
        "port 80 of the Service chat leads to the pods' port web, and no container of the pod chat-1 declares one \
         of that name: name a containerPort so, or give targetPort a number"
    );
    // A pod with settings of before says nothing of it.
    let Entrance::Waits(verdict) = entrance_of(injected("bbbb")) else {
        panic!()
    };
    assert_eq!(verdict.reason, Reason::EntranceWaiting);
    let mut fronted = injected(WANTED);
    fronted.shape.fronted = true;
    assert!(matches!(entrance_of(fronted), Entrance::Lead(_)));
}

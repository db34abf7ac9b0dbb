//! The companion Service.

use std::collections::BTreeMap;

use super::super::*;
use super::case::Case;
use crate::cluster::Facts;

// === the companion Service ===

fn companion_of(found: Option<ServiceFacts>) -> Route {
    let mut validated = Case::default().validated();
    validated.services.extend(found.map(Arc::new));
    let means = Means {
        expose: Expose::Service,
        repairs: &Repairs::default(),
        webhook_up: true,
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
        expose: Expose::None,
        repairs: &Repairs::default(),
        webhook_up: true,
    };
    let mut invalid = Case::default().validated();
    invalid.services.clone_from(&validated.services);
    invalid.accepted = Verdict::new(Reason::InvalidStanza, "port");
    assert_eq!(plan(validated, &means).leftovers, ["chat-ws"]);
    assert!(plan(invalid, &means).leftovers.is_empty());
}

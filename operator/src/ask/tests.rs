use serde_json::json;

use super::*;
use crate::app::{App, Stanza};
use crate::cluster::Facts;
use crate::shape::WorkloadKind;

fn ask(annotations: &Json) -> Ask {
    let metadata = json!({
        "labels": {"app": "chat", "ws.olares.com/inject": "true"},
        "annotations": annotations,
    });
    Ask::read(&serde_json::from_value(metadata).unwrap()).unwrap()
}

fn service(name: &str, spec: &Json) -> ServiceFacts {
    let object = json!({"metadata": {"name": name}, "spec": spec});
    ServiceFacts::read(serde_json::from_value(object).unwrap()).unwrap()
}

fn chat(name: &str) -> ServiceFacts {
    service(
        name,
        &json!({"selector": {"app": "chat"}, "ports": [{"port": 80}]}),
    )
}

/// The AppManifest that is written, as everything downstream reads it.
fn app(annotations: &Json, services: &[ServiceFacts]) -> App {
    let workload = Workload {
        kind: WorkloadKind::Deployment,
        name: "chat".to_owned(),
    };
    let document = ask(annotations).document(&workload, services.iter());
    let (annotations, spec) = document.parts();
    let object = json!({
        "metadata": {
            "name": "chat", "namespace": "rooms",
            "labels": {"ws.olares.com/source": "label"}, "annotations": annotations,
        },
        "spec": spec,
    });
    App::read(serde_json::from_value(object).unwrap())
}

#[track_caller]
fn refused(annotations: &Json, services: &[ServiceFacts], expected: &str) {
    match &app(annotations, services).stanza {
        Stanza::Invalid { problems, .. } => assert_eq!(problems.errors(), expected),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_label_and_a_callback_are_a_stanza() {
    let app = app(
        &json!({"ws.olares.com/callback": "8888/ws/message"}),
        &[chat("web")],
    );
    assert_eq!(app.service(), Some("web"));
    let Stanza::Valid { websocket, .. } = &app.stanza else {
        panic!("{:?}", app.stanza)
    };
    assert_eq!(websocket.target.port.get(), 8888);
    assert_eq!(websocket.target.path.as_str(), "/ws/message");
    assert!(app.warnings.is_empty(), "{}", app.warnings);
}

#[test]
fn every_setting_can_be_written_beside_it() {
    let written = json!({
        "ws.olares.com/callback": "8888/ws/message",
        "ws.olares.com/service": "web:80",
        "ws.olares.com/expose": "entrance",
        "ws.olares.com/sidecar": "native",
        "ws.olares.com/rollout": "notify",
        "ws.olares.com/identity.trustedProxies": "10.0.0.0/8, 192.168.0.0/16",
        "ws.olares.com/heartbeat.serverPing": "true",
        "ws.olares.com/heartbeat.timeout": "7m",
        "ws.olares.com/types": "[{type: say, url: /say}]",
        "ws.olares.com/resources": "{limits: {memory: 64Mi}}",
        "ws.olares.com/drain.holdApp": "true",
        // Notes of ours and of others.
        "ws.olares.com/injected": "0", "ws.olares.com/rolled-for": "0", "example.com/x": "y",
    });
    let app = app(&written, &[chat("web")]);
    let Stanza::Valid {
        websocket, port, ..
    } = &app.stanza
    else {
        panic!("{:?}", app.stanza)
    };
    assert!(app.warnings.is_empty(), "{}", app.warnings);
    assert_eq!(*port, Some(80));
    assert!(websocket.hold_app && websocket.gateway.heartbeat.server_ping);
    let silence = websocket.gateway.heartbeat.silence();
    assert_eq!(silence, Some(std::time::Duration::from_mins(7)));
    let proxies = websocket.gateway.identity.trusted_proxies.as_ref();
    assert_eq!(proxies.map(Vec::len), Some(2));
    assert_eq!(websocket.gateway.routes.types.len(), 1);
    assert_eq!(websocket.operator.rollout, stanza::choice::Rollout::Notify);
}

/// Each setting there is, with a value that cannot be right: the message names its annotation.
#[test]
fn wrong_values_name_their_annotation() {
    for setting in settings::catalogue() {
        let name = format!("ws.olares.com/{}", setting.key);
        let written = json!({"ws.olares.com/callback": "80/ws", name.clone(): "[[]]"});
        let app = app(&written, &[chat("web")]);
        let Stanza::Invalid { problems, .. } = &app.stanza else {
            panic!("{name}: {:?}", app.stanza)
        };
        let expected = format!("AppManifest rooms/chat: error: annotation {name}: ");
        assert!(problems.errors().starts_with(&expected), "{problems}");
    }
}

#[test]
fn what_is_wrong_is_said_in_the_words_of_who_wrote_it() {
    let service = [chat("web")];
    refused(
        &json!({"ws.olares.com/callback": "8888"}),
        &service,
        "AppManifest rooms/chat: error: Deployment/chat: error: annotation ws.olares.com/callback: \"8888\" is not \
         allowed here; expected the app's port and path, as in 8888/ws/message (40010 to 40012 are the \
         gateway's own)",
    );
    refused(
        &json!({"ws.olares.com/heartbeat.timeout": "soon"}),
        &service,
        "AppManifest rooms/chat: error: Deployment/chat: error: annotation ws.olares.com/callback: is missing; expected \
         the app's port and path, as in 8888/ws/message\n\
         AppManifest rooms/chat: error: annotation ws.olares.com/heartbeat.timeout: \"soon\" is not allowed here; \
         expected a duration such as 30s, 500ms or 2m (a bare number is seconds, up to 3600)",
    );
    refused(
        &json!({"ws.olares.com/callback": "80/ws", "ws.olares.com/port": "80"}),
        &service,
        "AppManifest rooms/chat: error: Deployment/chat: error: annotation ws.olares.com/port: is said by \
         ws.olares.com/callback",
    );
    let spelled = json!({"ws.olares.com/callback": "80/ws", "ws.olares.com/identity-trusted-proxies": "10.0.0.0/8"});
    assert_eq!(
        app(&spelled, &service).warnings.to_string(),
        "AppManifest rooms/chat: warning: annotation ws.olares.com/identity-trusted-proxies: is no setting and \
         is ignored; did you mean identity.trustedProxies?"
    );
}

#[test]
fn the_service_is_the_only_one_or_the_named_one() {
    let callback = json!({"ws.olares.com/callback": "80/ws"});
    let headless = service(
        "db",
        &json!({"clusterIP": "None", "selector": {"app": "chat"}}),
    );
    let other = service("other", &json!({"selector": {"app": "other"}}));
    assert_eq!(
        app(&callback, &[headless.clone(), other.clone(), chat("web")]).service(),
        Some("web")
    );
    assert_eq!(app(&callback, &[headless]).service(), Some("db"));
    refused(
        &callback,
        std::slice::from_ref(&other),
        "AppManifest rooms/chat: error: Deployment/chat: error: no Service selects the pods",
    );
    refused(
        &callback,
        &[chat("api"), chat("web")],
        "AppManifest rooms/chat: error: Deployment/chat: error: annotation ws.olares.com/service: is missing, and several \
         Services select the pods; expected one of api, web",
    );
    let named =
        |name: &str| json!({"ws.olares.com/callback": "80/ws", "ws.olares.com/service": name});
    assert_eq!(
        app(&named("api"), &[chat("api"), chat("web")]).service(),
        Some("api")
    );
    refused(
        &named("other"),
        &[other],
        "AppManifest rooms/chat: error: Deployment/chat: error: annotation ws.olares.com/service: the Service other does \
         not select the pods",
    );
    refused(
        &named("web:http"),
        &[chat("web")],
        "AppManifest rooms/chat: error: Deployment/chat: error: annotation ws.olares.com/service: \"web:http\" is not \
         allowed here; expected a Service's name, or name:port",
    );
}

#[test]
fn another_label_is_no_silence() {
    let read = |value: &str| {
        let metadata = json!({"labels": {"ws.olares.com/inject": value}});
        Ask::read(&serde_json::from_value(metadata).unwrap())
    };
    assert_eq!(read("false"), None);
    let workload = Workload {
        kind: WorkloadKind::StatefulSet,
        name: "chat".to_owned(),
    };
    let document = read("yes").unwrap().document(&workload, std::iter::empty());
    let (annotations, _) = document.parts();
    assert!(
        annotations["ws.olares.com/problem"].starts_with(
            "StatefulSet/chat: error: label ws.olares.com/inject: \"yes\" is not allowed here; expected \"true\""
        ),
        "{annotations:?}"
    );
}

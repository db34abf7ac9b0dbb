//! Findings about who can post what passes for a callback, and about the Secrets that stanzas name
//! (pure).

use k8s_openapi::api::core::v1::{Pod, Secret};
use stanza::choice::Expose;
use stanza::secret::{SecretRef, SecretUse};

use super::{Finding, warning};
use crate::app::{App, Stanza};
use crate::cluster::ServiceFacts;
use crate::entrance;
use crate::shape::{containers, selects};
use crate::strangers;

/// `service` is the entrance's, `pods` are its namespace's.
pub(super) fn of_service(app: &App, service: &ServiceFacts, pods: &[Pod]) -> Option<Finding> {
    let Stanza::Valid { websocket, .. } = &app.stanza else {
        return None;
    };
    let port = entrance::port(app, service).ok()?;
    let selected = pods.iter().filter(|pod| {
        let labels = pod.metadata.labels.as_ref();
        labels.is_some_and(|labels| selects(&service.selector, labels))
    });
    let specs = selected.filter_map(|pod| pod.spec.as_ref());
    let leads_to = strangers::leads_to(&port.own, specs.flat_map(containers))?;
    let expose = if port.routed {
        Some(Expose::Entrance)
    } else {
        None
    };
    let found = strangers::can_post(websocket, expose, &service.name, leads_to)?;
    Some(warning(
        "callbacks",
        format!("{}: {found}", app.id),
        strangers::REMEDY,
        "docs/signing.md",
    ))
}

/// `found` is the Secret, if it is there. Only the names of its keys are looked at.
pub(super) fn of_secret(
    app: &App,
    what: SecretUse,
    from: &SecretRef,
    found: Option<&Secret>,
) -> Option<Finding> {
    let SecretRef { name, key } = from;
    let missing = match found {
        None => format!("there is no Secret {name}"),
        Some(secret) => {
            let data = secret.data.as_ref();
            let value = data.and_then(|data| data.get(key));
            match value {
                None => format!("the Secret {name} has no key {key}"),
                Some(value) if value.0.is_empty() => {
                    format!("the key {key} of the Secret {name} is empty")
                }
                Some(_) => return None,
            }
        }
    };
    let effect = match what {
        SecretUse::CallbackSigning => "its gateways refuse clients with 503 when they start",
        SecretUse::AdminToken => "its gateways refuse every admin call with 503",
    };
    Some(warning(
        "secrets",
        format!("{}: {}: {missing}: {effect}", app.id, what.setting()),
        "make the Secret; running gateways take it within two minutes",
        "docs/signing.md",
    ))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use serde_json::json;

    use super::*;
    use crate::cluster::Facts;

    fn app(websocket: &serde_json::Value) -> App {
        let object = json!({
            "apiVersion": "ws.olares.com/v1alpha1", "kind": "AppManifest",
            "metadata": {"name": "chat", "namespace": "rooms"},
            "spec": {
                "entrances": [{"name": "chat", "host": "chat", "port": 80}],
                "options": {"websocket": websocket},
            },
        });
        App::read(serde_json::from_value(object).unwrap())
    }

    fn finding(websocket: &serde_json::Value, target: &serde_json::Value) -> Option<String> {
        let service = json!({
            "metadata": {"name": "chat"},
            "spec": {"selector": {"app": "chat"}, "ports": [{"port": 80, "targetPort": target}]},
        });
        let pod = json!({
            "metadata": {"labels": {"app": "chat"}},
            "spec": {"containers": [{"name": "chat", "ports": [{"name": "http", "containerPort": 8888}]}]},
        });
        let service = ServiceFacts::read(serde_json::from_value(service).unwrap()).unwrap();
        let pods = [serde_json::from_value(pod).unwrap()];
        of_service(&app(websocket), &service, &pods).map(|found| found.text())
    }

    #[test]
    fn a_service_that_leads_to_the_callbacks_port_is_told_with_the_remedy() {
        let plain = json!({"url": "/ws/message", "port": 8888});
        for target in [json!("http"), json!(8888)] {
            let text = finding(&plain, &target).unwrap();
            assert!(
                text.starts_with(
                    "warning  callbacks: rooms/chat: the Service chat leads to port 8888"
                ),
                "{text}"
            );
            assert!(
                text.contains("fix: set callback.signing.secretFrom"),
                "{text}"
            );
        }
        let signed = json!({
            "url": "/ws/message", "port": 8888,
            "callback": {"signing": {"secretFrom": {"name": "chat", "key": "keys"}}},
        });
        let elsewhere = json!({"url": "/ws/message", "port": 8889});
        assert_eq!(finding(&signed, &json!("http")), None);
        assert_eq!(finding(&elsewhere, &json!("http")), None);
        // It is led to the gateway, which refuses such requests.
        assert_eq!(finding(&plain, &json!("ws-entrance")), None);
    }

    #[test]
    fn a_secret_that_is_not_there_or_has_no_such_key_is_told() {
        let app = app(&json!({"url": "/ws", "port": 80}));
        let from = SecretRef {
            name: "chat".to_owned(),
            key: "keys".to_owned(),
        };
        let text = |found: Option<&Secret>| {
            let found = of_secret(&app, SecretUse::CallbackSigning, &from, found);
            found.map(|found| found.text()).unwrap_or_default()
        };
        let with = |key: &str, value: &str| Secret {
            data: Some([(key.to_owned(), ByteString(value.into()))].into()),
            ..Secret::default()
        };
        assert!(text(None).contains("there is no Secret chat"));
        assert!(text(Some(&with("other", "hush"))).contains("has no key keys"));
        assert!(text(Some(&with("keys", ""))).contains("is empty"));
        assert_eq!(text(Some(&with("keys", "hush"))), "");
    }
}

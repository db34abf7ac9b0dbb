//! An ApplicationManager's `spec.config` -> the app and its manifest (pure).

use serde_json::{Map, Value as Json, json};

use super::{ApplicationManager, ApplicationManagerSpec};
use crate::app::AppId;
use crate::source::Document;

/// States in which nothing of the app is left.
const GONE: [&str; 2] = ["uninstalled", "installFailed"];

pub(super) fn is_gone(object: &ApplicationManager) -> bool {
    let state = object.status.as_ref().map(|status| status.state.as_str());
    state.is_some_and(|state| GONE.iter().any(|gone| gone.eq_ignore_ascii_case(state)))
}

/// `None`: the app wants no WebSocket.
pub(super) fn read(spec: &ApplicationManagerSpec) -> Option<(AppId, Document)> {
    let parsed;
    let config = match &spec.config {
        Json::String(text) => {
            parsed = serde_json::from_str(text).ok()?;
            &parsed
        }
        config => config,
    };
    let own = |key, otherwise: &str| {
        let text = get(config, key).and_then(Json::as_str).unwrap_or_default();
        let text = if text.is_empty() { otherwise } else { text };
        (!text.is_empty()).then(|| text.to_owned())
    };
    let name = own("AppName", &spec.app_name)?;
    let namespace = own("Namespace", &spec.app_namespace)?;
    let websocket = get(config, "WsConfig")?;
    // Go writes what is not there as zero.
    let port = get(websocket, "port").filter(|port| **port != json!(0))?;
    let url = get(websocket, "url").filter(|url| **url != json!(""))?;
    let entrances = get(config, "Entrances").and_then(Json::as_array);
    let entrances: Vec<Json> = entrances.into_iter().flatten().map(entrance).collect();
    let document = json!({
        "metadata": {"name": name},
        "entrances": entrances,
        "options": {"websocket": {"url": url, "port": port}},
    });
    let Json::Object(document) = document else {
        return None;
    };
    let id = AppId { namespace, name };
    Some((id, Document::known(document)))
}

fn entrance(found: &Json) -> Json {
    let parts = ["name", "host", "port"].map(|key| Some((key, get(found, key)?)));
    let parts: Map<String, Json> = parts
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .collect();
    Json::Object(parts)
}

/// Go reads JSON keys without regard to case, and writes them with or without a tag.
fn get<'a>(object: &'a Json, key: &str) -> Option<&'a Json> {
    let mut entries = object.as_object()?.iter();
    let (_, value) = entries.find(|(found, _)| found.eq_ignore_ascii_case(key))?;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::{App, Stanza};
    use crate::source::application_manager::SOURCE;

    fn manager(config: &Json, state: &str) -> ApplicationManager {
        let object = json!({
            "apiVersion": "app.bytetrade.io/v1alpha1", "kind": "ApplicationManager",
            "metadata": {"name": "chat-alice-chat"},
            "spec": {"appName": "chat", "appNamespace": "chat-alice", "config": config.to_string()},
            "status": {"state": state},
        });
        serde_json::from_value(object).unwrap()
    }

    fn config(websocket: &Json) -> Json {
        json!({
            "AppID": "1", "AppName": "chat", "OwnerName": "alice", "Namespace": "chat-alice",
            "Entrances": [
                {"name": "web", "host": "chat-svc", "port": 80, "authLevel": "private"},
                {"Name": "api", "Host": "api-svc", "Port": 8080},
            ],
            "WsConfig": websocket,
        })
    }

    #[test]
    fn the_apps_stanza_and_entrances_are_read() {
        let config = config(&json!({"port": 8888, "url": "/ws/message"}));
        let (id, document) = read(&manager(&config, "running").spec).unwrap();
        assert_eq!(id, AppId::new("chat-alice", "chat"));
        let manifest = document.manifest(&id, SOURCE);
        let app = App::read(serde_json::from_value(manifest).unwrap());
        assert_eq!(app.service(), Some("chat-svc"));
        let Stanza::Valid {
            websocket, port, ..
        } = &app.stanza
        else {
            panic!("{:?}", app.stanza)
        };
        assert_eq!((websocket.target.port.get(), *port), (8888, Some(80)));
    }

    #[test]
    fn an_app_without_websockets_is_none_of_ours() {
        for none in [
            json!({"port": 0, "url": ""}),
            json!(null),
            json!({"url": "/ws"}),
        ] {
            let manager = manager(&config(&none), "running");
            assert!(read(&manager.spec).is_none(), "{none}");
        }
        let spec = ApplicationManagerSpec {
            config: json!("no JSON"),
            ..ApplicationManagerSpec::default()
        };
        assert!(read(&spec).is_none());
    }

    #[test]
    fn what_is_uninstalled_is_gone() {
        let config = config(&json!({"port": 8888, "url": "/ws"}));
        assert!(is_gone(&manager(&config, "uninstalled")));
        assert!(!is_gone(&manager(&config, "uninstalling")));
        assert!(!is_gone(&manager(&config, "running")));
    }
}

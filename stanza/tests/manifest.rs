//! What a manifest says, and what its errors say: each with the place and what is allowed.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

use stanza::settings::catalogue;
use stanza::{Manifest, env};

const FILE: &str = "OlaresManifest.yaml";

fn manifest(stanza: &str) -> String {
    format!(
        "olaresManifest.version: '0.10.0'\nmetadata:\n  name: chat\nentrances:\n- name: chat\n  host: chat-svc\n  port: 8888\noptions:\n{stanza}"
    )
}

#[track_caller]
fn read(stanza: &str) -> Manifest {
    Manifest::from_yaml(FILE, &manifest(stanza)).unwrap_or_else(|problems| panic!("{problems}"))
}

#[track_caller]
fn errors(stanza: &str, expected: &[&str]) {
    let problems = Manifest::from_yaml(FILE, &manifest(stanza)).unwrap_err();
    let found: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(found, expected);
}

#[test]
fn three_lines_are_enough() {
    let manifest = read("  websocket:\n    url: /ws/message\n    port: 8888\n");
    let stanza = manifest.websocket.as_ref().unwrap();
    assert_eq!(stanza.target.path.as_str(), "/ws/message");
    assert_eq!(stanza.target.port.get(), 8888);
    assert_eq!(manifest.entrance().unwrap().host, "chat-svc");
    assert_eq!(manifest.name.as_deref(), Some("chat"));
    assert!(manifest.warnings.is_empty());
    assert_eq!(
        env::to_env(stanza),
        [
            ("WS_PORT", "8888".to_owned()),
            ("WS_URL", "/ws/message".to_owned())
        ]
    );
}

#[test]
fn the_older_spelling_is_read() {
    let manifest = read("  wsConfig: {url: /ws, port: '80'}\n");
    assert_eq!(manifest.websocket.unwrap().target.port.get(), 80);
}

#[test]
fn no_stanza_is_no_error() {
    assert_eq!(read("  policies: []\n").websocket, None);
    assert_eq!(Manifest::from_yaml(FILE, "").unwrap().websocket, None);
}

#[test]
fn a_wrong_port_is_named_with_its_place_and_the_range() {
    errors(
        "  websocket:\n    url: /ws/message\n    port: 70000\n",
        &[
            "OlaresManifest.yaml:11:11: error: options.websocket.port: 70000 is not allowed here; \
           expected the app's port, 1 to 65535 (40010 to 40012 are the gateway's own)",
        ],
    );
}

#[test]
fn every_error_is_reported_at_once() {
    errors(
        "  websocket: {url: ws, port: 40010, heartbeat: {timeout: soon}, limits: 5}\n",
        &[
            "OlaresManifest.yaml:9:20: error: options.websocket.url: \"ws\" is not allowed here; \
             expected a path that begins with a slash and has no blanks, such as /ws/message",
            "OlaresManifest.yaml:9:30: error: options.websocket.port: 40010 is not allowed here; \
             expected the app's port, 1 to 65535 (40010 to 40012 are the gateway's own)",
            "OlaresManifest.yaml:9:58: error: options.websocket.heartbeat.timeout: \"soon\" is not \
             allowed here; expected a duration such as 30s, 500ms or 2m (a bare number is seconds, up to 3600)",
            "OlaresManifest.yaml:9:73: error: options.websocket.limits: 5 is not allowed here; \
             expected a map",
        ],
    );
}

#[test]
fn heartbeats_that_contradict_each_other_are_named_with_their_place() {
    errors(
        "  websocket: {url: /ws, port: 80, heartbeat: {serverPing: true, interval: 60s, timeout: 45s}}\n",
        &[
            "OlaresManifest.yaml:9:89: error: options.websocket.heartbeat.timeout: 45s is not more than \
             heartbeat.interval (1m), so that a healthy client is closed before it is next asked; \
             expected more, 0, or no heartbeat.timeout at all, which then follows the interval",
        ],
    );
    errors(
        "  websocket: {url: /ws, port: 80, heartbeat: {serverPing: true, interval: 30000}}\n",
        &[
            "OlaresManifest.yaml:9:75: error: options.websocket.heartbeat.interval: 30000 is not allowed \
             here; expected a duration such as 30s, 500ms or 2m (a bare number is seconds, up to 3600); \
             was 30s or 30000ms meant?",
        ],
    );
    let manifest = read("  websocket: {url: /ws, port: 80, heartbeat: {interval: 20s}}\n");
    assert_eq!(
        manifest.warnings.to_string().trim_end(),
        "OlaresManifest.yaml:9:57: warning: options.websocket.heartbeat.interval: has no effect without \
         heartbeat.serverPing: true; how long a client may be silent is heartbeat.timeout"
    );
}

#[test]
fn what_is_missing_is_named() {
    errors(
        "  websocket: {port: 80}\n",
        &[
            "OlaresManifest.yaml:9:14: error: options.websocket.url: is missing; expected a path \
           that begins with a slash and has no blanks, such as /ws/message",
        ],
    );
}

#[test]
fn an_entrance_that_does_not_exist_is_an_error() {
    errors(
        "  websocket: {url: /ws, port: 80, entrance: caht}\n",
        &[
            "OlaresManifest.yaml: error: options.websocket.entrance: no entrance is called \
           \"caht\"; expected chat",
        ],
    );
}

#[test]
fn unknown_keys_warn_and_suggest() {
    let manifest =
        read("  websocket: {url: /ws, port: 80, heart_beat: 1, Auth: /a, nats: {}, zzz: 1}\n");
    let found: Vec<String> = manifest
        .warnings
        .iter()
        .map(|problem| problem.message.clone())
        .collect();
    assert_eq!(
        found,
        [
            "is no setting and is ignored",
            "is no setting and is ignored; did you mean auth?",
            "is not supported yet and is ignored",
            "is no setting and is ignored",
        ]
    );
}

/// In front of the app nobody outside may post where callbacks go; a page's forms do.
#[test]
fn a_callback_path_that_pages_have_too_is_told() {
    let warnings = |stanza: &str| {
        let manifest = read(&format!("  websocket: {stanza}\n"));
        let found = manifest.warnings.iter().map(ToString::to_string);
        found.collect::<Vec<_>>()
    };
    for shared in ["/", "//", "/?route=ws", "/index.php?route=ws"] {
        let found = warnings(&format!("{{url: {shared:?}, port: 80}}"));
        assert_eq!(found.len(), 1, "{shared}: {found:?}");
        let place = "OlaresManifest.yaml:9:20: warning: options.websocket.url: ";
        assert!(
            found[0].starts_with(place) && found[0].contains("404"),
            "{found:?}"
        );
    }
    let typed = "{url: /ws, port: 80, expose: entrance, types: [{type: a, url: /}]}";
    assert!(warnings(typed)[0].contains("options.websocket.types: "));
    for well in [
        "{url: /ws/message, port: 80}",
        "{url: /, port: 80, expose: service}",
        "{url: /, port: 80, expose: none}",
    ] {
        assert_eq!(warnings(well), [""; 0], "{well}");
    }
}

#[test]
fn an_object_is_validated_by_field_path() {
    let spec = serde_json::json!({"options": {"websocket": {"url": "/ws", "port": 0}}});
    let problems = Manifest::from_json("AppManifest chat", "spec", &spec).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "AppManifest chat: error: spec.options.websocket.port: 0 is not allowed here; \
         expected the app's port, 1 to 65535 (40010 to 40012 are the gateway's own)"
    );
}

#[test]
fn text_that_is_no_yaml_has_a_place() {
    let problems = Manifest::from_yaml(FILE, "options:\n  websocket: {url: /ws\n").unwrap_err();
    let text = problems.to_string();
    assert!(text.starts_with("OlaresManifest.yaml:"), "{text}");
    assert!(text.contains("not valid YAML"), "{text}");
}

#[test]
fn the_environment_carries_only_what_differs_and_reads_back() {
    let manifest = read(
        "  websocket: {url: /ws, port: 80, heartbeat: {timeout: 0}, callback: {timeout: 30}, \
         origins: ['https://a.example'], identity: {trustedProxies: [10.0.0.0/8]}, rollout: notify}\n",
    );
    let stanza = manifest.websocket.unwrap();
    let env = env::to_env(&stanza);
    assert_eq!(env[2].0, "WS_OPTIONS");
    assert_eq!(
        env[2].1,
        r#"{"origins":["https://a.example"],"heartbeat":{"timeout":"0s"},"identity":{"trustedProxies":["10.0.0.0/8"]}}"#
    );
    let options = serde_json::from_str(&env[2].1).unwrap();
    let document =
        serde_json::json!({"options": {"websocket": env::stanza_of(&stanza.target, options)}});
    let again = Manifest::from_json("environment", "", &document)
        .unwrap()
        .websocket
        .unwrap();
    assert_eq!(again.gateway, stanza.gateway);
}

#[test]
fn flags_and_variables_are_derived_from_keys() {
    assert_eq!(
        env::variable("identity.jwt.jwksFile"),
        "WS_IDENTITY_JWT_JWKS_FILE"
    );
    assert_eq!(
        env::flag("limits.connectionsPerUser"),
        "limits-connections-per-user"
    );
    let mut flags: Vec<String> = catalogue()
        .iter()
        .map(|setting| env::flag(&setting.key))
        .collect();
    flags.sort();
    flags.dedup();
    assert_eq!(flags.len(), catalogue().len());
}

#[test]
fn secrets_are_named_and_never_written() {
    let manifest = read(
        "  websocket: {url: /ws, port: 80, callback: {timeout: 5s, signing: {secretFrom: {name: chat, key: keys}}}, \
         admin: {token: {secretFrom: {name: chat, key: token}}}}\n",
    );
    assert!(manifest.warnings.is_empty(), "{}", manifest.warnings);
    let stanza = manifest.websocket.unwrap();
    assert_eq!(
        stanza.secrets.to_json(),
        serde_json::json!({
            "callback.signing.secretFrom": {"name": "chat", "key": "keys"},
            "admin.token.secretFrom": {"name": "chat", "key": "token"},
        })
    );
    // The gateway is told of files, not of Secrets.
    assert_eq!(
        env::to_env(&stanza)[2].1,
        r#"{"callback":{"timeout":"5s"}}"#
    );
}

/// Who writes the secret itself where its reference belongs does not read it again in a status.
#[test]
fn a_secret_in_the_wrong_place_is_not_shown() {
    for (stanza, place, allowed) in [
        (
            "callback: {signing: {secretFrom: {name: Hush, key: k}}}",
            "callback.signing.secretFrom",
            "a Secret of the app's namespace and one of its keys",
        ),
        (
            "callback: {signing: {secretFrom: hush}}",
            "callback.signing.secretFrom",
            "a Secret of the app's namespace and one of its keys",
        ),
        ("callback: {signing: hush}", "callback.signing", "a map"),
        ("callback: hush", "callback", "a map"),
        ("admin: {token: hush}", "admin.token", "a map"),
        ("admin: hush", "admin", "a map"),
        (
            "identity: {jwt: {secret: [hush]}}",
            "identity.jwt.secret",
            "a non-empty string",
        ),
        ("identity: {jwt: hush}", "identity.jwt", "a map"),
    ] {
        let text = manifest(&format!("  websocket: {{url: /ws, port: 80, {stanza}}}\n"));
        let problems = Manifest::from_yaml(FILE, &text).unwrap_err().to_string();
        let expected = format!(
            "error: options.websocket.{place}: the value (not shown) is not allowed here; expected {allowed}"
        );
        assert!(problems.contains(&expected), "{problems}");
        assert!(!problems.to_lowercase().contains("hush"), "{problems}");
    }
}

#[test]
fn a_gateway_that_is_given_a_reference_says_what_it_needs() {
    let options =
        serde_json::json!({"callback": {"signing": {"secretFrom": {"name": "a", "key": "b"}}}});
    let (_, problems) = stanza::gateway_options("WS_OPTIONS", &options).unwrap();
    assert_eq!(
        problems.to_string(),
        "WS_OPTIONS: warning: callback.signing.secretFrom: is mounted by the operator, and ignored here; \
         expected the file in WS_CALLBACK_SIGNING_FILE"
    );
}

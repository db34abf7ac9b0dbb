//! `inject` and `uninject`, on files and on stdin.

use serde_json::Value as Json;

use crate::support::{app_with, objects, run};

pub(crate) const WORKLOADS: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata: {name: chat}
spec:
  selector: {matchLabels: {app: chat}}
  laterField: "yes"
  template:
    metadata: {labels: {app: chat}}
    spec:
      containers: [{name: chat, image: "chat:1", laterField: {deep: [1]}}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: "db:1"}]}
"#;

#[test]
fn inject_decides_as_the_webhook_does() {
    let stream = app_with(WORKLOADS);
    let ran = run(&["inject"], &stream);
    assert_eq!(ran.code, 0, "{}", ran.said);
    assert_eq!(
        ran.said,
        "Deployment/chat in default: Injected: for app chat\n\
         StatefulSet/db in default: NotEntrance: selected by none of the entrance Services: chat-svc\n"
    );
    let (before, after) = (objects(&stream), objects(&ran.out));
    assert_eq!((&before[..2], &before[3]), (&after[..2], &after[3]));
    let containers = &after[2]["spec"]["template"]["spec"]["containers"];
    assert_eq!(
        containers[0],
        before[2]["spec"]["template"]["spec"]["containers"][0]
    );
    assert_eq!(containers[1]["name"], "olares-ws-sidecar");
    assert_eq!(after[2]["spec"]["laterField"], "yes");

    let again = run(&["inject"], &ran.out);
    assert_eq!(again.out, ran.out);
    assert!(again.said.contains("AlreadyCurrent"), "{}", again.said);
}

#[test]
fn uninject_gives_the_objects_back() {
    let injected = run(&["inject", "-o", "json"], &app_with(WORKLOADS));
    let ran = run(&["uninject"], &injected.out);
    assert_eq!(ran.said, "Deployment/chat: the gateway is taken out\n");
    let found = &objects(&ran.out)[0]["items"];
    let pod = &found[2]["spec"]["template"]["spec"];
    assert_eq!(pod["containers"].as_array().unwrap().len(), 1);
    // As it was: there was no such list.
    assert_eq!(pod.get("volumes"), None);
}

/// As a person writes it who knows nothing of AppManifests.
pub(crate) const LABELLED: &str = r#"apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: chat}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: chat}
spec:
  selector: {matchLabels: {app: chat}}
  template:
    metadata:
      labels:
        app: chat
        ws.olares.com/inject: "true"
      annotations:
        ws.olares.com/callback: 8888/ws/message
        ws.olares.com/heartbeat.timeout: 60s
    spec: {containers: [{name: chat, image: "chat:1"}]}
"#;

#[test]
fn inject_and_lint_understand_the_label() {
    let ran = run(&["inject"], LABELLED);
    assert_eq!(
        ran.said,
        "Deployment/chat in default: Injected: for app chat\n"
    );
    assert_eq!(objects(&ran.out).len(), 2, "{}", ran.out);
    assert!(ran.out.contains("olares-ws-sidecar"), "{}", ran.out);
    let ran = run(&["lint", "-"], LABELLED);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.said);
}

#[test]
fn what_is_wrong_beside_the_label_is_said_with_its_place() {
    let wrong = LABELLED
        .replace("8888/ws", "70000/ws")
        .replace("heartbeat.timeout", "heartbeat.timeot");
    let ran = run(&["lint", "-"], &wrong);
    assert_eq!(ran.code, 1, "{}", ran.said);
    assert_eq!(
        ran.out,
        "-:17:33: error: Deployment/chat annotation ws.olares.com/callback: \"70000/ws/message\" is not allowed \
         here; expected the app's port and path, as in 8888/ws/message (40010 to 40012 are the gateway's own)\n\
         -:18:41: warning: Deployment/chat annotation ws.olares.com/heartbeat.timeot: is no setting and is \
         ignored; did you mean heartbeat.timeout?\n"
    );
    let ran = run(&["inject"], &wrong);
    assert!(
        ran.said.starts_with(
            "Deployment/chat in default: InvalidStanza: AppManifest default/chat: error: \
             Deployment/chat: error: annotation ws.olares.com/callback"
        ),
        "{}",
        ran.said
    );
    let elsewhere = LABELLED.replace("selector: {app: chat}", "selector: {app: other}");
    let ran = run(&["lint", "-"], &elsewhere);
    assert_eq!(
        ran.out,
        "-:6:1: warning: Deployment/chat: no Service selects the pods\n"
    );
}

/// With all that people put between the lines, and with what is theirs alone.
pub(crate) const COMMENTED: &str = r#"# The chat, whole.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: chat   # by hand
spec:
  # Not for long.
  selector: {matchLabels: {app: chat}}
  template:
    metadata:
      labels: {app: chat}
    spec:
      containers:
      - name: chat
        image: "chat:1"   # pinned

        # The reason for this is long.
        env:
        - {name: A, value: "1"}
      # What comes after.
      terminationGracePeriodSeconds: 5
"#;

#[test]
fn inject_keeps_comments_and_layout() {
    let stream = app_with(COMMENTED);
    let ran = run(&["inject"], &stream);
    assert_eq!(
        ran.said,
        "Deployment/chat in default: Injected: for app chat\n"
    );
    let mut rest = ran.out.as_str();
    for line in stream.lines() {
        let (_, after) = rest
            .split_once(&format!("{line}\n"))
            .unwrap_or_else(|| panic!("{line:?} is lost in\n{}", ran.out));
        rest = after;
    }
}

#[test]
fn what_is_written_anew_is_said() {
    let json = "# On one line.\n{\"kind\": \"List\", \"items\": [LIST]}";
    let mut items: Vec<String> = objects(&app_with(WORKLOADS))
        .iter()
        .map(Json::to_string)
        .collect();
    items.truncate(3);
    let ran = run(&["inject"], &json.replace("LIST", &items.join(", ")));
    assert!(
        ran.said
            .ends_with("List/: written anew, without its comments\n"),
        "{}",
        ran.said
    );
    assert!(ran.out.contains("olares-ws-sidecar"), "{}", ran.out);
}

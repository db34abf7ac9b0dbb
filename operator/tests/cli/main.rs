//! The commands that need no cluster, as a person runs them.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod inject;
mod replicas;
mod round_trip;
mod streams;
mod support;

use std::process::Command;

use serde_json::{Value as Json, json};

use support::{objects, run};

const MANIFEST: &str = "\
metadata:
  name: {{ .Release.Name }}
entrances:
- {name: chat, host: chat-svc, port: 80}
options:
  websocket:
    port: {{ .Values.port | default 8888 }}
    url: /ws/message
";

#[test]
fn lint_is_silent_where_all_is_well() {
    let ran = run(&["lint", "--name", "chat", "-"], MANIFEST);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.said);
}

#[test]
fn lint_warns_of_callbacks_at_the_apps_root() {
    let root = MANIFEST.replace("url: /ws/message", "url: /");
    let ran = run(&["lint", "--name", "chat", "-"], &root);
    assert_eq!(ran.code, 0, "{}", ran.out);
    let place = "-:8:10: warning: options.websocket.url: ";
    assert!(
        ran.out.starts_with(place) && ran.out.contains("404"),
        "{}",
        ran.out
    );
}

#[test]
fn lint_says_where_and_ends_with_1() {
    let wrong = MANIFEST.replace("8888", "70000").replace("url:", "uri:");
    let ran = run(&["lint", "--name", "chat", "-"], &wrong);
    assert_eq!(ran.code, 1);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("-:7:11: error: options.websocket.port: 70000")),
        "{lines:?}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("-:8:5: warning: options.websocket.uri")),
        "{lines:?}"
    );
}

#[test]
fn lint_writes_json_and_sarif() {
    let wrong = MANIFEST.replace("8888", "70000");
    let ran = run(&["lint", "--name", "chat", "-o", "json", "-"], &wrong);
    let found: Json = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(found[0]["line"], 7);
    assert_eq!(found[0]["severity"], "error");

    let ran = run(&["lint", "--name", "chat", "-o", "sarif", "-"], &wrong);
    assert_eq!(ran.code, 1);
    let sarif: Json = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(result["level"], "error");
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["region"], json!({"startLine": 7, "startColumn": 11}));
}

#[test]
fn lint_reads_appmanifests() {
    let object = "kind: AppManifest\nspec:\n  entrances: [{host: a}]\n  options:\n    websocket: {url: /ws, port: 0}\n";
    let ran = run(&["lint", "-"], object);
    assert!(
        ran.out
            .starts_with("-:5:33: error: spec.options.websocket.port: 0 is not allowed"),
        "{}",
        ran.out
    );
}

#[test]
fn a_charts_manifest_is_printed_for_kubectl() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("OlaresManifest.yaml", MANIFEST);
    write("Chart.yaml", "name: chat\nversion: 1.0.0\n");
    write("values.yaml", "port: 9000\n");
    let chart = folder.path().to_str().unwrap();
    let ran = run(&["manifest", chart, "--namespace", "rooms"], "");
    assert_eq!(ran.code, 0, "{}", ran.said);
    let object = &objects(&ran.out)[0];
    assert_eq!(object["kind"], "AppManifest");
    assert_eq!(
        object["metadata"],
        json!({"name": "chat", "namespace": "rooms"})
    );
    assert_eq!(object["spec"]["options"]["websocket"]["port"], 9000);

    let without = run(&["manifest", "-"], "metadata: {name: chat}\n");
    assert_eq!(without.code, 1);
    assert!(
        without.said.contains("asks for no WebSockets"),
        "{}",
        without.said
    );
}

#[test]
fn every_shell_has_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(&["completions", shell], "");
        assert_eq!(ran.code, 0, "{}", ran.said);
        assert!(ran.out.contains("uninject"), "{shell}");
    }
}

#[test]
fn it_is_a_kubectl_plugin_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("kubectl-ws");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ws-operator"), &plugin).unwrap();
    let output = Command::new(plugin)
        .args(["lint", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("Usage: kubectl ws lint"), "{help}");
}

#[test]
fn packaged_charts_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let chart = folder.path().join("chat");
    std::fs::create_dir_all(chart.join("i18n/de")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(chart.join(name), text).unwrap();
    write("OlaresManifest.yaml", MANIFEST);
    write("i18n/de/OlaresManifest.yaml", "no: manifest\n");
    write("Chart.yaml", "name: chat\nversion: 1.0.0\n");
    write("values.yaml", "port: 9000\n");
    for format in ["ustar", "gnu", "pax"] {
        let package = folder.path().join(format!("chat-{format}.tgz"));
        let packed = Command::new("tar")
            .args(["--create", "--gzip", "--format", format, "--file"])
            .arg(&package)
            .arg("--directory")
            .arg(folder.path())
            .arg("chat")
            .status()
            .unwrap();
        assert!(packed.success());
        let package = package.to_str().unwrap();
        let ran = run(&["manifest", package], "");
        assert_eq!(ran.code, 0, "{}", ran.said);
        let object = &objects(&ran.out)[0];
        assert_eq!(object["metadata"]["name"], "chat");
        assert_eq!(object["spec"]["options"]["websocket"]["port"], 9000);
        assert_eq!(run(&["lint", package], "").out, "");
    }
    std::fs::write(folder.path().join("broken.tgz"), "no package").unwrap();
    let ran = run(
        &["lint", folder.path().join("broken.tgz").to_str().unwrap()],
        "",
    );
    assert!(
        ran.code != 0 && ran.said.contains("not a packaged chart"),
        "{}",
        ran.said
    );
}

/// The entrance's Service leads to the port that callbacks go to, and nothing proves the sender.
#[test]
fn lint_warns_where_strangers_can_post_callbacks() {
    let objects = |stanza: &str, target: &str| {
        format!(
            "kind: AppManifest\nspec:\n  entrances: [{{host: chat, port: 80}}]\n  options:\n    websocket: {{url: /hook, port: 8888{stanza}}}\n\
             ---\nkind: Service\nmetadata: {{name: chat}}\nspec: {{selector: {{app: chat}}, ports: [{{port: 80, targetPort: {target}}}]}}\n\
             ---\nkind: Deployment\nmetadata: {{name: chat}}\nspec:\n  template:\n    metadata: {{labels: {{app: chat}}}}\n    \
             spec: {{containers: [{{name: chat, ports: [{{name: http, containerPort: 8888}}]}}]}}\n"
        )
    };
    for target in ["http", "8888"] {
        let ran = run(&["lint", "-"], &objects("", target));
        assert_eq!(ran.code, 0, "{}", ran.out);
        assert!(
            ran.out.starts_with(
                "-:5:35: warning: spec.options.websocket.port: the Service chat leads to port 8888, where callbacks go"
            ),
            "{}",
            ran.out
        );
        assert!(ran.out.contains("POST to /hook"), "{}", ran.out);
        assert!(
            ran.out.contains("set callback.signing.secretFrom")
                && ran.out.contains("expose: entrance"),
            "{}",
            ran.out
        );
        assert_eq!(
            run(&["lint", "--strict", "-"], &objects("", target)).code,
            1
        );
    }
    let signed = ", callback: {signing: {secretFrom: {name: chat, key: keys}}}";
    for (stanza, target) in [
        (signed, "http"),
        (", expose: entrance", "http"),
        ("", "9999"),
        ("", "ws-entrance"),
    ] {
        let ran = run(&["lint", "-"], &objects(stanza, target));
        assert_eq!(ran.out, "", "{stanza} {target}");
    }
}

/// A chart's Service is a template; the same number says enough.
#[test]
fn lint_warns_of_a_chart_whose_entrance_has_the_callbacks_port() {
    let same = MANIFEST.replace("port: 80}", "port: 8888}");
    let ran = run(&["lint", "--name", "chat", "-"], &same);
    assert!(
        ran.out
            .contains("warning: options.websocket.port: the Service chat-svc leads to port 8888"),
        "{}",
        ran.out
    );
}

#[test]
fn lint_warns_of_a_labelled_workload_whose_callbacks_anybody_can_post() {
    let objects = "kind: Deployment\nmetadata: {name: chat}\nspec:\n  template:\n    metadata:\n      \
        labels: {app: chat, ws.olares.com/inject: 'true'}\n      \
        annotations: {ws.olares.com/callback: 8888/hook}\n\
        ---\nkind: Service\nmetadata: {name: chat}\nspec: {selector: {app: chat}, ports: [{port: 80, targetPort: 8888}]}\n";
    let ran = run(&["lint", "-"], objects);
    assert!(
        ran.out.contains("warning: Deployment/chat annotation ws.olares.com/callback: the Service chat leads to port 8888"),
        "{}",
        ran.out
    );
    let signed = objects.replace(
        "8888/hook}",
        "8888/hook, ws.olares.com/callback.signing.secretFrom: '{name: chat, key: keys}'}",
    );
    assert_eq!(run(&["lint", "-"], &signed).out, "");
}

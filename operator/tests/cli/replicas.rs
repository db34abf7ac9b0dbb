//! `lint` where several pods serve, or may.

use crate::support::{ASKING, ENTRANCE, run, stream};

const APART: &str = "; each gateway knows the clients of its own pod alone";
const ASKS: &str = "{ws.olares.com/inject: 'true', app: chat}";

fn workload(kind: &str, replicas: u32, labels: &str) -> String {
    format!(
        "kind: {kind}\napiVersion: apps/v1\nmetadata: {{name: chat}}\nspec:\n  replicas: {replicas}\n  template:\n    metadata:\n      labels: {labels}\n      annotations: {{ws.olares.com/callback: 8888/ws}}\n"
    )
}

fn autoscaler(version: &str, target: &str, most: &str) -> String {
    format!(
        "kind: HorizontalPodAutoscaler\napiVersion: autoscaling/{version}\nmetadata: {{name: more}}\nspec: {{scaleTargetRef: {{{target}}}, minReplicas: 1, maxReplicas: {most}}}\n"
    )
}

fn scaled_object(more: &str) -> String {
    format!(
        "kind: ScaledObject\napiVersion: keda.sh/v1alpha1\nmetadata: {{name: queue}}\nspec: {{scaleTargetRef: {{name: chat}}, triggers: []{more}}}\n"
    )
}

#[track_caller]
fn told(objects: &[&str], words: &str) {
    let ran = run(&["lint", "-"], &stream(objects));
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(ran.out.contains("warning: "), "{}", ran.out);
    let words = format!("{words}{APART}");
    assert!(ran.out.contains(&words), "{words}\n{}", ran.out);
}

#[track_caller]
fn silent(objects: &[&str]) {
    let ran = run(&["lint", "-"], &stream(objects));
    assert!(!ran.out.contains("replicas"), "{}", ran.out);
}

#[test]
fn several_replicas_are_told_of() {
    let words = "Deployment/chat has 3 replicas";
    told(&[ENTRANCE, &workload("Deployment", 3, ASKS), ""], words);
    let plain = workload("Deployment", 3, "{app: chat}");
    told(&[ENTRANCE, &plain, ASKING], words);
    // One replica, and many of what the entrance does not select.
    for other in [
        workload("Deployment", 1, "{app: chat}"),
        workload("Deployment", 3, "{app: worker}"),
    ] {
        silent(&[ENTRANCE, &other, ASKING]);
    }
}

#[test]
fn what_may_scale_beyond_one_is_told_of_with_its_place() {
    for kind in ["Deployment", "StatefulSet", "DaemonSet"] {
        let alone = workload(kind, 1, "{app: chat}");
        let target = format!("apiVersion: apps/v1, kind: {kind}, name: chat");
        for version in ["v1", "v2", "v2beta2"] {
            let scaler = autoscaler(version, &target, "4");
            let words = format!(
                "{kind}/chat may get 4 replicas by HorizontalPodAutoscaler/more (- document 4)"
            );
            told(&[ENTRANCE, &alone, ASKING, &scaler], &words);
        }
        silent(&[ENTRANCE, &alone, ASKING, &autoscaler("v2", &target, "1")]);
    }
    let asking = workload("Deployment", 1, ASKS);
    let words = "Deployment/chat may get 9 replicas by ScaledObject/queue (- document 1)";
    let scaler = scaled_object(", maxReplicaCount: 9");
    told(&[&scaler, "# Nothing.\n", ENTRANCE, &asking], words);
    // KEDA's own default.
    let words = "Deployment/chat may get 100 replicas by ScaledObject/queue (- document 3)";
    told(&[ENTRANCE, &asking, &scaled_object("")], words);
    silent(&[ENTRANCE, &asking, &scaled_object(", maxReplicaCount: 1")]);
}

#[test]
fn what_scales_something_else_is_not_told_of() {
    let alone = workload("Deployment", 1, "{app: chat}");
    for target in [
        "apiVersion: apps/v1, kind: Deployment, name: worker",
        "apiVersion: apps/v1, kind: StatefulSet, name: chat",
        "apiVersion: argoproj.io/v1alpha1, kind: Deployment, name: chat",
    ] {
        let scaler = autoscaler("v2", target, "4");
        silent(&[ENTRANCE, &alone, ASKING, &scaler]);
    }
    let target = "apiVersion: apps/v1, kind: Deployment, name: chat";
    let place = |object: &str, namespace: &str| {
        object.replacen(
            "metadata: {name:",
            &format!("metadata: {{namespace: {namespace}, name:"),
            1,
        )
    };
    let scaler = autoscaler("v2", target, "4");
    silent(&[ENTRANCE, &place(&alone, "a"), ASKING, &place(&scaler, "b")]);
    // Of another group by the same name.
    let other = scaler.replace("autoscaling/", "example.com/");
    silent(&[ENTRANCE, &alone, ASKING, &other]);
}

/// Beside a chart: its templates as Helm renders them.
#[test]
fn a_charts_rendered_objects_count_beside_its_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("Chart.yaml", "name: chat\nversion: 1.0.0\n");
    write(
        "OlaresManifest.yaml",
        "entrances: [{name: chat, host: chat-svc, port: 80}]\noptions:\n  websocket: {url: /ws, port: 8888}\n",
    );
    let target = "apiVersion: apps/v1, kind: Deployment, name: chat";
    let rendered = stream(&[
        ENTRANCE,
        &workload("Deployment", 1, "{app: chat}"),
        &autoscaler("v2", target, "4"),
    ]);
    let ran = run(&["lint", folder.path().to_str().unwrap(), "-"], &rendered);
    assert!(
        ran.out.contains("OlaresManifest.yaml:3:31: warning: options.websocket.port: Deployment/chat may get 4 replicas by HorizontalPodAutoscaler/more (- document 3)"),
        "{}{}",
        ran.out,
        ran.said
    );
}

//! `inject` and `lint` on what people really have in one stream: objects of every kind, odd ones
//! among them.

use serde_json::json;

use crate::support::{ASKING, ENTRANCE, app_with, objects, run, stream};

/// It is injected, whatever stands beside it.
pub(crate) const DEPLOYMENT: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata: {name: chat}
spec:
  selector: {matchLabels: {app: chat}}
  template:
    metadata: {labels: {app: chat}}
    spec:
      containers: [{name: chat, image: "chat:1"}]
      volumes:
      - name: s
        secret: {secretName: x, defaultMode: 0400}
"#;

const INJECTED: &str = "Deployment/chat in default: Injected: for app chat\n";

#[track_caller]
fn beside(object: &str, code: i32, said: &str) -> String {
    let ran = run(&["inject"], &stream(&[object, &app_with(DEPLOYMENT)]));
    assert_eq!(
        (ran.code, ran.said.as_str()),
        (code, format!("{said}{INJECTED}").as_str())
    );
    assert!(ran.out.starts_with(object), "changed:\n{}", ran.out);
    assert!(ran.out.contains("olares-ws-sidecar"), "{}", ran.out);
    ran.out
}

#[test]
fn octal_modes_are_what_kubectl_reads() {
    let out = beside("# Nothing else.\na: 1\n", 0, "");
    // The line stays as it was; as JSON it is the number that it means.
    assert!(out.contains("defaultMode: 0400"), "{out}");
    let ran = run(&["inject", "-o", "json"], &app_with(DEPLOYMENT));
    let volume = &objects(&ran.out)[0]["items"][2]["spec"]["template"]["spec"]["volumes"][0];
    assert_eq!(volume["secret"]["defaultMode"], json!(256));
}

#[test]
fn of_a_key_that_stands_twice_the_last_counts() {
    beside("kind: X\nc: 1\nc: 2\n", 0, "");
}

#[test]
fn kinds_of_other_groups_pass_through() {
    for object in [
        "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: fn}\nspec: {template: 1}\n",
        "apiVersion: example.com/v1\nkind: AppManifest\nmetadata: {name: other}\nspec: [1]\n",
    ] {
        beside(object, 0, "");
    }
    let kruise = "apiVersion: apps.kruise.io/v1beta1\nkind: StatefulSet\nmetadata: {name: db}\nspec: {template: \
                  {metadata: {labels: {app: chat}}, spec: {containers: [{name: db}]}}}\n";
    beside(
        kruise,
        1,
        "StatefulSet/db in default: OtherOwner: the pod belongs to a StatefulSet\n",
    );
}

#[test]
fn one_odd_object_is_told_with_its_place_and_stops_nothing() {
    beside(
        "apiVersion: v1\nkind: Service\nmetadata: {name: odd}\nspec: {ports: [{port: \"80\"}]}\n",
        1,
        "- document 1 line 1: Service/odd is not understood: invalid type: string \"80\", expected i32\n",
    );
    // Not behind the entrance: none of our business.
    beside(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: odd}\nspec:\n  template:\n    spec:\n      containers: \
         [{name: a, ports: [{containerPort: x}]}]\n",
        0,
        "Deployment/odd in default: NotEntrance: selected by none of the entrance Services: chat-svc\n",
    );
    beside(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: odd}\nspec:\n  template:\n    metadata: {labels: {app: \
         chat}}\n    spec:\n      containers:\n      - {name: a}\n      - name: b\n        ports: [{containerPort: x}]\n",
        1,
        "- document 1 line 11: Deployment/odd in default: cannot be injected: \
         spec.template.spec.containers.1.ports.0.containerPort: invalid type: string \"x\", expected i32\n",
    );
    beside(
        "kind: Deployment\n  bad: [\n",
        1,
        "- document 1 line 2: not YAML, left as it is: mapping values are not allowed in this context\n",
    );
}

#[test]
fn an_app_that_asks_and_gets_nothing_is_told_of() {
    let (manifest, service, deployment) = (ASKING, ENTRANCE, DEPLOYMENT);
    let said = |objects: &[&str]| {
        let ran = run(&["inject"], &stream(objects));
        (ran.code, ran.said)
    };
    let app = "- document 1 line 1: AppManifest/chat in default: asks for a gateway, and nothing here gets one: ";
    // The workloads are in charts within the chart, or of a kind that makes no pods by itself.
    let nothing = "no object here makes pods that the Service chat-svc selects\n";
    assert_eq!(said(&[manifest, service]), (1, format!("{app}{nothing}")));
    let alone = format!("{app}NoService: there is no Service chat-svc\n");
    assert_eq!(said(&[manifest]), (1, alone.clone()));
    // In another namespace.
    let elsewhere = |object: &str| object.replace("metadata: {", "metadata: {namespace: other, ");
    let (code, words) = said(&[manifest, &elsewhere(service), &elsewhere(deployment)]);
    assert!(code == 1 && words.ends_with(&alone), "{words}");
    // Who does not ask, and who says no, is not told.
    let silent = manifest.replace("options", "ignored");
    assert_eq!(said(&[&silent, service]), (0, String::new()));
    let out = deployment.replace(
        "{app: chat}}\n    spec",
        "{app: chat, ws.olares.com/inject: 'false'}}\n    spec",
    );
    let (code, words) = said(&[manifest, service, &out]);
    assert!(code == 0 && words.contains("OptedOut"), "{words}");
}

#[test]
fn lists_of_a_kind_are_lists() {
    let all = run(&["uninject", "-o", "json"], &app_with(DEPLOYMENT));
    let items = &objects(&all.out)[0]["items"];
    let list = format!(
        "{}\n---\n{}\n---\n{{\"kind\": \"DeploymentList\", \"apiVersion\": \"apps/v1\", \"items\": [{}]}}\n",
        items[0], items[1], items[2]
    );
    let ran = run(&["inject"], &list);
    assert_eq!((ran.code, ran.said.as_str()), (0, INJECTED));
    assert!(ran.out.contains("olares-ws-sidecar"), "{}", ran.out);
}

/// A pod template, as `kind` has one.
fn labelled(api: &str, kind: &str, more: &str) -> String {
    format!(
        "apiVersion: {api}\nkind: {kind}\nmetadata: {{name: web{more}}}\nspec:\n  template:\n    metadata:\n      labels: \
         {{app: web, LABEL}}\n      annotations: {{ANNOTATION}}\n    spec: {{containers: [{{name: web}}]}}\n"
    )
}

#[test]
fn what_asks_in_the_wrong_place_is_told() {
    let plain = |text: String, label: &str, annotation: &str| {
        text.replace("LABEL", label)
            .replace("ANNOTATION", annotation)
    };
    let deployment = |more| labelled("apps/v1", "Deployment", more);
    let ask = "ws.olares.com/inject: \"true\"";
    for (object, line, words) in [
        (
            plain(
                deployment(", labels: {ws.olares.com/inject: \"true\"}"),
                "b: c",
                "",
            ),
            3,
            "label ws.olares.com/inject asks for nothing here: the pods' own count, \
             spec.template.metadata.labels.ws.olares.com/inject and spec.template.metadata.annotations",
        ),
        (
            plain(
                deployment(", annotations: {ws.olares.com/callback: 8888/ws}"),
                "b: c",
                "",
            ),
            3,
            "annotation ws.olares.com/callback asks for nothing here",
        ),
        (
            plain(deployment(""), "b: c", ask),
            8,
            "annotation ws.olares.com/inject asks for nothing: it is a label, of spec.template.metadata.labels",
        ),
        (
            plain(deployment(""), "ws.olares.com/inject: true", ""),
            7,
            "label ws.olares.com/inject: true is not a text; write \"true\" with quotes",
        ),
        (
            plain(labelled("argoproj.io/v1alpha1", "Rollout", ""), ask, ""),
            7,
            "label ws.olares.com/inject asks for nothing on a Rollout: only a Deployment, StatefulSet or DaemonSet",
        ),
    ] {
        let lint = run(&["lint", "-"], &object);
        assert_eq!(lint.code, 1, "{object}{}", lint.said);
        assert!(lint.out.starts_with(&format!("-:{line}:")), "{}", lint.out);
        assert!(lint.out.contains(words), "{}", lint.out);
        let inject = run(&["inject"], &object);
        assert_eq!((inject.code, inject.out.as_str()), (1, object.as_str()));
        let place = format!("- document 1 line {line}: ");
        assert!(inject.said.contains(&place), "{}", inject.said);
        assert!(inject.said.contains(words), "{}", inject.said);
    }
}

#[test]
fn lint_refuses_what_is_no_yaml() {
    let ran = run(&["lint", "-"], "kind: Deployment\n  bad: [\n");
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.said);
    assert!(ran.out.starts_with("-:2:"), "{}", ran.out);
    assert!(ran.out.contains("error: not valid YAML: "), "{}", ran.out);
}

//! Every shape of manifest that is published is read without error.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use stanza::Manifest;
use stanza::excerpt::{self, Excerpt};
use ws_operator::app::{App, Stanza};
use ws_operator::source::Document;

fn corpus() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// The values that Olares installs an app with.
fn context() -> Json {
    let chart = json!({"name": "chart", "version": "1.0.0"});
    let values = json!({
        "admin": "alice", "bfl": {"username": "alice"}, "isAdmin": false, "port": 8080,
        "olaresEnv": {}, "ws": {"port": 8888, "path": "/ws/message", "secure": false},
    });
    excerpt::context("templated", "templated-alice", 1, &chart, values)
}

#[test]
fn every_shape_is_read_without_error() {
    // Of a release all values are known.
    let installed = excerpt::complete(context());
    let read: Vec<String> = corpus()
        .iter()
        .map(|(name, text)| {
            let found = Excerpt::read("OlaresManifest.yaml", text, &installed);
            assert!(!found.problems.has_errors(), "{name}: {}", found.problems);
            let Some(root) = found.root else {
                return format!("{name}: no stanza");
            };
            let manifest = Manifest::from_node("OlaresManifest.yaml", "", &root)
                .unwrap_or_else(|problems| panic!("{name}: {problems}"));
            assert!(
                manifest.warnings.is_empty(),
                "{name}: {}",
                manifest.warnings
            );
            let entrance = manifest.entrance().unwrap();
            let target = &manifest.websocket.as_ref().unwrap().target;
            format!(
                "{name}: {} of {} entrances leads to {}:{}, callbacks to {}{}",
                entrance.name,
                manifest.entrances.len(),
                entrance.host,
                entrance.port.unwrap(),
                target.port,
                target.path,
            )
        })
        .collect();
    insta::assert_snapshot!(read.join("\n"));
}

#[track_caller]
fn problems(text: &str) -> String {
    Excerpt::read("OlaresManifest.yaml", text, &context())
        .problems
        .to_string()
}

#[test]
fn what_cannot_be_rendered_is_named_with_its_place() {
    assert_eq!(
        problems("options:\n  websocket:\n    port: {{ .Values.none }}\n    url: /ws\n"),
        "OlaresManifest.yaml:3:11: error: options.websocket.port: {{ .Values.none }} cannot be \
         rendered: .Values.none is not among the values"
    );
    assert_eq!(
        problems(
            "{{ if .Values.none }}\noptions:\n  websocket: {port: 1, url: /ws}\n{{ end }}\na: 1"
        ),
        "OlaresManifest.yaml:1:1: error: {{ if .Values.none }} cannot be rendered: .Values.none \
         is not among the values"
    );
}

#[test]
fn a_block_beside_the_stanza_may_stay_unknown() {
    let stanza = "options:\n  {{- if .Values.none }}\n  apiTimeout: 0\n  {{- end }}\n  websocket:\n    port: 8888\n    url: /ws\n";
    assert_eq!(problems(stanza), "");
    let within = "options:\n  websocket:\n    port: 8888\n    {{- if .Values.none }}\n    url: /other\n    {{- end }}\n";
    assert!(problems(within).contains("{{ if .Values.none }}"));
    let entrance = "entrances:\n{{- if .Values.none }}\n- name: a\n  host: b\n{{- end }}\noptions:\n  websocket: {port: 1, url: /ws}\n";
    assert!(problems(entrance).contains("{{ if .Values.none }}"));
}

#[test]
fn an_app_whose_stanza_is_not_known_is_invalid_and_names_its_service() {
    let text = "entrances:\n- {name: web, host: web-svc}\noptions:\n  websocket:\n    url: /ws\n    port: {{ .Values.none }}\n";
    let found = Excerpt::read("OlaresManifest.yaml", text, &context());
    let document = Document::of_excerpt(&found).unwrap();
    let (annotations, spec) = document.parts();
    let app = App::read(
        serde_json::from_value(json!({
            "metadata": {"name": "chat", "namespace": "chat-alice", "annotations": annotations},
            "spec": spec,
        }))
        .unwrap(),
    );
    assert_eq!(app.service(), Some("web-svc"));
    let Stanza::Invalid { problems, .. } = &app.stanza else {
        panic!("{:?}", app.stanza)
    };
    assert_eq!(
        problems.errors(),
        "AppManifest chat-alice/chat: error: OlaresManifest.yaml:6:11: error: \
         options.websocket.port: {{ .Values.none }} cannot be rendered: .Values.none is not \
         among the values"
    );
}

proptest! {
    #[test]
    fn no_text_is_too_strange(text in r#"(\{\{-? ?(if|with|range|else|end|define "a"|\.Values\.port|\$x := 1|"|`|/\*|\(|\|) ?(\.Values\.a|\$x)? ?-?\}?\}|\r?\n|options:|  websocket:| port: 1|- |#|é|\{\{|\}\}){0,30}"#) {
        let _ = Excerpt::read("x", &format!("websocket{text}"), &context());
    }
}

//! The invariants of ARCHITECTURE.md that can be seen in the sources.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

use std::fs;
use std::path::{Path, PathBuf};

use e2e::cluster::root;

/// One file's path from the root, and its lines outside comments and in-file tests.
struct Source {
    path: String,
    lines: Vec<String>,
}

fn sources(folder: &str) -> Vec<Source> {
    let mut files = Vec::new();
    collect(&root().join(folder), &mut files);
    assert!(!files.is_empty(), "{folder} has no Rust files");
    let root = root();
    let read = |file: &PathBuf| {
        let text = fs::read_to_string(file).unwrap();
        let code = text
            .split("\n#[cfg(test)]\nmod ")
            .next()
            .unwrap_or_default();
        Source {
            path: file.strip_prefix(&root).unwrap().display().to_string(),
            lines: code
                .lines()
                .map(|line| line.split("//").next().unwrap_or_default().to_owned())
                .collect(),
        }
    };
    files.iter().map(read).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
    {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !path.ends_with("tests.rs")
        {
            files.push(path);
        }
    }
}

/// No line of `folder` has one of `words`, but in files that begin with one of `except`.
#[track_caller]
fn nowhere(folder: &str, words: &[&str], except: &[&str]) {
    let mut found = Vec::new();
    for source in sources(folder) {
        let allowed = except.iter().any(|prefix| source.path.starts_with(prefix));
        for (index, line) in source.lines.iter().enumerate().filter(|_| !allowed) {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Else a list of exceptions would outlive what it was made for.
#[track_caller]
fn each_has(files: &[&str], word: &str) {
    for file in files {
        let text =
            fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(
            text.contains(word),
            "{file} has no {word} any more: take it off the list"
        );
    }
}

#[test]
fn the_stanza_does_no_io() {
    let io = [
        "std::fs",
        "std::process",
        "std::env",
        "std::net::Tcp",
        "std::net::Udp",
        "tokio",
        "hyper",
        "kube",
    ];
    nowhere("stanza/src", &io, &[]);
    let dependencies = fs::read_to_string(root().join("stanza/Cargo.toml")).unwrap();
    for crate_name in ["tokio", "hyper", "kube", "k8s-openapi"] {
        assert!(
            !dependencies
                .lines()
                .any(|line| line.starts_with(crate_name)),
            "{crate_name}"
        );
    }
}

#[test]
fn the_codec_does_no_io() {
    let io = [
        "std::io", "std::net", "std::fs", "tokio::", "hyper", "stanza",
    ];
    nowhere("sidecar/ws/src", &io, &[]);
    let manifest = fs::read_to_string(root().join("sidecar/ws/Cargo.toml")).unwrap();
    let used = manifest.split("[dev-dependencies]").next().unwrap();
    for crate_name in ["tokio", "hyper", "http", "stanza"] {
        let found = used.lines().find(|line| line.starts_with(crate_name));
        assert_eq!(found, None);
    }
}

/// Above all not in the webhook, whose answers must not wait for the API server.
#[test]
fn few_files_talk_to_the_api_server() {
    let clients = [
        "operator/src/run.rs",
        "operator/src/run/tasks.rs",
        "operator/src/source/write.rs",
        "operator/src/source/helm_release.rs",
        "operator/src/source/application_manager.rs",
        "operator/src/platform.rs",
        "operator/src/events.rs",
        "operator/src/probe.rs",
        "operator/src/cli/doctor.rs",
        "operator/src/cli/doctor/look.rs",
        "operator/src/cli/doctor/rights.rs",
        "operator/src/cli/doctor/served.rs",
        "operator/src/cli/explain.rs",
        "operator/src/cli/installed.rs",
        "operator/src/cli/roll.rs",
        "operator/src/cli/snapshot.rs",
        "operator/src/controller.rs",
        "operator/src/controller/apply.rs",
        "operator/src/lease.rs",
        "operator/src/stand_down.rs",
    ];
    each_has(&clients, "Client");
    nowhere("operator/src", &["kube::Client", "Api, Client"], &clients);
    nowhere(
        "operator/src/webhook",
        &["kube::Api", "Api<", "Api::", ".client"],
        &[],
    );
}

#[test]
fn the_registry_never_waits() {
    let registry = fs::read_to_string(root().join("sidecar/src/registry.rs")).unwrap();
    assert!(!registry.contains(".await") && !registry.contains("async "));
}

#[test]
fn few_files_connect_to_the_app() {
    let connecting = [
        "sidecar/src/callback/client.rs",
        "sidecar/src/proxy.rs",
        "sidecar/src/ask.rs",
        // To the key server.
        "sidecar/src/upgrade/jwt/fetch.rs",
    ];
    each_has(&connecting, "TcpStream::connect");
    nowhere("sidecar/src", &["TcpStream::connect"], &connecting);
}

#[test]
fn every_queue_is_bounded() {
    for folder in ["sidecar/src", "operator/src"] {
        nowhere(
            folder,
            &["unbounded", "std::sync::mpsc", "mpsc::channel()"],
            &[],
        );
    }
}

/// A task whose handle is dropped ends unseen.
#[test]
fn every_task_is_owned() {
    for folder in ["sidecar/src", "operator/src"] {
        for source in sources(folder) {
            let dropped = source.lines.iter().find(|line| {
                let line = line.trim();
                line.starts_with("tokio::spawn")
                    || line.contains("let _ = tokio::spawn")
                    || line.contains("thread::spawn")
            });
            assert!(dropped.is_none(), "{}: {dropped:?}", source.path);
        }
    }
}

/// A tag that moves makes another image of the same sources. `scratch`, a whole version, or a digest.
#[test]
fn base_images_do_not_float() {
    for folder in ["operator", "sidecar"] {
        let file = format!("{folder}/Dockerfile");
        let text = fs::read_to_string(root().join(&file)).unwrap();
        let argument = |name: &str| {
            let start = format!("ARG {name}=");
            text.lines().find_map(|line| line.strip_prefix(&start))
        };
        let mut bases = 0;
        for line in text.lines().filter(|line| line.starts_with("FROM ")) {
            let image = line.split_whitespace().nth(1).unwrap();
            let (name, tag) = image.split_once(':').unwrap_or((image, ""));
            let named = tag.strip_prefix("${").and_then(|tag| tag.strip_suffix('}'));
            let tag = named.map_or(tag, |named| argument(named).unwrap_or_default());
            let version = tag.split('-').next().unwrap_or_default();
            let whole = version.split('.').count() == 3
                && version.split('.').all(|part| part.parse::<u32>().is_ok());
            assert!(
                name == "scratch" || whole || tag.contains("@sha256:"),
                "{file}: {line} ({tag:?})"
            );
            bases += 1;
        }
        assert!(bases >= 2, "{file}: {bases} bases");
    }
}

/// About 400 lines are where a file wants to be two.
#[test]
fn no_file_is_endless() {
    for folder in [
        "stanza/src",
        "telemetry/src",
        "sidecar/src",
        "sidecar/ws/src",
        "operator/src",
        "tests/src",
        "bench/src",
        "attack/src",
    ] {
        for source in sources(folder) {
            assert!(
                source.lines.len() <= 450,
                "{} has {} lines",
                source.path,
                source.lines.len()
            );
        }
    }
}

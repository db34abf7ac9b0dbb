//! The operator, installed from its chart as a person installs it.

use std::env;

use anyhow::{Context, Result};

use crate::cluster::root;
use crate::command::{helm, kubectl, look};

pub const NAMESPACE: &str = "ws-operator";
pub const LABELS: &str = "app.kubernetes.io/name=ws-operator";

/// `helm install` with the chart's own values; `WS_IMAGE_*` names other images.
pub fn install() -> Result<()> {
    let chart = root().join("charts/ws-operator").display().to_string();
    let words = [
        "upgrade",
        "--install",
        "--wait",
        "--timeout",
        "2m",
        "--create-namespace",
        "--namespace",
        NAMESPACE,
    ];
    let mut words: Vec<String> = words
        .into_iter()
        .chain(["ws-operator", &chart])
        .map(str::to_owned)
        .collect();
    for (value, variable) in [
        ("image", "WS_IMAGE_WS_OPERATOR"),
        ("gateway.image", "WS_IMAGE_WS_GATEWAY"),
    ] {
        let Ok(image) = env::var(variable) else {
            continue;
        };
        let (repository, tag) = image
            .rsplit_once(':')
            .with_context(|| format!("{variable}={image} has no tag"))?;
        words.push(format!(
            "--set={value}.repository={repository},{value}.tag={tag}"
        ));
    }
    helm(words).map(drop)
}

/// The ServiceAccount that it runs under.
pub fn service_account() -> Result<String> {
    kubectl([
        "-n",
        NAMESPACE,
        "get",
        "pods",
        "-l",
        LABELS,
        "-o",
        "jsonpath={.items[0].spec.serviceAccountName}",
    ])
}

/// Its pods and its log, for messages of failures.
pub fn describe() -> String {
    let place = ["-n", NAMESPACE];
    let look = |title: &str, args: &[&str]| look(title, &[&place, args].concat());
    [
        look("the operator's pods", &["get", "pods", "-o", "wide"]),
        look(
            "the operator's events",
            &["get", "events", "--sort-by=.lastTimestamp"],
        ),
        look("the operator's log", &["logs", "-l", LABELS, "--tail=40"]),
    ]
    .concat()
}

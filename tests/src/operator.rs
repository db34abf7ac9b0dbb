//! The operator, installed from its chart as a person installs it.

use std::env;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value as Json;

use crate::cluster::root;
use crate::command::{built, kubectl, look, run};
use crate::scrape;
use crate::wait::{Look, until};

pub const NAMESPACE: &str = "ws-operator";
/// Of what it writes itself.
pub const FIELD_MANAGER: &str = "ws-operator";
pub const LABELS: &str = "app.kubernetes.io/name=ws-operator";

/// `helm install` with the chart's own values; `WS_IMAGE_*` names other images.
pub fn install() -> Result<()> {
    install_with(&[])
}

/// The same with more words for Helm; what an install before set is not kept.
pub fn install_with(more: &[&str]) -> Result<()> {
    install_chart(&root().join("charts/ws-operator"), more)
}

/// The clients of the tests run on the node: to the pods it is the edge that names users.
const EDGE: &str = "--set=identity.trustedProxies={10.0.0.0/8,172.16.0.0/12,192.168.0.0/16}";

/// Another chart than the checkout's.
pub fn install_chart(chart: &Path, more: &[&str]) -> Result<()> {
    install_by("helm", chart, more)
}

/// By the checkout's chart and that Helm.
pub fn install_with_helm(program: &str, more: &[&str]) -> Result<()> {
    install_by(program, &root().join("charts/ws-operator"), more)
}

fn install_by(program: &str, chart: &Path, more: &[&str]) -> Result<()> {
    let chart = chart.display().to_string();
    let words = [
        "upgrade",
        "--install",
        "--reset-values",
        "--wait",
        "--timeout",
        "2m",
        "--create-namespace",
        "--namespace",
        NAMESPACE,
    ];
    let mut words: Vec<String> = words
        .into_iter()
        .chain(["ws-operator", &chart, EDGE])
        .chain(more.iter().copied())
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
    run(program, words).map(drop)
}

/// The names of its pods, those that are going left out.
pub fn pods() -> Result<Vec<String>> {
    let path =
        "jsonpath={range .items[*]}{.metadata.name} {.metadata.deletionTimestamp}{'\\n'}{end}";
    let place = ["-n", NAMESPACE, "get", "pods", "-l", LABELS, "-o", path];
    let all = kubectl(place)?;
    let stays = |line: &str| Some(line.strip_suffix(' ')?.to_owned());
    Ok(all.lines().filter_map(stays).collect())
}

/// Its containers' restarts, pod by pod.
pub fn restarts() -> Result<String> {
    let path = "jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[0].restartCount}{'\\n'}{end}";
    kubectl(["-n", NAMESPACE, "get", "pods", "-l", LABELS, "-o", path])
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

/// The image of the gateways that it injects.
pub fn gateway_image() -> Result<String> {
    let variable =
        "{.spec.template.spec.containers[0].env[?(@.name==\"WS_OPERATOR_GATEWAY_IMAGE\")].value}";
    let path = format!("jsonpath={variable}");
    let image = kubectl([
        "-n",
        NAMESPACE,
        "get",
        "deployment/ws-operator",
        "-o",
        &path,
    ])?;
    ensure!(!image.is_empty(), "no {variable}");
    Ok(image)
}

/// What `explain` says about an object.
pub fn explain(namespace: &str, target: &str) -> Result<Json> {
    let words = ["explain", target, "-n", namespace, "-o", "json"];
    Ok(serde_json::from_str(&run(&program()?, words)?)?)
}

/// The program itself, built beside the tests: for commands.
pub fn program() -> Result<String> {
    Ok(built("ws-operator")?.display().to_string())
}

/// How many pods were admitted so, by all replicas.
pub fn admissions(decision: &str, reason: &str) -> Result<f64> {
    let name =
        format!("ws_operator_admissions_total{{decision=\"{decision}\",reason=\"{reason}\"}}");
    Ok(scrape::operators()?
        .iter()
        .filter_map(|samples| samples.get(&name))
        .sum())
}

/// Waits until there are so many replicas, all ready.
pub async fn scale(replicas: usize) -> Result<()> {
    let words = format!("--replicas={replicas}");
    kubectl(["-n", NAMESPACE, "scale", "deployment/ws-operator", &words])?;
    until("the operator's replicas", || async {
        let path = "jsonpath={.items[*].metadata.name}";
        let all = kubectl(["-n", NAMESPACE, "get", "pods", "-l", LABELS, "-o", path])?;
        let ready = kubectl([
            "-n",
            NAMESPACE,
            "get",
            "deployment/ws-operator",
            "-o",
            "jsonpath={.status.readyReplicas}",
        ])?;
        let ready = ready.parse().unwrap_or(0);
        let there = all.split_whitespace().count() == replicas && ready == replicas;
        Ok(Look::when(there, (), format!("{all}, {ready} ready")))
    })
    .await
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

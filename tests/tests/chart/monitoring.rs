//! Monitors, dashboard and NetworkPolicy: off at first, and right when they are on.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::cluster::root;
use e2e::template::{OLDEST, object, render};
use serde_json::{Value as Json, json};

const ON: [&str; 3] = [
    "=metrics.serviceMonitor.enabled=true,metrics.serviceMonitor.labels.release=prometheus",
    "=metrics.podMonitor.enabled=true",
    "=metrics.dashboard.enabled=true",
];

pub(crate) fn nothing_of_it_by_default(helm: &Path) -> Result<()> {
    let objects = render(helm, OLDEST, &[])?;
    for kind in ["ServiceMonitor", "PodMonitor", "ConfigMap", "NetworkPolicy"] {
        ensure!(object(&objects, kind, "").is_err(), "a {kind}");
    }
    Ok(())
}

pub(crate) fn the_monitors_find_their_ports(helm: &Path) -> Result<()> {
    let objects = render(helm, OLDEST, &ON)?;
    let service = object(&objects, "Service", "")?;
    let monitor = object(&objects, "ServiceMonitor", "")?;
    ensure!(monitor["metadata"]["labels"]["release"] == "prometheus");
    let wanted = &monitor["spec"]["selector"]["matchLabels"];
    for (label, value) in wanted.as_object().context("no labels")? {
        ensure!(service["metadata"]["labels"][label] == *value, "{label}");
    }
    let port = &monitor["spec"]["endpoints"][0]["port"];
    let ports = service["spec"]["ports"].as_array().context("no ports")?;
    ensure!(ports.iter().any(|one| one["name"] == *port), "{port}");
    // That gateways declare a port of this name is shown where they run.
    let monitor = object(&objects, "PodMonitor", "")?;
    ensure!(monitor["spec"]["podMetricsEndpoints"][0]["port"] == "olares-ws-ops");
    ensure!(monitor["spec"]["namespaceSelector"] == json!({"any": true}));
    Ok(())
}

/// Every number that the dashboard shows is one that the page lists; and tests of operator and
/// gateway hold the page to what they export.
pub(crate) fn the_dashboard_asks_for_numbers_that_exist(helm: &Path) -> Result<()> {
    let objects = render(helm, OLDEST, &ON)?;
    let map = object(&objects, "ConfigMap", "")?;
    ensure!(map["metadata"]["labels"]["grafana_dashboard"] == "1");
    let text = map["data"]["ws-operator.json"]
        .as_str()
        .context("no JSON")?;
    let dashboard: Json = serde_json::from_str(text).context("no JSON")?;

    let page = std::fs::read_to_string(root().join("docs/operator/observability.md"))?;
    let listed: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .flat_map(|(name, rest)| {
            let ends: &[&str] = if rest.starts_with("histogram") {
                &["_bucket", "_sum", "_count"]
            } else {
                &[""]
            };
            ends.iter().map(move |end| format!("{name}{end}"))
        })
        .collect();
    let mut queries = Vec::new();
    expressions(&dashboard, &mut queries);
    ensure!(queries.len() > 20, "only {} queries", queries.len());
    let mut asked = BTreeSet::new();
    for query in &queries {
        let words = query.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        let names: Vec<_> = words.filter(|word| word.starts_with("ws_")).collect();
        ensure!(!names.is_empty(), "asks for nothing: {query}");
        asked.extend(names.into_iter().map(str::to_owned));
    }
    let unknown: Vec<_> = asked.difference(&listed).collect();
    ensure!(unknown.is_empty(), "not exported: {unknown:?}");
    Ok(())
}

fn expressions(value: &Json, found: &mut Vec<String>) {
    match value {
        Json::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        Json::Object(fields) => {
            for (key, value) in fields {
                match (key.as_str(), value) {
                    ("expr", Json::String(query)) => found.push(query.clone()),
                    _ => expressions(value, found),
                }
            }
        }
        _ => {}
    }
}

pub(crate) fn the_network_policy_lets_in_who_must(helm: &Path) -> Result<()> {
    let on = "=networkPolicy.enabled=true";
    let objects = render(helm, OLDEST, &[on])?;
    let policy = object(&objects, "NetworkPolicy", "")?;
    let labels = &object(&objects, "Deployment", "")?["spec"]["template"]["metadata"]["labels"];
    let selected = &policy["spec"]["podSelector"]["matchLabels"];
    for (label, value) in selected.as_object().context("selects all")? {
        ensure!(labels[label] == *value, "{label}");
    }
    let rules = policy["spec"]["ingress"].as_array().context("no rules")?;
    ensure!(rules[0] == json!({"ports": [{"port": "webhook", "protocol": "TCP"}]}));
    ensure!(rules[1]["ports"][0]["port"] == "ops");
    let monitoring = json!({"kubernetes.io/metadata.name": "monitoring"});
    ensure!(rules[1]["from"][0]["namespaceSelector"]["matchLabels"] == monitoring);

    let narrow = "=networkPolicy.apiServer={10.0.0.0/24}";
    let objects = render(helm, OLDEST, &[on, narrow])?;
    let policy = object(&objects, "NetworkPolicy", "")?;
    let from = &policy["spec"]["ingress"][0]["from"];
    ensure!(
        *from == json!([{"ipBlock": {"cidr": "10.0.0.0/24"}}]),
        "{from}"
    );
    Ok(())
}

//! What Prometheus would read.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use crate::command::kubectl;
use crate::operator;

/// Samples by their name with labels, as they stand in the text.
pub type Samples = BTreeMap<String, f64>;

/// By way of the API server, so that it works from anywhere.
pub fn scrape(namespace: &str, pod_and_port: &str) -> Result<Samples> {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod_and_port}/proxy/metrics");
    let text = kubectl(["get", "--raw", &path])?;
    ensure!(text.ends_with('\n'), "cut short: {text}");
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').with_context(|| line.to_owned())?;
            let value = value.parse().with_context(|| line.to_owned())?;
            Ok((name.to_owned(), value))
        })
        .collect()
}

/// Every replica of the operator.
pub fn operators() -> Result<Vec<Samples>> {
    operator::pods()?
        .iter()
        .map(|name| scrape(operator::NAMESPACE, &format!("{name}:8080")))
        .collect()
}

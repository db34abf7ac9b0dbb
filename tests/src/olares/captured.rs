//! What comes into a pod through Envoy.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::LogParams;
use serde_json::Value as Json;

use super::{ENVOY, Platform, WEBHOOK};
use crate::cluster::Namespace;
use crate::command::kubectl;

/// Tries one GET with another Host.
const ASK: &str = "
import sys, urllib.error, urllib.request
request = urllib.request.Request(sys.argv[1], headers={'Host': sys.argv[2]})
try:
    print(urllib.request.urlopen(request, timeout=10).status)
except urllib.error.HTTPError as error:
    print(error.code)
";

impl Platform {
    /// What a GET from another pod is answered with.
    pub fn asks(&self, url: &str, host: &str) -> Result<String> {
        let pod = format!("deployment/{WEBHOOK}");
        let place = ["-n", &self.place.name, "exec", &pod, "--"];
        let answer = kubectl(place.into_iter().chain(["python3", "-c", ASK, url, host]))?;
        Ok(answer.trim().to_owned())
    }
}

/// The ports and paths that the pod's Envoy was led, in order; no path: no HTTP.
pub async fn captured(namespace: &Namespace, pod: &Pod) -> Result<Vec<(u64, Option<String>)>> {
    let params = LogParams {
        container: Some(ENVOY.to_owned()),
        ..LogParams::default()
    };
    let log = namespace
        .api::<Pod>()
        .logs(&pod.name_any(), &params)
        .await?;
    log.lines()
        .map(|line| {
            let line: Json = serde_json::from_str(line)?;
            let port = line["port"].as_u64().context("no port")?;
            Ok((port, line["path"].as_str().map(str::to_owned)))
        })
        .collect()
}

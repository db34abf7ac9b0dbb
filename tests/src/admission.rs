//! What the API server answers whoever creates a pod: asked by dry runs, so that nothing comes of it.

use anyhow::{Context, Result, ensure};
use http::{Request, header};
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::Pod;
use kube::client::Body;
use serde::Serialize;

use crate::cluster::Namespace;

/// The warnings that kubectl would print.
pub async fn warnings(namespace: &Namespace, pod: &Pod) -> Result<Vec<String>> {
    Ok(create(namespace, "pods", pod).await?.1)
}

/// The object as it would be, and the warnings.
pub async fn create<T>(
    namespace: &Namespace,
    resource: &str,
    object: &T,
) -> Result<(serde_json::Value, Vec<String>)>
where
    T: Serialize,
{
    let place = &namespace.name;
    let request = Request::post(format!("/api/v1/namespaces/{place}/{resource}?dryRun=All"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(serde_json::to_vec(object)?))?;
    let response = namespace.client.clone().send(request).await?;
    let (head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    ensure!(
        head.status.is_success(),
        "{}: {}",
        head.status,
        String::from_utf8_lossy(&body)
    );
    let warnings = head
        .headers
        .get_all(header::WARNING)
        .iter()
        .map(|value| value.to_str().map(str::to_owned))
        .collect::<Result<_, _>>()?;
    let object = serde_json::from_slice(&body).context("the answer is no object")?;
    Ok((object, warnings))
}

/// The same pod, to be created once more.
pub fn anew(pod: &Pod) -> Pod {
    let mut pod = pod.clone();
    pod.metadata.name = None;
    pod.metadata.generate_name = Some("again-".to_owned());
    pod.metadata.resource_version = None;
    pod.metadata.uid = None;
    pod.status = None;
    if let Some(spec) = &mut pod.spec {
        spec.node_name = None;
    }
    pod
}

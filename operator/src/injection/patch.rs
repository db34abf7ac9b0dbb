//! The difference that injection makes, as a JSON patch.

use k8s_openapi::api::core::v1::Pod;

/// Where an annotation stands in its object.
pub fn annotation(name: &str) -> String {
    format!("/metadata/annotations/{}", name.replace('/', "~1"))
}

/// Both sides are typed, never the raw object: a field that our API types do not know is in
/// neither, so the patch does not touch it.
pub fn patch(before: &Pod, after: &Pod) -> serde_json::Result<json_patch::Patch> {
    Ok(json_patch::diff(
        &serde_json::to_value(before)?,
        &serde_json::to_value(after)?,
    ))
}

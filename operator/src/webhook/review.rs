//! An AdmissionReview: what is read of it, and its answer.
//!
//! The envelope is parsed apart from the object, so that an object that we cannot read still
//! gets an answer: allowed, with a warning.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    api_version: String,
    #[serde(borrow)]
    request: Request<'a>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    uid: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    dry_run: bool,
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
    #[serde(borrow, default)]
    old_object: Option<&'a RawValue>,
    #[serde(default)]
    options: Options,
}

/// Create, update and patch options alike.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Options {
    #[serde(default)]
    field_manager: String,
}

#[derive(Debug)]
pub struct Review<'a>(Envelope<'a>);

impl<'a> Review<'a> {
    pub fn parse(body: &'a [u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(body).map(Self)
    }

    pub fn namespace(&self) -> &str {
        &self.0.request.namespace
    }

    pub fn dry_run(&self) -> bool {
        self.0.request.dry_run
    }

    /// Who says to write.
    pub fn field_manager(&self) -> &str {
        &self.0.request.options.field_manager
    }

    /// Whether the object has that word at all: cheaper than to read it.
    pub fn mentions(&self, word: &str) -> bool {
        let raw = self.0.request.object.map_or("", RawValue::get);
        raw.contains(word)
    }

    pub fn object<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        let raw = self.0.request.object.map_or("null", RawValue::get);
        serde_json::from_str(raw)
    }

    /// The object before an update.
    pub fn old_object<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        let raw = self.0.request.old_object.map_or("null", RawValue::get);
        serde_json::from_str(raw)
    }

    /// Always allowed.
    pub fn answer(
        &self,
        patch: Option<&json_patch::Patch>,
        warnings: &[String],
    ) -> serde_json::Result<Json> {
        let mut answer = allowed(&self.0.api_version, &self.0.request.uid, warnings);
        if let Some(patch) = patch {
            answer["response"]["patchType"] = json!("JSONPatch");
            answer["response"]["patch"] = json!(STANDARD.encode(serde_json::to_vec(patch)?));
        }
        Ok(answer)
    }
}

/// The answer to a review of which only the identity can be read; `None`: not even that.
pub(super) fn allow_anyhow(body: &[u8], warnings: &[String]) -> Option<Json> {
    let review: Json = serde_json::from_slice(body).ok()?;
    let text = |pointer| review.pointer(pointer)?.as_str();
    Some(allowed(
        text("/apiVersion")?,
        text("/request/uid")?,
        warnings,
    ))
}

fn allowed(version: &str, uid: &str, warnings: &[String]) -> Json {
    let mut response = json!({"uid": uid, "allowed": true});
    if !warnings.is_empty() {
        response["warnings"] = json!(warnings);
    }
    json!({"apiVersion": version, "kind": "AdmissionReview", "response": response})
}

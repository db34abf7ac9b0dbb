//! Answers of the gateway itself, as opposed to the app's that are passed on.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::Value as Json;

pub type Reply = Response<Full<Bytes>>;

pub fn json(status: StatusCode, document: &Json) -> Reply {
    with_type(status, "application/json", document.to_string())
}

/// `{"code": <status>, "message": …}`, as all our errors.
pub fn error(status: StatusCode, message: &str) -> Reply {
    json(
        status,
        &serde_json::json!({"code": status.as_u16(), "message": message}),
    )
}

pub fn with_type(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

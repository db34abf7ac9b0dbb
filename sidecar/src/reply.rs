//! Answers of the gateway itself, as opposed to the app's that are passed on.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;

pub type Reply = Response<Full<Bytes>>;

pub fn json(status: StatusCode, document: &impl Serialize) -> Reply {
    // Ours have text keys and finite numbers, so this does not fail.
    let body = serde_json::to_vec(document).unwrap_or_default();
    with_type(status, "application/json", body)
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

/// The same error as bytes, for a client whose request never became one; its connection ends.
pub(crate) fn raw(status: StatusCode, message: &str) -> Vec<u8> {
    let body = serde_json::json!({"code": status.as_u16(), "message": message}).to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    (head + &body).into_bytes()
}

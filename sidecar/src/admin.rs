//! The admin API: `POST /tapr/ws/conn/send`, `POST /tapr/ws/conn/close`, `GET /tapr/ws/conn/list`.

pub mod body;
mod close;
pub mod guard;
mod list;
pub mod selection;
mod send;

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Serialize;

use crate::callback::Transport;
use crate::gateway::Gateway;
use crate::metrics::AdminCall;
use crate::reply::{Reply, json};

/// Every path of the API begins so.
pub const PREFIX: &str = "/tapr/ws/conn/";

/// A refusal: its status stands in the answer's `code` as well.
#[derive(Debug)]
pub struct Refusal {
    pub status: StatusCode,
    pub message: String,
}

impl Refusal {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }
}

pub async fn serve<T: Transport>(gateway: &Arc<Gateway<T>>, request: Request<Incoming>) -> Reply {
    let call = request
        .uri()
        .path()
        .strip_prefix(PREFIX)
        .unwrap_or_default();
    // The original's router took a slash more.
    let call = call.strip_suffix('/').unwrap_or(call).to_owned();
    let result = dispatch(gateway, &call, request).await;
    let status = result
        .as_ref()
        .map_or_else(|refusal| refusal.status, |_| StatusCode::OK);
    gateway.metrics.admin(AdminCall::of(&call), status);
    match result {
        Ok(reply) => reply,
        Err(refusal) => refuse(&refusal),
    }
}

pub fn refuse(Refusal { status, message }: &Refusal) -> Reply {
    json(
        *status,
        &serde_json::json!({"code": status.as_u16(), "message": message}),
    )
}

#[derive(Serialize)]
struct Success<D> {
    code: u16,
    message: &'static str,
    data: D,
    /// Where the next page begins.
    #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

fn success(data: impl Serialize, next: Option<String>) -> Reply {
    let document = Success {
        code: 0,
        message: "success",
        data,
        next,
    };
    json(StatusCode::OK, &document)
}

async fn dispatch<T: Transport>(
    gateway: &Arc<Gateway<T>>,
    call: &str,
    request: Request<Incoming>,
) -> Result<Reply, Refusal> {
    let method = |wanted: Method| {
        let found = request.method();
        let message = format!("{found} is not allowed on {PREFIX}{call}; expected {wanted}");
        if *found == wanted {
            Ok(())
        } else {
            Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, message))
        }
    };
    match call {
        "send" => {
            method(Method::POST)?;
            let body = read(request, gateway.settings.limits.admin_body.limit()).await?;
            let sent = send::serve(gateway, &body).await?;
            Ok(success(sent, None))
        }
        "close" => {
            method(Method::POST)?;
            let body = read(request, gateway.settings.limits.admin_body.limit()).await?;
            Ok(success(close::serve(gateway, &body)?, None))
        }
        "list" => {
            method(Method::GET)?;
            let query = request.uri().query().unwrap_or_default();
            let (users, next) = list::serve(gateway, query)?;
            Ok(success(users, next))
        }
        _ => Err(Refusal::new(
            StatusCode::NOT_FOUND,
            format!("{PREFIX}{call} does not exist; expected send, close or list"),
        )),
    }
}

async fn read(request: Request<Incoming>, limit: usize) -> Result<Bytes, Refusal> {
    let body = Limited::new(request.into_body(), limit).collect().await;
    body.map(http_body_util::Collected::to_bytes)
        .map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                let message = format!("the body is over {limit} bytes (limits.adminBody)");
                Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message)
            } else {
                Refusal::bad(format!("the body could not be read: {error}"))
            }
        })
}

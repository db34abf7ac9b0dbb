//! `send`: one message to everyone who is selected.

use std::sync::Arc;

use serde_json::Value as Json;

use super::Refusal;
use super::body::{BodyError, Fields};
use crate::callback::Transport;
use crate::gateway::Gateway;

pub(super) async fn serve<T: Transport>(
    gateway: &Arc<Gateway<T>>,
    body: &[u8],
) -> Result<Json, Refusal> {
    let (selector, message) = parse(body).map_err(|error| Refusal::bad(error.to_string()))?;
    let sent = gateway.broadcast(&selector, message).await;
    Ok(serde_json::json!({"matched": sent.matched, "queued": sent.queued, "dropped": sent.dropped}))
}

fn parse(body: &[u8]) -> Result<(crate::selector::Selector, crate::ws::Message), BodyError> {
    let fields = Fields::parse(body)?;
    let message = fields.message()?;
    let choices = "conn_id, users, tokens or namespace";
    Ok((Fields::selector(fields.send_criteria()?, choices)?, message))
}

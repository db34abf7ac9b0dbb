//! `send`: one message to everyone who is selected.

use std::sync::Arc;

use super::Refusal;
use super::body::{BodyError, Fields};
use crate::callback::Transport;
use crate::gateway::{Gateway, Sent};

pub(super) async fn serve<T: Transport>(
    gateway: &Arc<Gateway<T>>,
    body: &[u8],
) -> Result<Sent, Refusal> {
    let (selector, message) = parse(body).map_err(|error| Refusal::bad(error.to_string()))?;
    Ok(gateway.broadcast(&selector, message).await)
}

fn parse(body: &[u8]) -> Result<(crate::selector::Selector, crate::ws::Message), BodyError> {
    let fields = Fields::parse(body)?;
    let message = fields.message()?;
    let choices = "conn_id, users, tokens or namespace";
    Ok((Fields::selector(fields.send_criteria()?, choices)?, message))
}

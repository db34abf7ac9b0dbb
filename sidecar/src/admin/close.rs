//! `close`: everyone who is selected is sent away, at once.

use std::sync::Arc;

use serde::Serialize;
use stanza::choice::Namespaces;

use super::Refusal;
use super::body::{BodyError, Fields};
use super::selection::{self, Otherwise};
use crate::callback::Transport;
use crate::gateway::Gateway;
use crate::protocol::CloseReason;
use crate::selector::Selector;

#[derive(Serialize)]
pub(super) struct Closed {
    matched: usize,
}

pub(super) fn serve<T: Transport>(
    gateway: &Arc<Gateway<T>>,
    body: &[u8],
) -> Result<Closed, Refusal> {
    let namespaces = gateway.settings.identity.namespaces;
    let (selector, reason) =
        parse(body, namespaces).map_err(|error| Refusal::bad(error.to_string()))?;
    let connections = gateway.registry.select(&selector);
    for connection in &connections {
        connection.close(reason.clone());
    }
    Ok(Closed {
        matched: connections.len(),
    })
}

fn parse(body: &[u8], namespaces: Namespaces) -> Result<(Selector, CloseReason), BodyError> {
    let fields = Fields::parse(body)?;
    fields.only(&[selection::KEYS, &["code", "reason"]])?;
    let selector = selection::selector(&fields, Otherwise::Refused, namespaces)?;
    Ok((selector, fields.close_reason()?))
}

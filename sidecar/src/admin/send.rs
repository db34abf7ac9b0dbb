//! `send`: one message to everyone who is selected.

use std::sync::Arc;

use stanza::choice::Namespaces;

use super::Refusal;
use super::body::{BodyError, Fields};
use super::selection::{self, Otherwise};
use crate::callback::Transport;
use crate::gateway::{Gateway, Sent};
use crate::selector::Selector;
use ws_codec::Message;

pub(super) async fn serve<T: Transport>(
    gateway: &Arc<Gateway<T>>,
    body: &[u8],
) -> Result<Sent, Refusal> {
    let namespaces = gateway.settings.identity.namespaces;
    let (selector, message) =
        parse(body, namespaces).map_err(|error| Refusal::bad(error.to_string()))?;
    Ok(gateway.broadcast(&selector, message).await)
}

fn parse(body: &[u8], namespaces: Namespaces) -> Result<(Selector, Message), BodyError> {
    let fields = Fields::parse(body)?;
    fields.only(&[selection::KEYS, &["payload", "encoding"]])?;
    let message = fields.message()?;
    let selector = selection::selector(&fields, Otherwise::Refused, namespaces)?;
    Ok((selector, message))
}

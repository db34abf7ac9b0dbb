//! What an answer of type `application/vnd.olares.ws+json` asks for. Any other answer is
//! ignored, whatever it says: existing apps answer anything.

use stanza::choice::Namespaces;

use crate::admin::body::{BodyError, Fields, vouched_for};
use crate::selector::{Criteria, Selector};
use crate::ws::{CloseReason, Message};

pub const CONTENT_TYPE: &str = "application/vnd.olares.ws+json";

#[derive(Debug, Default)]
pub struct Actions {
    /// For this client.
    pub replies: Vec<Message>,
    /// Whether the app called it a failure; on open the connection is closed for it.
    pub failed: bool,
    pub broadcast: Option<(Selector, Message)>,
    pub close: Option<CloseReason>,
    /// On open: the name and namespace to file the connection under.
    pub user: Option<String>,
    pub namespace: Option<String>,
}

impl Actions {
    /// What two answers to one event ask for; the later's wishes count where both have one.
    pub fn both(earlier: Option<Box<Self>>, later: Option<Box<Self>>) -> Option<Box<Self>> {
        let (mut earlier, later) = match (earlier, later) {
            (Some(earlier), Some(later)) => (earlier, later),
            (earlier, later) => return later.or(earlier),
        };
        earlier.replies.extend(later.replies);
        earlier.failed |= later.failed;
        earlier.broadcast = later.broadcast.or(earlier.broadcast.take());
        earlier.close = later.close.or(earlier.close.take());
        earlier.user = later.user.or(earlier.user.take());
        earlier.namespace = later.namespace.or(earlier.namespace.take());
        Some(earlier)
    }
}

pub fn parse(body: &[u8], namespaces: Namespaces) -> Result<Actions, BodyError> {
    let fields = Fields::parse(body)?;
    let mut actions = Actions {
        user: fields.text("user_name")?,
        namespace: fields.text("namespace")?,
        ..Actions::default()
    };
    if let Some(reply) = fields.raw("reply") {
        actions.replies.push(Message::text(reply.get()));
    }
    if let Some(error) = fields.raw("error") {
        // Bodhi's shape of a failure.
        let frame = format!("{{\"type\":\"error\",\"payload\":{}}}", error.get());
        actions.replies.push(Message::text(&frame));
        actions.failed = true;
    }
    if let Some(broadcast) = fields.raw("broadcast") {
        let fields = Fields::parse(broadcast.get().as_bytes())?;
        let criteria = fields.send_criteria()?;
        vouched_for(&criteria, namespaces)?;
        let except = criteria.except.clone();
        // Midway's @WSBroadCast names nobody and means everybody.
        let everyone = Criteria {
            all: true,
            except,
            ..Criteria::default()
        };
        let selector = Selector::new(criteria).or_else(|| Selector::new(everyone));
        actions.broadcast = selector.zip(Some(fields.message()?));
    }
    if let Some(close) = fields.raw("close") {
        actions.close = Some(Fields::parse(close.get().as_bytes())?.close_reason()?);
    }
    Ok(actions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &[u8]) -> Result<Actions, BodyError> {
        super::parse(body, Namespaces::Client)
    }

    #[test]
    fn everything_at_once() {
        let actions = parse(
            br#"{"reply":{"n":1},"error":"no","broadcast":{"payload":[2],"users":["ann"]},
                "close":{"code":4000,"reason":"bye"},"user_name":"bob","namespace":"space"}"#,
        )
        .unwrap();
        let error = Message::text(r#"{"type":"error","payload":"no"}"#);
        assert_eq!(actions.replies, [Message::text(r#"{"n":1}"#), error]);
        assert!(actions.failed);
        assert_eq!(actions.broadcast.unwrap().1, Message::text("[2]"));
        assert_eq!(actions.close.unwrap().code(), 4000);
        assert_eq!(actions.user.as_deref(), Some("bob"));
    }

    #[test]
    fn a_broadcast_without_a_selector_is_for_everyone() {
        let actions = parse(br#"{"broadcast":{"payload":1}}"#).unwrap();
        assert!(actions.broadcast.unwrap().0.is_everyone());
    }

    #[test]
    fn a_broadcast_to_a_namespace_alone_is_refused() {
        let broadcast = br#"{"reply":1,"broadcast":{"payload":1,"namespace":"a"}}"#;
        assert_eq!(parse(broadcast).unwrap_err(), BodyError::NamespaceAlone);
        assert!(super::parse(broadcast, Namespaces::Hook).is_ok());
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(parse(b"[]").is_err());
        let error = parse(br#"{"close":{"code":1005}}"#).unwrap_err();
        assert!(error.to_string().starts_with("code: expected"), "{error}");
    }
}

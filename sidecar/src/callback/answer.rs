//! What an answer of type `application/vnd.olares.ws+json` asks for. Any other answer is
//! ignored, whatever it says: existing apps answer anything.

use stanza::choice::Namespaces;

use crate::admin::body::{BodyError, Fields};
use crate::admin::selection::{self, Otherwise};
use crate::protocol::CloseReason;
use crate::selector::Selector;
use ws_codec::Message;

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

/// One field that is wrong, and nothing of the answer acts.
pub fn parse(body: &[u8], namespaces: Namespaces) -> Result<Actions, BodyError> {
    let fields = Fields::parse(body)?;
    fields.only(&[&[
        "reply",
        "encoding",
        "error",
        "broadcast",
        "close",
        "user_name",
        "namespace",
    ]])?;
    let mut actions = Actions {
        user: fields.text("user_name")?,
        namespace: fields.text("namespace")?,
        ..Actions::default()
    };
    if fields.raw("reply").is_some() {
        actions.replies.push(fields.message_of("reply")?);
    } else if fields.raw("encoding").is_some() {
        return Err(BodyError::Missing { field: "reply" });
    }
    if let Some(error) = fields.raw("error") {
        // Bodhi's shape of a failure.
        let frame = format!("{{\"type\":\"error\",\"payload\":{}}}", error.get());
        actions.replies.push(Message::text(&frame));
        actions.failed = true;
    }
    let within = |field, allowed| {
        move |source| match source {
            BodyError::NotAnObject(_) => BodyError::Wrong { field, allowed },
            source => BodyError::In {
                field,
                source: Box::new(source),
            },
        }
    };
    if let Some(raw) = fields.raw("broadcast") {
        let broadcast = broadcast(raw.get().as_bytes(), namespaces);
        actions.broadcast = Some(broadcast.map_err(within("broadcast", "an object with payload"))?);
    }
    if let Some(raw) = fields.raw("close") {
        let close = close(raw.get().as_bytes());
        actions.close = Some(close.map_err(within("close", "an object with code and reason"))?);
    }
    Ok(actions)
}

fn broadcast(body: &[u8], namespaces: Namespaces) -> Result<(Selector, Message), BodyError> {
    let fields = Fields::parse(body)?;
    fields.only(&[selection::KEYS, &["payload", "encoding"]])?;
    let selector = selection::selector(&fields, Otherwise::Everybody, namespaces)?;
    Ok((selector, fields.message()?))
}

fn close(body: &[u8]) -> Result<CloseReason, BodyError> {
    let fields = Fields::parse(body)?;
    fields.only(&[&["code", "reason"]])?;
    fields.close_reason()
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
        let refused = parse(broadcast).unwrap_err();
        assert!(
            refused.to_string().starts_with("broadcast: namespace: "),
            "{refused}"
        );
        assert!(super::parse(broadcast, Namespaces::Hook).is_ok());
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(parse(b"[]").is_err());
        for (answer, words) in [
            (r#"{"close":{"code":1005}}"#, "close: code: expected"),
            (
                r#"{"reply":1,"close":4001}"#,
                "close: expected an object with code and reason",
            ),
            (
                r#"{"broadcast":"all"}"#,
                "broadcast: expected an object with payload",
            ),
            (
                r#"{"replyy":1}"#,
                "replyy: is no key here; did you mean reply?",
            ),
            (
                r#"{"broadcast":{"payload":1,"user":["ann"]}}"#,
                "broadcast: user: is no key here; did you mean users",
            ),
            (r#"{"encoding":"text"}"#, "reply is missing"),
            (
                r#"{"reply":1,"encoding":"text"}"#,
                "reply: expected a string",
            ),
        ] {
            let error = parse(answer.as_bytes()).unwrap_err();
            assert!(error.to_string().starts_with(words), "{answer}: {error}");
        }
    }

    #[test]
    fn a_narrowed_broadcast_stays_narrow() {
        let broadcast = |body: &str| {
            let body = format!(r#"{{"broadcast":{{"payload":"secret",{body}}}}}"#);
            parse(body.as_bytes()).unwrap().broadcast.unwrap().0
        };
        for access in [1, 2] {
            let selector = broadcast(&format!(r#""users_access_type":{access}"#));
            assert!(!selector.is_everyone());
        }
        for nobody in [
            r#""users":[]"#,
            r#""users":null"#,
            r#""tokens":[]"#,
            r#""all":false"#,
        ] {
            assert!(broadcast(nobody).is_nobody(), "{nobody}");
        }
    }

    #[test]
    fn a_reply_can_be_a_text_or_bytes() {
        let replies = |answer: &str| parse(answer.as_bytes()).unwrap().replies;
        let text = replies(r#"{"reply":"plain","encoding":"text"}"#);
        assert_eq!(text, [Message::text("plain")]);
        let bytes = replies(r#"{"reply":"AAE=","encoding":"base64"}"#);
        assert_eq!(bytes, [Message::binary(&[0, 1])]);
        assert_eq!(
            replies(r#"{"reply":"plain"}"#),
            [Message::text("\"plain\"")]
        );
    }
}

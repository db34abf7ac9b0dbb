//! The fields of admin requests and of action answers, each refused by name.
//!
//! A document is first split into its fields as they stand, then each field is read: so an
//! error says which field is wrong, and a payload keeps its exact spelling.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_json::value::RawValue;
use stanza::field::CloseCode;
use stanza::spelled_alike;

use crate::protocol::CloseReason;
use ws_codec::Message;

/// A JSON object, split.
pub struct Fields<'a>(BTreeMap<Cow<'a, str>, &'a RawValue>);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the body: expected a JSON object, found {0}")]
    NotAnObject(String),
    #[error("{field} is missing")]
    Missing { field: &'static str },
    #[error("{field}: expected {allowed}")]
    Wrong {
        field: &'static str,
        allowed: &'static str,
    },
    /// Each with what was meant.
    #[error("{0}")]
    Unknown(String),
    #[error("nobody is selected; give conn_id, conns, users or tokens, or all: true")]
    NobodySelected,
    #[error(
        "namespace: selects nobody by itself, as it is the client's own word (?namespace=); give \
         users, tokens or connections beside it, or take it from the auth hook \
         (identity.namespaces: hook)"
    )]
    NamespaceAlone,
    /// Within a field of an answer.
    #[error("{field}: {source}")]
    In {
        field: &'static str,
        source: Box<BodyError>,
    },
}

impl<'a> Fields<'a> {
    pub fn parse(body: &'a [u8]) -> Result<Self, BodyError> {
        // RFC 8259 §8.1 lets a reader skip a byte order mark, which PHP and .NET like to write.
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        let foreign = match body {
            [0x1f, 0x8b, ..] => Some("gzip; send it as it is"),
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, ..] | [_, 0, ..] => {
                Some("UTF-16; send UTF-8")
            }
            _ => None,
        };
        if let Some(foreign) = foreign {
            return Err(BodyError::NotAnObject(foreign.to_owned()));
        }
        serde_json::from_slice(body).map(Self).map_err(|error| {
            BodyError::NotAnObject(match error.classify() {
                // serde would quote the value, and this may be logged.
                Category::Data => kind(body).to_owned(),
                _ if body.trim_ascii().is_empty() => "nothing".to_owned(),
                _ => format!("what is no JSON ({error})"),
            })
        })
    }

    /// A field as it stands; `null` counts as absent.
    pub fn raw(&self, field: &str) -> Option<&'a RawValue> {
        self.0.get(field).copied().filter(|raw| raw.get() != "null")
    }

    pub fn get<T: DeserializeOwned>(
        &self,
        field: &'static str,
        allowed: &'static str,
    ) -> Result<Option<T>, BodyError> {
        let Some(raw) = self.raw(field) else {
            return Ok(None);
        };
        serde_json::from_str(raw.get())
            .map(Some)
            .map_err(|_| BodyError::Wrong { field, allowed })
    }

    /// A text; the empty one counts as absent.
    pub fn text(&self, field: &'static str) -> Result<Option<String>, BodyError> {
        let text = self.get::<String>(field, "a string")?;
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// Refuses keys that mean nothing: a narrowing that is misspelt must not become none.
    pub fn only(&self, known: &[&[&'static str]]) -> Result<(), BodyError> {
        let known = || known.iter().copied().flatten().copied();
        let unknown: Vec<_> = self
            .0
            .keys()
            .filter(|key| known().all(|known| known != **key))
            .take(MOST_TOLD)
            .map(|key| is_no_key(key, known()))
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        Err(BodyError::Unknown(unknown.join("; ")))
    }

    /// Whether the key stands there, with whatever value.
    pub(super) fn has(&self, field: &str) -> bool {
        self.0.contains_key(field)
    }

    /// `payload` in its `encoding`, as the frame to send.
    pub fn message(&self) -> Result<Message, BodyError> {
        self.message_of("payload")
    }

    /// The same under another name.
    pub fn message_of(&self, field: &'static str) -> Result<Message, BodyError> {
        // `null` is a payload like any other.
        let payload = self.0.get(field).copied();
        let payload = payload.ok_or(BodyError::Missing { field })?;
        let encoding = self.text("encoding")?;
        let wrong = |allowed| BodyError::Wrong { field, allowed };
        let text = || serde_json::from_str::<String>(payload.get()).ok();
        match encoding.as_deref() {
            None | Some("json") => Ok(Message::text(payload.get())),
            Some("text") => text()
                .map(|text| Message::text(&text))
                .ok_or(wrong("a string, as encoding is text")),
            Some("base64") => text()
                .and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok())
                .map(|bytes| Message::binary(&bytes))
                .ok_or(wrong("base64, as encoding is base64")),
            Some(_) => Err(BodyError::Wrong {
                field: "encoding",
                allowed: "json, text or base64",
            }),
        }
    }

    /// `code` and `reason` of a close.
    pub fn close_reason(&self) -> Result<CloseReason, BodyError> {
        let allowed = "1000 to 1003, 1007 to 1014 or 3000 to 4999";
        let wrong = BodyError::Wrong {
            field: "code",
            allowed,
        };
        let code = self.get::<u16>("code", allowed)?.unwrap_or(1000);
        let code = CloseCode::new(code).ok_or(wrong)?.0;
        let reason = self.text("reason")?.unwrap_or_default();
        // RFC 6455 §5.5: a control frame holds 125 bytes, two of them the code.
        if reason.len() > 123 {
            return Err(BodyError::Wrong {
                field: "reason",
                allowed: "at most 123 bytes",
            });
        }
        Ok(CloseReason::App {
            code,
            reason: reason.into(),
        })
    }
}

/// What a JSON document is that is no object.
fn kind(document: &[u8]) -> &'static str {
    match document.trim_ascii_start().first() {
        Some(b'[') => "a list",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ => "a number",
    }
}

fn is_no_key(key: &str, known: impl Iterator<Item = &'static str> + Clone) -> String {
    let other = OTHERS
        .iter()
        .find(|(other, _)| other.eq_ignore_ascii_case(key))
        .map(|(_, meant)| *meant);
    let near = other.or_else(|| known.clone().find(|known| spelled_alike(known, key)));
    let hint = match near {
        Some(near) => format!("did you mean {near}?"),
        None => format!("expected {}", known.collect::<Vec<_>>().join(", ")),
    };
    // As much of a stranger's word as names it.
    let key: String = key.chars().take(64).collect();
    format!("{key}: is no key here; {hint}")
}

/// Of the keys that mean nothing.
const MOST_TOLD: usize = 3;

/// How other systems call what we have: Bodhi, Socket.IO, and the comment on the Olares page.
const OTHERS: [(&str, &str); 8] = [
    ("username", "users: [\"…\"]"),
    ("user", "users: [\"…\"]"),
    ("user_name", "users: [\"…\"]"),
    ("connId", "conn_id"),
    ("id", "conn_id"),
    ("data", "payload"),
    ("message", "payload"),
    ("type", "payload: {\"type\": …}"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &str) -> Result<Message, BodyError> {
        Fields::parse(body.as_bytes()).and_then(|fields| fields.message())
    }

    #[test]
    fn a_payload_keeps_its_spelling() {
        let payload = r#"{ "b":12345678901234567890123, "a" : 1.0 }"#;
        let body = format!(r#"{{"payload":{payload}}}"#);
        assert_eq!(message(&body), Ok(Message::text(payload)));
    }

    #[test]
    fn encodings() {
        assert_eq!(
            message(r#"{"payload":"a\nb","encoding":"text"}"#),
            Ok(Message::text("a\nb"))
        );
        assert_eq!(
            message(r#"{"payload":"AAE=","encoding":"base64"}"#),
            Ok(Message::binary(&[0, 1]))
        );
        assert_eq!(message(r#"{"payload":null}"#), Ok(Message::text("null")));
        assert!(message(r#"{"payload":{},"encoding":"text"}"#).is_err());
        assert!(message(r#"{"payload":"*","encoding":"base64"}"#).is_err());
        assert!(message(r#"{"payload":1,"encoding":"gzip"}"#).is_err());
        assert_eq!(message("{}"), Err(BodyError::Missing { field: "payload" }));
    }

    #[test]
    fn what_is_no_utf_8_json_is_told_from_what_is_none() {
        let error = |body: &[u8]| Fields::parse(body).err().map(|error| error.to_string());
        assert_eq!(error(b"\xef\xbb\xbf{}"), None);
        let words = |body| error(body).unwrap_or_default();
        assert!(words(b"\x1f\x8b\x08").ends_with("found gzip; send it as it is"));
        assert!(words(b"\xff\xfe{\0").ends_with("found UTF-16; send UTF-8"));
        assert!(words(b"{\0}\0").ends_with("found UTF-16; send UTF-8"));
    }

    #[test]
    fn what_is_no_object_is_named() {
        for (body, found) in [
            ("[1]", "a list"),
            (" \"a\"", "a string"),
            ("7", "a number"),
            ("true", "true or false"),
            ("null", "null"),
            (" ", "nothing"),
        ] {
            let error = Fields::parse(body.as_bytes()).err().unwrap().to_string();
            let expected = format!("the body: expected a JSON object, found {found}");
            assert_eq!(error, expected);
        }
        let error = Fields::parse(b"{\"a\":").err().unwrap().to_string();
        let expected = "the body: expected a JSON object, found what is no JSON (EOF";
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn an_unknown_key_is_named_with_what_was_meant() {
        let known: &[&[&str]] = &[&["payload", "users", "users_access_type"]];
        let only = |body: &str| {
            let fields = Fields::parse(body.as_bytes()).unwrap();
            fields.only(known).map_err(|error| error.to_string())
        };
        assert_eq!(only(r#"{"payload":1,"users":[]}"#), Ok(()));
        for (body, words) in [
            (
                r#"{"user":[]}"#,
                "user: is no key here; did you mean users: [\"…\"]?",
            ),
            (
                r#"{"username":""}"#,
                "username: is no key here; did you mean users: [\"…\"]?",
            ),
            (
                r#"{"user_access_type":1}"#,
                "user_access_type: is no key here; did you mean users_access_type?",
            ),
            (
                r#"{"colour":1}"#,
                "colour: is no key here; expected payload, users, users_access_type",
            ),
            (
                r#"{"username":"alex","payload":1,"type":"t"}"#,
                "type: is no key here; did you mean payload: {\"type\": …}?; \
                 username: is no key here; did you mean users: [\"…\"]?",
            ),
        ] {
            assert_eq!(only(body), Err(words.to_owned()), "{body}");
        }
    }
}

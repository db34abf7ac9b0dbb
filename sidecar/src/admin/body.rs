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
use stanza::choice::Namespaces;
use stanza::field::CloseCode;

use crate::identity::ConnectionId;
use crate::selector::{Access, Criteria, Selector};
use crate::ws::{CloseReason, Message};

/// A JSON object, split.
pub struct Fields<'a>(BTreeMap<Cow<'a, str>, &'a RawValue>);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the body is not a JSON object: {0}")]
    NotAnObject(String),
    #[error("{field} is missing")]
    Missing { field: &'static str },
    #[error("{field}: expected {allowed}")]
    Wrong {
        field: &'static str,
        allowed: &'static str,
    },
    #[error("nobody is selected; give {0}, or all: true")]
    NobodySelected(&'static str),
    #[error(
        "namespace: selects nobody by itself, as it is the client's own word (?namespace=); give \
         users, tokens or connections beside it, or take it from the auth hook \
         (identity.namespaces: hook)"
    )]
    NamespaceAlone,
}

impl<'a> Fields<'a> {
    pub fn parse(body: &'a [u8]) -> Result<Self, BodyError> {
        serde_json::from_slice(body).map(Self).map_err(|error| {
            BodyError::NotAnObject(match error.classify() {
                // serde would quote the value, and this may be logged.
                Category::Data => "it is of another type".to_owned(),
                _ => error.to_string(),
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
        let text = self.get::<String>(field, "a text")?;
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// A list of texts; the empty list counts as absent.
    pub fn texts(&self, field: &'static str) -> Result<Option<Vec<String>>, BodyError> {
        let texts = self.get::<Vec<String>>(field, "a list of texts")?;
        Ok(texts.filter(|texts| !texts.is_empty()))
    }

    /// Connection ids; one that is none of ours selects nobody.
    pub fn ids(&self, field: &'static str) -> Result<Option<Vec<ConnectionId>>, BodyError> {
        Ok(self.texts(field)?.map(|ids| {
            ids.iter()
                .filter_map(|id| ConnectionId::parse(id))
                .collect()
        }))
    }

    /// Everything that selects but the ids, which `send` and `close` spell differently.
    pub fn criteria(&self) -> Result<Criteria, BodyError> {
        let access = match self.get::<u8>("users_access_type", ACCESS_TYPES)? {
            None | Some(0) => Access::Any,
            Some(1) => Access::Private,
            Some(2) => Access::Public,
            Some(_) => {
                return Err(BodyError::Wrong {
                    field: "users_access_type",
                    allowed: ACCESS_TYPES,
                });
            }
        };
        Ok(Criteria {
            all: self.get("all", "true or false")?.unwrap_or(false),
            conns: None,
            users: self.texts("users")?,
            tokens: self.texts("tokens")?,
            namespace: self.text("namespace")?,
            access,
            except: self.ids("except")?.unwrap_or_default(),
        })
    }

    /// The criteria of `send`: `conn_id` beside the others.
    pub fn send_criteria(&self) -> Result<Criteria, BodyError> {
        let id = self.text("conn_id")?;
        Ok(Criteria {
            conns: id.map(|id| ConnectionId::parse(&id).into_iter().collect()),
            ..self.criteria()?
        })
    }

    pub fn selector(
        criteria: Criteria,
        choices: &'static str,
        namespaces: Namespaces,
    ) -> Result<Selector, BodyError> {
        vouched_for(&criteria, namespaces)?;
        Selector::new(criteria).ok_or(BodyError::NobodySelected(choices))
    }

    /// `payload` in its `encoding`, as the frame to send.
    pub fn message(&self) -> Result<Message, BodyError> {
        let payload = self.raw_payload()?;
        let encoding = self.text("encoding")?;
        let wrong = |allowed| BodyError::Wrong {
            field: "payload",
            allowed,
        };
        let text = || serde_json::from_str::<String>(payload.get()).ok();
        match encoding.as_deref() {
            None | Some("json") => Ok(Message::text(payload.get())),
            Some("text") => text()
                .map(|text| Message::text(&text))
                .ok_or(wrong("a text, as encoding is text")),
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

    fn raw_payload(&self) -> Result<&'a RawValue, BodyError> {
        // `null` is a payload like any other.
        self.0
            .get("payload")
            .copied()
            .ok_or(BodyError::Missing { field: "payload" })
    }
}

/// Whoever sends to a namespace means a group of people; clients say themselves that they are of it.
pub fn vouched_for(criteria: &Criteria, namespaces: Namespaces) -> Result<(), BodyError> {
    match namespaces {
        Namespaces::Client if criteria.rest_on_namespace() => Err(BodyError::NamespaceAlone),
        Namespaces::Client | Namespaces::Hook => Ok(()),
    }
}

const ACCESS_TYPES: &str = "0 (all), 1 (private) or 2 (public)";

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
    fn errors_name_the_field() {
        let fields = Fields::parse(br#"{"users":"ann"}"#).unwrap();
        assert_eq!(
            fields.criteria().unwrap_err().to_string(),
            "users: expected a list of texts"
        );
    }

    #[test]
    fn a_clients_own_word_selects_nobody() {
        let select = |body: &str, namespaces| {
            let criteria = Fields::parse(body.as_bytes())
                .unwrap()
                .send_criteria()
                .unwrap();
            Fields::selector(criteria, "users", namespaces)
        };
        for alone in [
            r#"{"namespace":"a"}"#,
            r#"{"namespace":"a","all":true}"#,
            r#"{"namespace":"a","users":[],"users_access_type":1}"#,
        ] {
            let refused = select(alone, Namespaces::Client);
            assert_eq!(refused, Err(BodyError::NamespaceAlone), "{alone}");
            assert!(select(alone, Namespaces::Hook).is_ok(), "{alone}");
        }
        let narrowed = r#"{"namespace":"a","users":["ann"]}"#;
        assert!(select(narrowed, Namespaces::Client).is_ok());
    }

    #[test]
    fn what_is_empty_is_absent() {
        let fields = Fields::parse(br#"{"users":[],"conn_id":"","tokens":null}"#).unwrap();
        assert_eq!(Selector::new(fields.send_criteria().unwrap()), None);
        let unknown = Fields::parse(br#"{"conn_id":"1"}"#).unwrap();
        assert!(Selector::new(unknown.send_criteria().unwrap()).is_some());
    }
}

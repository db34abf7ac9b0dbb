//! What a client's text is: a ping, JSON to be forwarded to the byte, or plain text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

#[derive(Debug, PartialEq, Eq)]
pub enum Inbound<'a> {
    /// `{"event":"ping",…}` in any spelling.
    Ping,
    /// JSON, with the texts by which `types` tells messages apart.
    Json {
        event: Option<Cow<'a, str>>,
        kind: Option<Cow<'a, str>>,
    },
    /// Not JSON.
    Text,
}

/// With `pings`; else a ping is a message like any other.
pub fn classify(text: &str, pings: bool) -> Inbound<'_> {
    let first = text.bytes().find(|byte| !byte.is_ascii_whitespace());
    let parsed = match first {
        Some(b'{' | b'[') => serde_json::from_str::<Head<'_>>(text),
        _ => serde_json::from_str::<IgnoredAny>(text).map(|_| Head::default()),
    };
    match parsed {
        Ok(head) if pings && head.event.as_deref() == Some(PING) => Inbound::Ping,
        Ok(head) => Inbound::Json {
            event: head.event,
            kind: head.kind,
        },
        // A key with half a surrogate pair is no text of ours, but the message is JSON.
        Err(_) if serde_json::from_str::<IgnoredAny>(text).is_ok() => Inbound::Json {
            event: None,
            kind: None,
        },
        Err(_) => Inbound::Text,
    }
}

/// The `event` that is a ping.
pub const PING: &str = "ping";

/// The parts of a message that say what it is: `event` and `type`, or the first element of an
/// array (BigClown: `["topic", payload]`).
#[derive(Default)]
struct Head<'a> {
    event: Option<Cow<'a, str>>,
    kind: Option<Cow<'a, str>>,
}

impl<'de> Deserialize<'de> for Head<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(HeadVisitor)
    }
}

struct HeadVisitor;

impl<'de> Visitor<'de> for HeadVisitor {
    type Value = Head<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Head<'de>, A::Error> {
        let mut head = Head::default();
        while let Some(Text(key)) = map.next_key()? {
            match &*key {
                "event" => head.event = text_of(map.next_value()?),
                "type" => head.kind = text_of(map.next_value()?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(head)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Head<'de>, A::Error> {
        let kind = seq.next_element::<&RawValue>()?.and_then(text_of);
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Head { event: None, kind })
    }
}

/// The text, if the value is one.
fn text_of(raw: &RawValue) -> Option<Cow<'_, str>> {
    raw.get()
        .starts_with('"')
        .then(|| serde_json::from_str::<Text<'_>>(raw.get()).ok())
        .flatten()
        .map(|text| text.0)
}

/// A string that is borrowed where it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn kinds(text: &str, event: Option<&str>, kind: Option<&str>) {
        let expected = Inbound::Json {
            event: event.map(Cow::Borrowed),
            kind: kind.map(Cow::Borrowed),
        };
        assert_eq!(classify(text, true), expected, "{text}");
    }

    #[track_caller]
    fn kind(text: &str, expected: Option<&str>) {
        kinds(text, None, expected);
    }

    #[test]
    fn a_ping_in_any_spelling() {
        for ping in [
            r#"{"event":"ping","data":{}}"#,
            r#" { "data" : {} , "event" : "p\u0069ng" } "#,
            "{\n\"event\":\"ping\"}",
            r#"{"event":"other","event":"ping"}"#,
        ] {
            assert_eq!(classify(ping, true), Inbound::Ping, "{ping}");
            let left_alone = Inbound::Json {
                event: Some(Cow::Borrowed(PING)),
                kind: None,
            };
            assert_eq!(classify(ping, false), left_alone, "{ping}");
        }
    }

    #[test]
    fn anything_else_is_a_message() {
        kinds(r#"{"event":"pingpong"}"#, Some("pingpong"), None);
        kinds(r#"{"type":"t","event":"e"}"#, Some("e"), Some("t"));
        kind(r#"{"type":"ping"}"#, Some("ping"));
        kind(r#"{"data":{"event":"ping"}}"#, None);
        kind(r#"{"event":5,"type":"t"}"#, Some("t"));
        kind(
            r#"["relay/i2c0-3b/set", {"state": false}]"#,
            Some("relay/i2c0-3b/set"),
        );
        kind("[]", None);
        kind("[1]", None);
        for scalar in [
            "12345678901234567890123",
            "true",
            "null",
            "\"ping\"",
            "-0.5e-7",
        ] {
            kind(scalar, None);
        }
    }

    #[test]
    fn what_is_not_json_is_text() {
        for text in [
            "",
            "hello",
            "{",
            "{\"event\":\"ping\"",
            "[1,]",
            "01",
            "{} {}",
            "'x'",
            "NaN",
        ] {
            assert_eq!(classify(text, true), Inbound::Text, "{text}");
        }
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = "[".repeat(200_000) + &"]".repeat(200_000);
        kind(&deep, None);
    }
}

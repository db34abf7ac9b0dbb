//! The kinds of value that a setting can have: how each is written, read and checked.

mod origin;
mod quantity;
mod wire;

use std::num::NonZeroU32;

use serde_json::Value as Json;

use crate::node::{Node, Value};

pub use origin::{Origin, OriginPattern};
pub use quantity::{ByteSize, HeadSize, Interval, Leeway};
pub use wire::{AppPort, CloseCode, HeaderName, HttpUrl, MessageType, TypePattern, UrlPath};

/// A kind of value. `read` takes every spelling, `to_json` writes the canonical one.
pub trait Field: Sized {
    /// What is allowed, as the end of the sentence "expected …".
    const ALLOWED: &'static str;
    /// A secret may stand in its place: what was found there is never shown.
    const HIDDEN: bool = false;
    fn read(node: &Node) -> Option<Self>;
    /// What is expected in place of this value, which was refused: where it can be seen, what was
    /// probably meant.
    fn expected(_refused: &Node) -> String {
        Self::ALLOWED.to_owned()
    }
    /// What is wrong with this value as an entry of a list.
    fn amiss(entry: &Node) -> String {
        format!("{entry} is none")
    }
    fn to_json(&self) -> Json;
}

// === impl scalars ===

impl Field for u32 {
    const ALLOWED: &'static str = "a whole number, 0 or more";

    fn read(node: &Node) -> Option<Self> {
        match &node.value {
            Value::Integer(number) => u32::try_from(*number).ok(),
            Value::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    fn to_json(&self) -> Json {
        Json::from(*self)
    }
}

impl Field for NonZeroU32 {
    const ALLOWED: &'static str = "a whole number, 1 or more";

    fn read(node: &Node) -> Option<Self> {
        u32::read(node).and_then(Self::new)
    }

    fn to_json(&self) -> Json {
        Json::from(self.get())
    }
}

impl Field for bool {
    const ALLOWED: &'static str = "true or false";

    fn read(node: &Node) -> Option<Self> {
        match &node.value {
            Value::Bool(flag) => Some(*flag),
            Value::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    fn to_json(&self) -> Json {
        Json::from(*self)
    }
}

impl Field for String {
    const ALLOWED: &'static str = "a string";

    fn read(node: &Node) -> Option<Self> {
        match &node.value {
            Value::Text(text) => Some(text.clone()),
            Value::Integer(_) | Value::Bool(_) => Some(node.to_string()),
            _ => None,
        }
    }

    fn to_json(&self) -> Json {
        Json::from(self.as_str())
    }
}

// === impl lists and options ===

impl<T: Field> Field for Option<T> {
    const ALLOWED: &'static str = T::ALLOWED;
    const HIDDEN: bool = T::HIDDEN;

    fn read(node: &Node) -> Option<Self> {
        if node.value == Value::Null {
            Some(None)
        } else {
            T::read(node).map(Some)
        }
    }

    fn expected(refused: &Node) -> String {
        T::expected(refused)
    }

    fn to_json(&self) -> Json {
        self.as_ref().map_or(Json::Null, Field::to_json)
    }
}

impl<T: Field> Field for Vec<T> {
    const ALLOWED: &'static str = T::ALLOWED;

    /// A list, or one text with commas: flags and environment variables have no lists.
    fn read(node: &Node) -> Option<Self> {
        match &node.value {
            Value::Null => Some(Vec::new()),
            Value::List(items) => items.iter().map(T::read).collect(),
            Value::Text(text) => text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(|part| {
                    T::read(&Node {
                        value: Value::Text(part.to_owned()),
                        position: node.position,
                    })
                })
                .collect(),
            _ => T::read(node).map(|one| vec![one]),
        }
    }

    /// Of a list the first entry that is wrong.
    fn expected(refused: &Node) -> String {
        let entries = match &refused.value {
            Value::List(entries) if !Self::HIDDEN => &entries[..],
            _ => &[],
        };
        let mut numbered = (1..).zip(entries);
        match numbered.find(|(_, entry)| T::read(entry).is_none()) {
            Some((n, entry)) => format!("{}; entry {n}: {}", T::ALLOWED, T::amiss(entry)),
            None => T::ALLOWED.to_owned(),
        }
    }

    fn to_json(&self) -> Json {
        self.iter().map(Field::to_json).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ipnet::IpNet;

    use super::*;

    fn node(yaml: &str) -> Node {
        Node::from_yaml(yaml).unwrap()
    }

    #[track_caller]
    fn check<T: Field>(yaml: &str, canonical: impl Into<Json>) {
        let value = T::read(&node(yaml)).unwrap_or_else(|| panic!("{yaml} was refused"));
        assert_eq!(value.to_json(), canonical.into(), "{yaml}");
    }

    #[track_caller]
    fn refused<T: Field>(yaml: &str) {
        assert!(T::read(&node(yaml)).is_none(), "{yaml} was accepted");
    }

    #[test]
    fn ports() {
        check::<AppPort>("8888", 8888);
        check::<AppPort>("'8888'", 8888);
        for wrong in [
            "0", "70000", "-1", "40010", "40011", "40012", "http", "[1]", "8.5",
        ] {
            refused::<AppPort>(wrong);
        }
    }

    #[test]
    fn paths() {
        check::<UrlPath>("/ws/message?a=b", "/ws/message?a=b");
        for wrong in ["ws", "''", "'/a b'", "'/a\\r\\nX: y'", "'/a#b'", "5"] {
            refused::<UrlPath>(wrong);
        }
    }

    #[test]
    fn durations() {
        check::<Duration>("30s", "30s");
        check::<Duration>("30", "30s");
        check::<Duration>("0", "0s");
        check::<Duration>("1m30s", "1m30s");
        check::<Duration>("1.5", "1s500ms");
        check::<Duration>("3600", "1h");
        check::<Duration>("30000s", "8h20m");
        check::<Duration>("30000ms", "30s");
        for wrong in [
            "-1",
            "soon",
            "30 parsecs",
            "1e300",
            "3601",
            "'30000'",
            "60000.0",
        ] {
            refused::<Duration>(wrong);
        }
    }

    #[test]
    fn a_bare_number_that_was_meant_as_milliseconds_is_refused_with_what_to_write() {
        for (written, hint) in [
            ("30000", "30s or 30000ms"),
            ("'60000'", "1m or 60000ms"),
            ("4500.0", "4s 500ms or 4500ms"),
        ] {
            let message = Option::<Interval>::expected(&node(written));
            assert!(
                message.ends_with(&format!("; was {hint} meant?")),
                "{message}"
            );
        }
        assert_eq!(Duration::expected(&node("soon")), Duration::ALLOWED);
    }

    #[test]
    fn pauses_and_leeways_have_their_bounds() {
        check::<Interval>("5m", "5m");
        check::<Interval>("100ms", "100ms");
        refused::<Interval>("0");
        refused::<Interval>("99ms");
        check::<Leeway>("0", "0s");
        check::<Leeway>("1h", "1h");
        refused::<Leeway>("61m");
    }

    #[test]
    fn urls() {
        for url in [
            "https://login.example/keys?v=1",
            "http://[::1]:8080/keys",
            "https://login.example",
        ] {
            check::<HttpUrl>(&format!("'{url}'"), url);
        }
        for wrong in [
            "login.example/keys",
            "ftp://login.example",
            "https://",
            "https:///keys",
            "https://name:password@login.example/keys",
            "https://login.example/#keys",
            "'https://login.example/a b'",
            "https://login.example:port/",
        ] {
            refused::<HttpUrl>(wrong);
        }
    }

    #[test]
    fn sizes() {
        check::<ByteSize>("64Ki", "64Ki");
        check::<ByteSize>("65536", "64Ki");
        check::<ByteSize>("1M", 1_000_000);
        check::<ByteSize>("1Ti", "1024Gi");
        check::<ByteSize>("'1e6'", 1_000_000);
        for wrong in [
            "-1",
            "64KiB",
            "99999999999999999999",
            "Mi",
            "1.5Mi",
            "100m",
            "8Ei",
            "9e99",
        ] {
            refused::<ByteSize>(wrong);
        }
    }

    #[test]
    fn lists_may_be_written_with_commas() {
        check::<Vec<IpNet>>(
            "10.0.0.0/8, 127.0.0.1",
            serde_json::json!(["10.0.0.0/8", "127.0.0.1/32"]),
        );
        refused::<Vec<IpNet>>("[10.0.0.0/8, nowhere]");
    }

    #[test]
    fn of_a_list_the_entry_that_is_wrong_is_named() {
        let networks = Vec::<IpNet>::expected(&node("[10.0.0.0/8, nowhere]"));
        assert!(
            networks.ends_with("; entry 2: \"nowhere\" is none"),
            "{networks}"
        );
        for (entry, words) in [
            // As Bodhi calls it.
            (
                "{type: t, publish: p}",
                "publish is no key of it; did you mean url?",
            ),
            ("{type: t, url: /a, uri: /b}", "uri is no key of it"),
            ("{url: /a}", "type: expected a non-empty string"),
            ("{type: t}", "url: expected a path that begins with a slash"),
            (
                "{type: t, url: a}",
                "url: expected a path that begins with a slash",
            ),
            ("t", "\"t\" is none"),
        ] {
            let types = Vec::<MessageType>::expected(&node(&format!("[{entry}]")));
            let wanted = format!("a list of {{type: <name>, url: /path}}; entry 1: {words}");
            assert!(types.starts_with(&wanted), "{types}");
        }
    }
}

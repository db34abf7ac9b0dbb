//! JSON as tenants write it, read up to a bound: three bytes of it can become a value of seventy.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value as Json};

/// What each value counts beside its text.
const EACH: usize = 16;

/// A map, or as much of it as is within the bound.
#[derive(Debug)]
pub(super) struct Bounded {
    pub(super) map: Map<String, Json>,
    pub(super) too_long: bool,
}

impl Bounded {
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
        bytes: usize,
    ) -> Result<Self, D::Error> {
        let left = Cell::new(Some(bytes));
        match Part(&left).deserialize(deserializer)? {
            Json::Object(map) => Ok(Self {
                map,
                too_long: left.get().is_none(),
            }),
            _ => Err(D::Error::custom("expected a map")),
        }
    }
}

/// How much may still come; `None` once it was too much: from then on nothing is kept.
#[derive(Clone, Copy)]
struct Part<'a>(&'a Cell<Option<usize>>);

impl Part<'_> {
    /// Whether something of that size is kept.
    fn keep(self, bytes: usize) -> bool {
        let left = self.0.get().and_then(|left| left.checked_sub(bytes + EACH));
        self.0.set(left);
        left.is_some()
    }

    fn one(self, value: impl Into<Json>) -> Json {
        if self.keep(0) {
            value.into()
        } else {
            Json::Null
        }
    }
}

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        if self.0.get().is_none() {
            return IgnoredAny::deserialize(deserializer).map(|_| Json::Null);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(self.one(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(self.one(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(self.one(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Number::from_f64(value).map_or(Json::Null, |number| self.one(number)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(if self.keep(text.len()) {
            Json::from(text)
        } else {
            Json::Null
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut kept = Vec::new();
        self.keep(0);
        while let Some(item) = items.next_element_seed(self)? {
            if self.0.get().is_some() {
                kept.push(item);
            }
        }
        Ok(Json::Array(kept))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut kept = Map::new();
        self.keep(0);
        while let Some(key) = entries.next_key::<String>()? {
            self.keep(key.len());
            let value = entries.next_value_seed(self)?;
            if self.0.get().is_some() {
                kept.insert(key, value);
            }
        }
        Ok(Json::Object(kept))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str, bytes: usize) -> Bounded {
        Bounded::deserialize(&mut serde_json::Deserializer::from_str(text), bytes).unwrap()
    }

    #[test]
    fn what_is_within_the_bound_is_kept_whole() {
        let document = json!({
            "a": [1, -2, 0.5, true, null, "text"], "b": {"c": {}, "d": []}, "e": u64::MAX,
        });
        let found = read(&document.to_string(), 1 << 10);
        assert_eq!((Json::Object(found.map), found.too_long), (document, false));
    }

    #[test]
    fn beyond_it_nothing_grows() {
        let lists = format!(r#"{{"a": [{}[]]}}"#, "[],".repeat(100_000));
        let found = read(&lists, 1 << 10);
        assert!(found.too_long);
        assert!(Json::Object(found.map).to_string().len() < 1 << 10);
        let text = format!(r#"{{"short": 1, "long": "{}"}}"#, "x".repeat(2000));
        let found = read(&text, 1 << 10);
        assert_eq!(
            (Json::Object(found.map), found.too_long),
            (json!({"short": 1}), true)
        );
    }
}

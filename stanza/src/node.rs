//! A YAML or JSON document as a tree whose every node knows where it stands.
//!
//! Settings are read from this tree and from nothing else, so that a chart file (line and
//! column), a Kubernetes object (field path) and a command-line flag are validated by the
//! same code and differ only in how the place of an error is written.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// Line and column, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub line: u64,
    pub column: u64,
}

/// One value and the place it was read from.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub value: Value,
    /// `None` when the document was not text (an API object, a flag).
    pub position: Option<Position>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    pub name: String,
    pub position: Option<Position>,
}

/// Why a text is not a document: the parser's own words and where it stopped.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    pub message: String,
    pub position: Option<Position>,
}

impl Node {
    /// Reads the first YAML document of `text`. A byte order mark and CRLF line ends are
    /// accepted: five published Olares manifests begin with the one, three have the other.
    pub fn from_yaml(text: &str) -> Result<Self, SyntaxError> {
        let spanned: Spanned<Value> =
            serde_saphyr::from_str_with_options(plain(text), options()).map_err(SyntaxError::of)?;
        Ok(Self::from(spanned))
    }

    /// Reads all YAML documents of `text`.
    pub fn all_from_yaml(text: &str) -> Result<Vec<Self>, SyntaxError> {
        let spanned: Vec<Spanned<Value>> =
            serde_saphyr::from_multiple_with_options(plain(text), options())
                .map_err(SyntaxError::of)?;
        Ok(spanned.into_iter().map(Self::from).collect())
    }

    /// A node without positions, as the value of an API object's field.
    pub fn from_json(value: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        let value = match value {
            Json::Null => Value::Null,
            Json::Bool(flag) => Value::Bool(*flag),
            Json::Number(number) => number
                .as_i128()
                .map(Value::Integer)
                .or_else(|| number.as_f64().map(Value::Float))
                .unwrap_or_else(|| Value::Text(number.to_string())),
            Json::String(text) => Value::Text(text.clone()),
            Json::Array(items) => Value::List(items.iter().map(Self::from_json).collect()),
            Json::Object(entries) => Value::Map(
                entries
                    .iter()
                    .map(|(name, value)| {
                        let key = Key {
                            name: name.clone(),
                            position: None,
                        };
                        (key, Self::from_json(value))
                    })
                    .collect(),
            ),
        };
        Self {
            value,
            position: None,
        }
    }

    /// The value under `name`, if this is a map that has it. Of a key that stands twice the last
    /// counts.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.entries()
            .filter(|(key, _)| key.name == name)
            .last()
            .map(|(_, node)| node)
    }

    /// What stands at the end of a path of keys and, in lists, of numbers.
    pub fn at<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Option<&Node> {
        path.into_iter()
            .try_fold(self, |node, step| match &node.value {
                Value::List(items) => items.get(step.parse::<usize>().ok()?),
                _ => node.get(step),
            })
    }

    /// The entries of a map; none for anything else.
    pub fn entries(&self) -> impl Iterator<Item = &(Key, Node)> {
        match &self.value {
            Value::Map(entries) => entries.as_slice(),
            _ => &[],
        }
        .iter()
    }

    /// The items of a list; none for anything else.
    pub fn items(&self) -> impl Iterator<Item = &Node> {
        match &self.value {
            Value::List(items) => items.as_slice(),
            _ => &[],
        }
        .iter()
    }

    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The same value as plain JSON.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(flag) => Json::Bool(*flag),
            Value::Integer(number) => i64::try_from(*number)
                .map(Json::from)
                .or_else(|_| u64::try_from(*number).map(Json::from))
                .unwrap_or_else(|_| Json::String(number.to_string())),
            Value::Float(number) => serde_json::json!(number),
            Value::Text(text) => Json::String(text.clone()),
            Value::List(items) => Json::Array(items.iter().map(Node::to_json).collect()),
            Value::Map(entries) => Json::Object(
                entries
                    .iter()
                    .map(|(key, node)| (key.name.clone(), node.to_json()))
                    .collect(),
            ),
        }
    }
}

/// What was found, in the words of an error message: `70000`, `"x"`, `a list`.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Value::Null => f.write_str("nothing"),
            Value::Bool(flag) => write!(f, "{flag}"),
            Value::Integer(number) => write!(f, "{number}"),
            Value::Float(number) => write!(f, "{number}"),
            Value::Text(text) => write!(f, "{text:?}"),
            Value::List(_) => f.write_str("a list"),
            Value::Map(_) => f.write_str("a map"),
        }
    }
}

impl SyntaxError {
    #[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
    fn of(error: serde_saphyr::Error) -> Self {
        let message = first_line(&error.to_string());
        // The place is said by whoever writes the message, with the file.
        let words = message.split(" at line ").next().map(str::to_owned);
        Self {
            position: error.location().and_then(|at| Position::new(&at)),
            message: words.unwrap_or(message),
        }
    }
}

fn plain(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        // As Helm and kubectl read them, whose YAML is 1.1.
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
        legacy_octal_numbers: true,
        with_snippet: false,
    }
}

impl Position {
    fn new(location: &serde_saphyr::Location) -> Option<Self> {
        (location.line() > 0).then(|| Self {
            line: location.line(),
            column: location.column(),
        })
    }
}

impl From<Spanned<Value>> for Node {
    fn from(spanned: Spanned<Value>) -> Self {
        Self {
            position: Position::new(&spanned.referenced),
            value: spanned.value,
        }
    }
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

// === impl Value ===

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Integer(number.into()))
    }

    fn visit_i128<E>(self, number: i128) -> Result<Value, E> {
        Ok(Value::Integer(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<Spanned<Value>>()? {
            items.push(item.into());
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<Value>>()? {
            let position = Position::new(&key.referenced);
            let name = match &key.value {
                Value::Text(text) => text.clone(),
                other => Node {
                    value: other.clone(),
                    position,
                }
                .to_string(),
            };
            let node = map.next_value::<Spanned<Value>>()?.into();
            entries.push((Key { name, position }, node));
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn position_of(text: &str, path: &[&str]) -> (u64, u64) {
        let tree = Node::from_yaml(text).unwrap();
        let node = path
            .iter()
            .fold(&tree, |node, name| node.get(name).unwrap());
        let at = node.position.unwrap();
        (at.line, at.column)
    }

    #[test]
    fn positions_count_from_one() {
        assert_eq!(position_of("a:\n  b: 1\n", &["a", "b"]), (2, 6));
    }

    #[test]
    fn a_byte_order_mark_and_crlf_are_accepted() {
        assert_eq!(position_of("\u{feff}a: 1\r\nb: 2\r\n", &["b"]), (2, 4));
    }

    #[test]
    fn a_syntax_error_has_a_position() {
        let error = Node::from_yaml("a: [1\nb: 2").unwrap_err();
        assert!(error.position.is_some(), "{error:?}");
    }

    #[test]
    fn numbers_and_keys_are_read_as_kubectl_reads_them() {
        let node =
            Node::from_yaml("mode: 0644\nname: 0o17\nzero: 0\nmode2: 0400\na: 1\na: 2\n").unwrap();
        assert_eq!(
            node.to_json(),
            serde_json::json!({"mode": 420, "name": 15, "zero": 0, "mode2": 256, "a": 2})
        );
        assert_eq!(node.get("a").unwrap().value, Value::Integer(2));
    }

    #[test]
    fn json_round_trips() {
        let json = serde_json::json!({"a": [1, "x", null, true], "b": {"c": 18_446_744_073_709_551_615u64}});
        assert_eq!(Node::from_json(&json).to_json(), json);
    }
}

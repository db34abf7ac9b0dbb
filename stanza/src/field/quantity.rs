//! How long and how much.

use std::time::Duration;

use serde_json::Value as Json;

use super::Field;
use crate::node::{Node, Value};
use crate::quantity::Amount;

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub usize);

/// How long the head of a request may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadSize(pub usize);

/// A pause between two looks at something: never none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval(pub Duration);

/// How far two clocks may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leeway(pub Duration);

// === impl Duration ===

impl Field for Duration {
    const ALLOWED: &'static str =
        "a duration such as 30s, 500ms or 2m (a bare number is seconds, up to 3600)";

    fn read(node: &Node) -> Option<Self> {
        match bare_number(node) {
            Some(seconds) => Duration::try_from_secs_f64(seconds)
                .ok()
                .filter(|span| *span <= MAX_BARE),
            None => humantime::parse_duration(node.as_text()?.trim())
                .ok()
                .filter(|span| *span <= MAX_DURATION),
        }
    }

    fn expected(refused: &Node) -> String {
        let probably = bare_number(refused)
            .and_then(|number| Duration::try_from_secs_f64(number / 1000.0).ok())
            .filter(|span| *span > MAX_BARE / 1000 && *span <= MAX_DURATION);
        match probably {
            Some(meant) => format!(
                "{}; was {} or {}ms meant?",
                Self::ALLOWED,
                humantime::format_duration(meant),
                meant.as_millis()
            ),
            None => Self::ALLOWED.to_owned(),
        }
    }

    fn to_json(&self) -> Json {
        Json::from(
            humantime::format_duration(*self)
                .to_string()
                .replace(' ', ""),
        )
    }
}

/// Whoever writes a larger number without a unit means milliseconds, as JavaScript counts.
const MAX_BARE: Duration = Duration::from_hours(1);

/// A number of seconds, in the spellings that YAML, JSON, flags and variables have.
fn bare_number(node: &Node) -> Option<f64> {
    match &node.value {
        // What is so large that it is rounded is refused anyway.
        #[allow(clippy::cast_precision_loss, reason = "see above")]
        Value::Integer(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        Value::Text(text) => text
            .trim()
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}

/// A century: far more than any deadline, and far from the timer's overflow.
const MAX_DURATION: Duration = Duration::from_hours(100 * 365 * 24);

// === impl Interval, Leeway ===

impl Field for Interval {
    const ALLOWED: &'static str = "a duration of 100ms or more, such as 30s or 5m";

    fn read(node: &Node) -> Option<Self> {
        let span = Duration::read(node)?;
        (span >= Duration::from_millis(100)).then_some(Self(span))
    }

    fn expected(refused: &Node) -> String {
        match Duration::read(refused) {
            Some(_) => Self::ALLOWED.to_owned(),
            None => Duration::expected(refused),
        }
    }

    fn to_json(&self) -> Json {
        self.0.to_json()
    }
}

impl Field for Leeway {
    const ALLOWED: &'static str = "a duration of one hour at most, such as 60s";

    fn read(node: &Node) -> Option<Self> {
        let span = Duration::read(node)?;
        (span <= Duration::from_hours(1)).then_some(Self(span))
    }

    fn expected(refused: &Node) -> String {
        match Duration::read(refused) {
            Some(_) => Self::ALLOWED.to_owned(),
            None => Duration::expected(refused),
        }
    }

    fn to_json(&self) -> Json {
        self.0.to_json()
    }
}

// === impl ByteSize ===

impl ByteSize {
    /// As a limit, where 0 says that there is none.
    pub fn limit(self) -> usize {
        match self.0 {
            0 => usize::MAX,
            bytes => bytes,
        }
    }
}

/// In which they are written.
const UNITS: [(&str, usize); 3] = [("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30)];

impl Field for ByteSize {
    const ALLOWED: &'static str = "a number of bytes such as 65536, 64Ki or 1Mi";

    fn read(node: &Node) -> Option<Self> {
        let text = match &node.value {
            Value::Integer(number) => return usize::try_from(*number).ok().map(Self),
            Value::Text(text) => text.trim(),
            _ => return None,
        };
        // A setting is no place for a fraction or a sign.
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let bytes = Amount::read(text).filter(|_| plain)?.whole()?;
        usize::try_from(bytes).ok().map(Self)
    }

    fn to_json(&self) -> Json {
        let unit = UNITS
            .iter()
            .rev()
            .find(|(_, factor)| self.0 > 0 && self.0.is_multiple_of(*factor));
        match unit {
            Some((name, factor)) => Json::from(format!("{}{name}", self.0 / factor)),
            None => Json::from(self.0),
        }
    }
}

// === impl HeadSize ===

impl Field for HeadSize {
    const ALLOWED: &'static str = "a number of bytes from 1Ki to 1Mi, such as 16Ki";

    fn read(node: &Node) -> Option<Self> {
        let ByteSize(bytes) = ByteSize::read(node)?;
        (1 << 10..=1 << 20).contains(&bytes).then_some(Self(bytes))
    }

    fn to_json(&self) -> Json {
        ByteSize(self.0).to_json()
    }
}

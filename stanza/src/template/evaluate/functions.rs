//! The functions of Helm's that manifests use.

use std::cmp::Ordering;

use serde_json::Value as Json;

use super::{Found, LONGEST, Operand, too_long, truth};

/// From here on Helm writes a number with an exponent.
const LARGEST: f64 = 1e6;

/// `complete`: what is not among the values is nowhere.
pub(super) fn call(name: &str, arguments: Vec<Operand>, complete: bool) -> Found {
    if name == "default" {
        let [stand_in, given] = <[Operand; 2]>::try_from(arguments)
            .map_err(|_| "default takes two arguments".to_owned())?;
        return Ok(match given {
            Operand::Value(value) if truth(&value) => Operand::Value(value),
            _ => stand_in,
        });
    }
    if name == "coalesce" {
        let mut values = arguments.into_iter();
        return values
            .find(|value| matches!(value, Operand::Value(value) if truth(value)))
            .ok_or_else(|| "coalesce finds nothing".to_owned());
    }
    let may_be_nothing = complete && ["and", "or", "not", "empty"].contains(&name);
    let known: Vec<Json> = arguments
        .into_iter()
        .map(|argument| argument.or_nothing(may_be_nothing))
        .collect::<Result<_, _>>()?;
    match (name, known.as_slice()) {
        ("index", [container, keys @ ..]) => index(container, keys),
        ("get", [container @ Json::Object(_), key @ Json::String(_)]) => {
            index(container, std::slice::from_ref(key))
        }
        ("hasKey", [Json::Object(map), Json::String(key)]) => match map.get(key) {
            Some(value) if !value.is_null() => Ok(Operand::Value(Json::Bool(true))),
            _ if complete => Ok(Operand::Value(Json::Bool(false))),
            _ => Ok(Operand::Missing(key.clone())),
        },
        _ => function(name, &known).map(Operand::Value),
    }
}

/// A key that is not there is missing; a place beyond a list's end is an error, in Helm too.
fn index(container: &Json, keys: &[Json]) -> Found {
    let mut value = container;
    for key in keys {
        let found = match (value, key) {
            (Json::Object(map), Json::String(key)) => map.get(key),
            (Json::Array(items), Json::Number(place)) => {
                let place = place.as_u64().and_then(|place| usize::try_from(place).ok());
                let item = place.and_then(|place| items.get(place));
                Some(item.ok_or_else(|| format!("the list has no place {key}"))?)
            }
            _ => return Err("index is not rendered with these arguments".to_owned()),
        };
        match found {
            Some(found) if !found.is_null() => value = found,
            _ => return Ok(Operand::Missing(format!("index … {key}"))),
        }
    }
    Ok(Operand::Value(value.clone()))
}

fn function(name: &str, arguments: &[Json]) -> Result<Json, String> {
    let changed = |change: &dyn Fn(&str) -> String, value| Ok(Json::from(change(&text(value)?)));
    match (name, arguments) {
        ("quote", [value]) => changed(&|text| format!("{text:?}"), value),
        ("squote", [value]) => changed(&|text| format!("'{text}'"), value),
        ("toString", [value]) => changed(&str::to_owned, value),
        ("lower", [value]) => changed(&str::to_lowercase, value),
        ("upper", [value]) => changed(&str::to_uppercase, value),
        ("trim", [value]) => changed(&|text| text.trim().to_owned(), value),
        ("trunc", [length, value]) => {
            let length = length
                .as_u64()
                .and_then(|length| usize::try_from(length).ok());
            let length = length.ok_or("trunc from behind is not rendered")?;
            changed(&|text| text.chars().take(length).collect(), value)
        }
        ("trimSuffix", [Json::String(end), value]) => changed(
            &|text| text.strip_suffix(end.as_str()).unwrap_or(text).to_owned(),
            value,
        ),
        ("trimPrefix", [Json::String(start), value]) => changed(
            &|text| text.strip_prefix(start.as_str()).unwrap_or(text).to_owned(),
            value,
        ),
        ("replace", [Json::String(from), Json::String(to), value]) => {
            let text = text(value)?;
            // Looked at before it is made: an empty `from` is found everywhere.
            let found = text.matches(from.as_str()).count();
            if found.saturating_mul(to.len()) > LONGEST {
                return Err(too_long());
            }
            Ok(Json::from(text.replace(from.as_str(), to)))
        }
        ("printf", [Json::String(format), values @ ..]) => printf(format, values),
        ("required", [Json::String(_), value]) => Ok(value.clone()),
        ("int" | "int64", [value]) => {
            let text = text(value)?;
            let number: i64 = text
                .parse()
                .map_err(|_| format!("{text:?} is no whole number"))?;
            Ok(Json::from(number))
        }
        ("not" | "empty", [value]) => Ok(Json::Bool(!truth(value))),
        ("and", [.., last]) => Ok(arguments
            .iter()
            .find(|value| !truth(value))
            .unwrap_or(last)
            .clone()),
        ("or", [.., last]) => Ok(arguments
            .iter()
            .find(|value| truth(value))
            .unwrap_or(last)
            .clone()),
        ("eq", [first, rest @ ..]) if !rest.is_empty() => {
            Ok(Json::Bool(rest.iter().any(|other| same(first, other))))
        }
        ("ne", [a, b]) => Ok(Json::Bool(!same(a, b))),
        ("lt" | "le" | "gt" | "ge", [a, b]) => {
            let order = order(a, b).ok_or_else(|| format!("{name} compares numbers or texts"))?;
            Ok(Json::Bool(match name {
                "lt" => order.is_lt(),
                "le" => order.is_le(),
                "gt" => order.is_gt(),
                _ => order.is_ge(),
            }))
        }
        ("ternary", [yes, no, Json::Bool(flag)]) => Ok(if *flag { yes } else { no }.clone()),
        ("hasPrefix", [Json::String(part), Json::String(whole)]) => {
            Ok(Json::Bool(whole.starts_with(part.as_str())))
        }
        ("hasSuffix", [Json::String(part), Json::String(whole)]) => {
            Ok(Json::Bool(whole.ends_with(part.as_str())))
        }
        ("contains", [Json::String(part), Json::String(whole)]) => {
            Ok(Json::Bool(whole.contains(part.as_str())))
        }
        _ => Err(format!(
            "the function {name} is not rendered, or not with these arguments"
        )),
    }
}

fn order(a: &Json, b: &Json) -> Option<Ordering> {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => Some(a.as_f64()?.total_cmp(&b.as_f64()?)),
        (Json::String(a), Json::String(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

fn same(a: &Json, b: &Json) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b).is_eq(),
        _ => a == b,
    }
}

fn printf(format: &str, values: &[Json]) -> Result<Json, String> {
    let mut out = String::new();
    let mut values = values.iter();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('%') => out.push('%'),
            Some('s' | 'd' | 'v') => {
                out.push_str(&text(values.next().ok_or("printf lacks a value")?)?);
                if out.len() > LONGEST {
                    return Err(too_long());
                }
            }
            _ => return Err("this form of printf is not rendered".to_owned()),
        }
    }
    Ok(Json::from(out))
}

/// As Helm writes it.
pub(super) fn text(value: &Json) -> Result<String, String> {
    match value {
        Json::String(text) => Ok(text.clone()),
        Json::Bool(flag) => Ok(flag.to_string()),
        Json::Number(number) => match number.as_f64() {
            Some(size) if size.abs() < LARGEST => Ok(number.to_string()),
            _ => Err(format!("Helm writes {number} with an exponent")),
        },
        Json::Null => Err("it is null".to_owned()),
        Json::Array(_) => Err("it is a list".to_owned()),
        Json::Object(_) => Err("it is a map".to_owned()),
    }
}

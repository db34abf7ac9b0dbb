//! Expressions: fields, literals, variables and the functions that manifests use.

use std::collections::HashMap;

use serde_json::Value as Json;

/// From here on Helm writes a number with an exponent.
const LARGEST: f64 = 1e6;
/// Parentheses within parentheses.
const DEEPEST: usize = 32;

pub(super) struct Scope<'a> {
    root: &'a Json,
    variables: HashMap<String, Json>,
}

/// `Ok(None)`: not there, named by the second.
type Found = Result<Operand, String>;

enum Operand {
    Value(Json),
    Missing(String),
}

/// As Go's templates have it.
pub(super) fn truth(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Bool(flag) => *flag,
        Json::Number(number) => number.as_f64() != Some(0.0),
        Json::String(text) => !text.is_empty(),
        Json::Array(items) => !items.is_empty(),
        Json::Object(entries) => !entries.is_empty(),
    }
}

// === impl Scope ===

impl<'a> Scope<'a> {
    pub(super) fn new(root: &'a Json) -> Self {
        Self {
            root,
            variables: HashMap::new(),
        }
    }

    /// The text that an action writes.
    pub(super) fn run(&mut self, expression: &str, dot: &Json) -> Result<String, String> {
        if let Some((name, value)) = assignment(expression) {
            let value = self.value(value, dot);
            match value {
                Ok(value) => self.variables.insert(name.to_owned(), value),
                Err(_) => self.variables.remove(name),
            };
            return Ok(String::new());
        }
        text(&self.value(expression, dot)?)
    }

    pub(super) fn value(&self, expression: &str, dot: &Json) -> Result<Json, String> {
        let tokens = tokens(expression)?;
        let mut parser = Parser {
            scope: self,
            dot,
            tokens: &tokens,
            next: 0,
        };
        let operand = parser.pipeline(0)?;
        if parser.next < tokens.len() {
            return Err("not understood".to_owned());
        }
        operand.known()
    }
}

fn assignment(expression: &str) -> Option<(&str, &str)> {
    let rest = expression.strip_prefix('$')?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    let (name, rest) = rest.split_at(end);
    let rest = rest.trim_start();
    let value = rest
        .strip_prefix(":=")
        .or_else(|| rest.strip_prefix('=').filter(|rest| !rest.starts_with('=')))?;
    Some((name, value.trim()))
}

impl Operand {
    fn known(self) -> Result<Json, String> {
        match self {
            Self::Value(value) => Ok(value),
            Self::Missing(path) => Err(format!("{path} is not among the values")),
        }
    }
}

// === parsing ===

#[derive(Debug, PartialEq)]
enum Token {
    /// `.`, `.a.b`, `$`, `$.a`, `$x.a`
    Path(String),
    Word(String),
    Literal(Json),
    Open,
    /// With the fields that follow it: `(.Values.a).b`
    Close(String),
    Pipe,
}

fn tokens(expression: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        let plain = |from: &str| {
            from.find(|c: char| !(c.is_alphanumeric() || "._$-+".contains(c)))
                .unwrap_or(from.len())
        };
        let length = match first {
            '|' => {
                tokens.push(Token::Pipe);
                1
            }
            '(' => {
                tokens.push(Token::Open);
                1
            }
            ')' => {
                let fields = if rest[1..].starts_with('.') {
                    plain(&rest[1..])
                } else {
                    0
                };
                tokens.push(Token::Close(rest[1..=fields].to_owned()));
                1 + fields
            }
            '`' => {
                let end = rest[1..].find('`').ok_or("an open quote")?;
                tokens.push(Token::Literal(Json::from(&rest[1..=end])));
                end + 2
            }
            '"' => {
                let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<String>();
                let text = stream
                    .next()
                    .and_then(Result::ok)
                    .ok_or("a text that is not understood")?;
                tokens.push(Token::Literal(Json::from(text)));
                stream.byte_offset()
            }
            '.' | '$' => {
                let end = plain(rest);
                tokens.push(Token::Path(rest[..end].to_owned()));
                end
            }
            c if c.is_ascii_digit() || c == '-' => {
                let end = plain(rest);
                let number = serde_json::from_str::<serde_json::Number>(&rest[..end]);
                let number = number.map_err(|_| "a number that is not understood")?;
                tokens.push(Token::Literal(Json::Number(number)));
                end
            }
            c if c.is_alphabetic() => {
                let end = plain(rest);
                tokens.push(match &rest[..end] {
                    "true" => Token::Literal(Json::Bool(true)),
                    "false" => Token::Literal(Json::Bool(false)),
                    "nil" => Token::Literal(Json::Null),
                    word => Token::Word(word.to_owned()),
                });
                end
            }
            other => return Err(format!("{other:?} is not understood")),
        };
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

struct Parser<'p> {
    scope: &'p Scope<'p>,
    dot: &'p Json,
    tokens: &'p [Token],
    next: usize,
}

impl Parser<'_> {
    fn pipeline(&mut self, depth: usize) -> Found {
        if depth > DEEPEST {
            return Err("nested too deeply".to_owned());
        }
        let mut piped = self.command(None, depth)?;
        while self.tokens.get(self.next) == Some(&Token::Pipe) {
            self.next += 1;
            piped = self.command(Some(piped), depth)?;
        }
        Ok(piped)
    }

    fn command(&mut self, piped: Option<Operand>, depth: usize) -> Found {
        let function = match self.tokens.get(self.next) {
            Some(Token::Word(word)) => {
                self.next += 1;
                Some(word.as_str())
            }
            _ => None,
        };
        let mut arguments = Vec::new();
        while let Some(argument) = self.argument(depth)? {
            arguments.push(argument);
        }
        arguments.extend(piped);
        match function {
            Some(name) => call(name, arguments),
            None if arguments.len() == 1 => arguments.pop().ok_or_else(String::new),
            None => Err("not understood".to_owned()),
        }
    }

    fn argument(&mut self, depth: usize) -> Result<Option<Operand>, String> {
        let operand = match self.tokens.get(self.next) {
            None | Some(Token::Pipe | Token::Close(_)) => return Ok(None),
            Some(Token::Literal(value)) => Operand::Value(value.clone()),
            Some(Token::Path(path)) => self.path(path)?,
            Some(Token::Word(name)) => call(name, Vec::new())?,
            Some(Token::Open) => {
                self.next += 1;
                let inner = self.pipeline(depth + 1)?;
                let Some(Token::Close(fields)) = self.tokens.get(self.next) else {
                    return Err("a parenthesis is open".to_owned());
                };
                match inner {
                    Operand::Value(value) => walk(&value, fields, fields),
                    missing @ Operand::Missing(_) => missing,
                }
            }
        };
        self.next += 1;
        Ok(Some(operand))
    }

    fn path(&self, path: &str) -> Found {
        let Some(rest) = path.strip_prefix('$') else {
            return Ok(walk(self.dot, path, path));
        };
        let (name, fields) = rest.split_at(rest.find('.').unwrap_or(rest.len()));
        if name.is_empty() {
            return Ok(walk(self.scope.root, fields, path));
        }
        match self.scope.variables.get(name) {
            Some(value) => Ok(walk(value, fields, path)),
            None => Err(format!("${name} has no known value")),
        }
    }
}

/// A null is what Helm leaves out.
fn walk(value: &Json, fields: &str, path: &str) -> Operand {
    let mut names = fields.split('.').filter(|name| !name.is_empty());
    let found = names.try_fold(value, |value, name| value.get(name));
    match found {
        Some(Json::Null) | None => Operand::Missing(path.to_owned()),
        Some(value) => Operand::Value(value.clone()),
    }
}

// === functions ===

fn call(name: &str, arguments: Vec<Operand>) -> Found {
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
    let known: Vec<Json> = arguments
        .into_iter()
        .map(Operand::known)
        .collect::<Result<_, _>>()?;
    function(name, &known).map(Operand::Value)
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
            changed(&|text| text.replace(from.as_str(), to), value)
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
            }

            _ => return Err("this form of printf is not rendered".to_owned()),
        }
    }
    Ok(Json::from(out))
}

/// As Helm writes it.
fn text(value: &Json) -> Result<String, String> {
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

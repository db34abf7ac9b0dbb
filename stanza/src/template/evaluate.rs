//! Expressions: fields, literals, variables and functions.

mod functions;

use std::cell::Cell;
use std::collections::HashMap;

use serde_json::Value as Json;

use functions::{call, text};

/// Parentheses within parentheses.
const DEEPEST: usize = 32;
/// In the root, where no expression can name it: the values are all there are.
pub(super) const COMPLETE: &str = "all values";
const VALUES: &str = ".Values.";
/// Bytes of one value: assignments and `printf` can double a text with each line.
const LONGEST: usize = 64 << 10;
/// What one rendering may take in all; a manifest takes some dozens.
pub(super) const MOST_STEPS: usize = 10_000;
/// Variables of one template: together they hold no more than a rendering may have.
const MOST_VARIABLES: usize = 16;

pub(super) struct Scope<'a> {
    root: &'a Json,
    variables: HashMap<String, Json>,
    steps: Cell<usize>,
    /// What is not among the values is nowhere.
    complete: bool,
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
            steps: Cell::new(0),
            complete: root.get(COMPLETE).is_some(),
        }
    }

    /// Whether the template has had its share of work.
    pub(super) fn is_exhausted(&self) -> bool {
        self.steps.get() > MOST_STEPS
    }

    /// One step for each expression, value and call, and one for each KiB that it makes.
    pub(super) fn step(&self, bytes: usize) -> Result<(), String> {
        self.steps.set(self.steps.get() + 1 + (bytes >> 10));
        if self.is_exhausted() {
            return Err("the template takes too many steps".to_owned());
        }
        Ok(())
    }

    fn known(&self, value: &Json) -> Result<(), String> {
        let size = size(value).ok_or_else(too_long)?;
        self.step(size)
    }

    /// The text that an action writes.
    pub(super) fn run(&mut self, expression: &str, dot: &Json) -> Result<String, String> {
        if let Some((name, value)) = assignment(expression) {
            let value = self.value(value, dot);
            self.variables.remove(name);
            if let Ok(value) = value {
                if self.variables.len() >= MOST_VARIABLES {
                    return Err(format!("there are over {MOST_VARIABLES} variables"));
                }
                self.variables.insert(name.to_owned(), value);
            }
            return Ok(String::new());
        }
        text(&self.operand(expression, dot)?.known()?)
    }

    /// As a condition has it: what is nowhere does not hold.
    pub(super) fn value(&self, expression: &str, dot: &Json) -> Result<Json, String> {
        self.operand(expression, dot)?.or_nothing(self.complete)
    }

    fn operand(&self, expression: &str, dot: &Json) -> Found {
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
        Ok(operand)
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

    /// With all values at hand one that is missing is Go's nil. Of the release itself not all is.
    fn or_nothing(self, complete: bool) -> Result<Json, String> {
        match self {
            Self::Missing(path) if complete && path.trim_start_matches('$').starts_with(VALUES) => {
                Ok(Json::Null)
            }
            other => other.known(),
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
            Some(name) => self.call(name, arguments),
            None if arguments.len() == 1 => arguments.pop().ok_or_else(String::new),
            None => Err("not understood".to_owned()),
        }
    }

    fn argument(&mut self, depth: usize) -> Result<Option<Operand>, String> {
        let operand = match self.tokens.get(self.next) {
            None | Some(Token::Pipe | Token::Close(_)) => return Ok(None),
            Some(Token::Literal(value)) => Operand::Value(value.clone()),
            Some(Token::Path(path)) => self.path(path)?,
            Some(Token::Word(name)) => self.call(name, Vec::new())?,
            Some(Token::Open) => {
                self.next += 1;
                let inner = self.pipeline(depth + 1)?;
                let Some(Token::Close(fields)) = self.tokens.get(self.next) else {
                    return Err("a parenthesis is open".to_owned());
                };
                match inner {
                    Operand::Value(value) => self.walk(&value, fields, fields)?,
                    missing @ Operand::Missing(_) => missing,
                }
            }
        };
        self.next += 1;
        Ok(Some(operand))
    }

    fn path(&self, path: &str) -> Found {
        let Some(rest) = path.strip_prefix('$') else {
            return self.walk(self.dot, path, path);
        };
        let (name, fields) = rest.split_at(rest.find('.').unwrap_or(rest.len()));
        if name.is_empty() {
            return self.walk(self.scope.root, fields, path);
        }
        match self.scope.variables.get(name) {
            Some(value) => self.walk(value, fields, path),
            None => Err(format!("${name} has no known value")),
        }
    }

    /// A null is what Helm leaves out.
    fn walk(&self, value: &Json, fields: &str, path: &str) -> Found {
        let mut names = fields.split('.').filter(|name| !name.is_empty());
        let found = names.try_fold(value, |value, name| value.get(name));
        match found {
            Some(Json::Null) | None => Ok(Operand::Missing(path.to_owned())),
            Some(value) => {
                // Before it is copied.
                self.scope.known(value)?;
                Ok(Operand::Value(value.clone()))
            }
        }
    }

    fn call(&self, name: &str, arguments: Vec<Operand>) -> Found {
        self.scope.step(0)?;
        let result = call(name, arguments, self.scope.complete)?;
        if let Operand::Value(value) = &result {
            self.scope.known(value)?;
        }
        Ok(result)
    }
}

fn too_long() -> String {
    format!("its value is over {} KiB", LONGEST >> 10)
}

/// Bytes of a value, if they are not too many.
fn size(value: &Json) -> Option<usize> {
    /// What is left after it, if anything is.
    fn less(left: usize, value: &Json) -> Option<usize> {
        let left = left.checked_sub(size_of::<Json>())?;
        match value {
            Json::String(text) => left.checked_sub(text.len()),
            Json::Array(items) => items.iter().try_fold(left, less),
            Json::Object(entries) => entries.iter().try_fold(left, |left, (key, value)| {
                less(left.checked_sub(key.len())?, value)
            }),
            Json::Null | Json::Bool(_) | Json::Number(_) => Some(left),
        }
    }
    Some(LONGEST - less(LONGEST, value)?)
}

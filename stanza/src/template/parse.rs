//! A template's text -> pieces. Never fails: what is no template is text.

use crate::node::Position;

#[derive(Debug)]
pub(super) enum Piece<'a> {
    Text {
        text: &'a str,
        line: u64,
    },
    Action {
        expression: &'a str,
        at: Position,
    },
    /// `if` and `with`.
    Choice {
        branches: Vec<Branch<'a>>,
        /// The whole block.
        source: &'a str,
    },
    /// A block that is not rendered.
    Opaque {
        expression: &'a str,
        at: Position,
        source: &'a str,
        why: &'static str,
    },
}

#[derive(Debug)]
pub(super) struct Branch<'a> {
    /// `None`: else.
    pub(super) condition: Option<Condition<'a>>,
    pub(super) body: Vec<Piece<'a>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Condition<'a> {
    pub(super) expression: &'a str,
    /// With its `if` or `with`.
    pub(super) whole: &'a str,
    /// The value becomes the dot.
    pub(super) with: bool,
    pub(super) at: Position,
}

pub(super) fn parse(text: &str) -> Vec<Piece<'_>> {
    let tokens = tokens(text);
    let mut parser = Parser {
        text,
        tokens: &tokens,
        next: 0,
    };
    let mut pieces = Vec::new();
    while parser.next < tokens.len() {
        pieces.extend(parser.pieces(0));
        // An `end` or `else` that nothing opened.
        if let Some(Token::Action { inner, at, .. }) = parser.take() {
            let (expression, at) = (inner, *at);
            pieces.push(Piece::Action { expression, at });
        }
    }
    pieces
}

#[derive(Debug)]
enum Token<'a> {
    Text {
        text: &'a str,
        line: u64,
    },
    Action {
        /// Between the braces and their dashes, blanks removed.
        inner: &'a str,
        at: Position,
        start: usize,
        end: usize,
    },
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let (mut from, mut trim) = (0, false);
    let mut places = Places {
        text,
        at: 0,
        line: 1,
        line_start: 0,
    };
    loop {
        let open = text[from..].find("{{").map(|found| from + found);
        let action = open.and_then(|open| Some((open, open + closing(&text[open..])?)));
        let until = action.map_or(text.len(), |(open, _)| open);
        let mut plain = &text[from..until];
        let mut start = from;
        if trim {
            let kept = plain.trim_start();
            start += plain.len() - kept.len();
            plain = kept;
        }
        let Some((open, end)) = action else {
            let line = places.go(start).line;
            tokens.push(Token::Text { text: plain, line });
            return tokens;
        };
        let mut inner = &text[open + 2..end - 2];
        if let Some(rest) = inner.strip_prefix('-').filter(|rest| starts_blank(rest)) {
            inner = rest;
            plain = plain.trim_end();
        }
        trim = false;
        if let Some(rest) = inner.strip_suffix('-').filter(|rest| ends_blank(rest)) {
            inner = rest;
            trim = true;
        }
        let line = places.go(start).line;
        tokens.push(Token::Text { text: plain, line });
        let inner = inner.trim();
        if !(inner.starts_with("/*") && inner.ends_with("*/")) {
            let at = places.go(open);
            tokens.push(Token::Action {
                inner,
                at,
                start: open,
                end,
            });
        }
        from = end;
    }
}

/// Where an action that begins here ends: braces in quotes and comments do not count.
fn closing(text: &str) -> Option<usize> {
    let start = text[2..].trim_start_matches('-').trim_start();
    if start.starts_with("/*") {
        let comment = text.find("*/")?;
        return Some(comment + text[comment..].find("}}")? + 2);
    }
    let mut quote = None;
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate().skip(2) {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(b'"') if byte == b'\\' => escaped = true,
            Some(open) if byte == open => quote = None,
            Some(b'"') if byte == b'\n' => return None,
            None if matches!(byte, b'"' | b'`') => quote = Some(byte),
            None if byte == b'}' && text[index..].starts_with("}}") => return Some(index + 2),
            Some(_) | None => {}
        }
    }
    None
}

fn starts_blank(text: &str) -> bool {
    text.starts_with(char::is_whitespace)
}

fn ends_blank(text: &str) -> bool {
    text.ends_with(char::is_whitespace)
}

/// Counts lines while it goes forward.
struct Places<'a> {
    text: &'a str,
    at: usize,
    line: u64,
    line_start: usize,
}

impl Places<'_> {
    fn go(&mut self, to: usize) -> Position {
        while let Some(found) = self.text[self.at..to].find('\n') {
            self.at += found + 1;
            self.line += 1;
            self.line_start = self.at;
        }
        self.at = to;
        let column = self.text[self.line_start..to].chars().count() + 1;
        Position {
            line: self.line,
            column: u64::try_from(column).unwrap_or(u64::MAX),
        }
    }
}

/// Blocks within blocks beyond this are text: no manifest has them, and parsing recurses.
const DEEPEST: usize = 64;

struct Parser<'a, 't> {
    text: &'a str,
    tokens: &'t [Token<'a>],
    next: usize,
}

impl<'a, 't> Parser<'a, 't> {
    fn take(&mut self) -> Option<&'t Token<'a>> {
        let token = self.tokens.get(self.next)?;
        self.next += 1;
        Some(token)
    }

    /// Up to an `end` or `else` that is not ours, which is left.
    fn pieces(&mut self, depth: usize) -> Vec<Piece<'a>> {
        let mut pieces = Vec::new();
        while let Some(token) = self.tokens.get(self.next) {
            match token {
                Token::Text { text, line } => pieces.push(Piece::Text { text, line: *line }),
                Token::Action {
                    inner, at, start, ..
                } => {
                    let (word, rest) = split(inner);
                    let (expression, at) = (*inner, *at);
                    match word {
                        "end" | "else" => return pieces,
                        "if" | "with" if depth < DEEPEST => {
                            self.next += 1;
                            let condition = Condition {
                                expression: rest,
                                whole: expression,
                                with: word == "with",
                                at,
                            };
                            pieces.push(self.choice(condition, *start, depth));
                            continue;
                        }
                        "range" | "define" | "block" if depth < DEEPEST => {
                            self.next += 1;
                            let source = self.skip(*start, depth);
                            let why = "loops and definitions are not rendered";
                            pieces.push(Piece::Opaque {
                                expression,
                                at,
                                source,
                                why,
                            });
                            continue;
                        }
                        _ => pieces.push(Piece::Action { expression, at }),
                    }
                }
            }
            self.next += 1;
        }
        pieces
    }

    fn choice(&mut self, first: Condition<'a>, start: usize, depth: usize) -> Piece<'a> {
        let mut branches = Vec::new();
        let mut condition = Some(first);
        loop {
            let body = self.pieces(depth + 1);
            branches.push(Branch { condition, body });
            let Some(Token::Action { inner, at, end, .. }) = self.take() else {
                let (expression, at) = (first.whole, first.at);
                let source = &self.text[start..];
                let why = "the block has no end";
                return Piece::Opaque {
                    expression,
                    at,
                    source,
                    why,
                };
            };
            let (word, rest) = split(inner);
            if word == "end" {
                let source = &self.text[start..*end];
                return Piece::Choice { branches, source };
            }
            let (kind, expression) = split(rest);
            condition = matches!(kind, "if" | "with").then_some(Condition {
                expression,
                whole: inner,
                with: kind == "with",
                at: *at,
            });
        }
    }

    fn skip(&mut self, start: usize, depth: usize) -> &'a str {
        loop {
            self.pieces(depth + 1);
            match self.take() {
                Some(Token::Action { inner, end, .. }) if split(inner).0 == "end" => {
                    return &self.text[start..*end];
                }
                Some(_) => {}
                None => return &self.text[start..],
            }
        }
    }
}

fn split(inner: &str) -> (&str, &str) {
    let end = inner
        .find(|c: char| !c.is_alphanumeric())
        .unwrap_or(inner.len());
    (&inner[..end], inner[end..].trim())
}

//! What is wrong with a manifest, where, and what would be right.

use std::fmt;

use crate::node::{Node, Position, SyntaxError};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The setting is ignored, the rest is used.
    Warning,
    /// Nothing of the stanza is used.
    Error,
}

/// One finding. `Display` writes it as compilers do:
/// `OlaresManifest.yaml:12:11: error: options.websocket.port: 70000 is not allowed here; …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    /// The file's name, the object's kind, or the flag that the value came from.
    pub source: String,
    pub position: Option<Position>,
    /// The field, as `options.websocket.port`; empty when the text could not be parsed.
    pub path: String,
    pub message: String,
}

/// All that was found in one document; never just the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

/// Collects problems while a document is read; knows the document's name.
#[derive(Debug)]
pub struct Report {
    source: String,
    problems: Vec<Problem>,
    /// How many more there are, and the gravest of them.
    left_out: usize,
    gravest: Severity,
}

/// Problems of one document; more help nobody.
const MOST: usize = 100;

// === impl Problems ===

impl Problems {
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    pub fn has_errors(&self) -> bool {
        self.0
            .iter()
            .any(|problem| problem.severity == Severity::Error)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same with fields called as `place` calls them, where it knows better.
    #[must_use]
    pub fn places(mut self, place: impl Fn(&str) -> Option<String>) -> Self {
        for problem in &mut self.0 {
            if let Some(better) = place(&problem.path) {
                problem.path = better;
            }
        }
        self
    }

    /// The errors alone, one to a line.
    pub fn errors(&self) -> String {
        let lines: Vec<String> = self
            .0
            .iter()
            .filter(|problem| problem.severity == Severity::Error)
            .map(Problem::to_string)
            .collect();
        lines.join("\n")
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if let Some(at) = self.position {
            write!(f, ":{}:{}", at.line, at.column)?;
        }
        match self.severity {
            Severity::Warning => f.write_str(": warning: ")?,
            Severity::Error => f.write_str(": error: ")?,
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

// === impl Report ===

impl Report {
    pub fn new(source: &str) -> Self {
        Self {
            source: source.to_owned(),
            problems: Vec::new(),
            left_out: 0,
            gravest: Severity::Warning,
        }
    }

    pub fn error(&mut self, position: Option<Position>, path: &str, message: impl Into<String>) {
        self.push(Severity::Error, position, path, message.into());
    }

    pub fn warn(&mut self, position: Option<Position>, path: &str, message: impl Into<String>) {
        self.push(Severity::Warning, position, path, message.into());
    }

    pub fn not_allowed(&mut self, node: &Node, path: &str, allowed: &str) {
        self.error(
            node.position,
            path,
            format!("{node} is not allowed here; expected {allowed}"),
        );
    }

    /// The same where a secret may stand in the value's place.
    pub fn hidden_not_allowed(&mut self, node: &Node, path: &str, allowed: &str) {
        self.error(
            node.position,
            path,
            format!("the value (not shown) is not allowed here; expected {allowed}"),
        );
    }

    pub fn syntax(&mut self, error: &SyntaxError) {
        self.error(error.position, "", format!("not valid YAML: {error}"));
    }

    pub fn finish(mut self) -> Problems {
        if self.left_out > 0 {
            self.problems.push(Problem {
                severity: self.gravest,
                source: self.source,
                position: None,
                path: String::new(),
                message: format!("there are {} more problems", self.left_out),
            });
        }
        Problems(self.problems)
    }

    fn push(
        &mut self,
        severity: Severity,
        position: Option<Position>,
        path: &str,
        message: String,
    ) {
        if self.problems.len() >= MOST {
            self.left_out += 1;
            self.gravest = self.gravest.max(severity);
            return;
        }
        let source = self.source.clone();
        self.problems.push(Problem {
            severity,
            source,
            position,
            path: path.to_owned(),
            message,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_hundred_they_are_counted() {
        let mut report = Report::new("x");
        for _ in 0..MOST {
            report.warn(None, "", "odd");
        }
        report.error(None, "", "wrong");
        report.warn(None, "", "odd");
        let problems = report.finish();
        assert_eq!(problems.iter().count(), MOST + 1);
        assert!(problems.has_errors());
        let last = problems.iter().last().map(Problem::to_string);
        assert_eq!(last.as_deref(), Some("x: error: there are 2 more problems"));
    }
}

//! A stream of YAML documents, each with its text: what is not changed is written as it was read.

use anyhow::Context;
use serde_json::Value as Json;
use stanza::node::Node;

use super::edit::edit;

pub(super) struct Document {
    /// As it stands in its file; `---` is not part of it.
    text: String,
    before: Json,
    after: Json,
    /// For messages: `app.yaml document 2`.
    place: String,
    /// Of its file, where the text begins.
    line: u64,
}

/// The file's documents that say something.
pub(super) struct Stream {
    file: String,
    lines: u64,
    /// Comments before the first document belong to it.
    aside: String,
    documents: Vec<Document>,
    said: Vec<String>,
}

/// All documents of a file that say something, and what is wrong with others, which stay as they
/// are.
pub(super) fn all(file: &str, text: &str) -> (Vec<Document>, Vec<String>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut stream = Stream {
        file: file.to_owned(),
        lines: 0,
        aside: String::new(),
        documents: Vec::new(),
        said: Vec::new(),
    };
    let mut begun = String::new();
    for line in text.split_inclusive('\n') {
        let Some(rest) = separated(line) else {
            begun.push_str(line);
            continue;
        };
        stream.take(&mut begun);
        // The separator's own line, unless something stands on it.
        stream.lines += u64::from(rest.is_empty());
        begun.push_str(rest);
    }
    stream.take(&mut begun);
    (stream.documents, stream.said)
}

impl Stream {
    fn take(&mut self, begun: &mut String) {
        let begun = std::mem::take(begun);
        let lines = count(&begun);
        let line = self.lines - count(&self.aside);
        let text = std::mem::take(&mut self.aside) + &begun;
        self.lines += lines;
        let place = format!("{} document {}", self.file, self.documents.len() + 1);
        let object = match Node::all_from_yaml(&text) {
            Ok(found) => found.iter().map(Node::to_json).find(|it| !it.is_null()),
            Err(error) => {
                let at = error.position.map(|at| line + at.line);
                let at = at.map(|line| format!(" line {line}")).unwrap_or_default();
                self.said
                    .push(format!("{place}{at}: not YAML, left as it is: {error}"));
                Some(Json::Null)
            }
        };
        match object {
            Some(object) => self.documents.push(Document {
                text,
                after: object.clone(),
                before: object,
                place,
                line,
            }),
            None => self.aside = text,
        }
    }
}

fn count(text: &str) -> u64 {
    text.matches('\n').map(|_| 1).sum()
}

/// What stands on the line of a separator behind it: `--- # Source: a.yaml`.
fn separated(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("---")?;
    match rest.trim_start_matches([' ', '\t']) {
        "" | "\n" | "\r\n" => Some(""),
        more if more.len() < rest.len() => Some(more),
        _ => None,
    }
}

pub(super) fn join(texts: &[String]) -> String {
    let ended = texts.iter().map(|text| match text.as_str() {
        text if text.ends_with('\n') => text.to_owned(),
        text => format!("{text}\n"),
    });
    ended.collect::<Vec<_>>().join("---\n")
}

impl Document {
    /// Where a value of the object stands: `app.yaml document 2 line 17`.
    pub(super) fn place<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> String {
        let line = Node::from_yaml(&self.text)
            .ok()
            .and_then(|node| node.at(path)?.position);
        let line = line.map(|at| format!(" line {}", self.line + at.line));
        format!("{}{}", self.place, line.unwrap_or_default())
    }

    /// The document itself, or the items of a List.
    pub(super) fn objects(&self) -> impl Iterator<Item = &Json> {
        let one = (!is_list(&self.after)).then_some(&self.after);
        let items = self.after.get("items").filter(|_| one.is_none());
        let items = items.and_then(Json::as_array).into_iter().flatten();
        one.into_iter().chain(items)
    }

    pub(super) fn objects_mut(&mut self) -> Vec<&mut Json> {
        if !is_list(&self.after) {
            return vec![&mut self.after];
        }
        let items = self.after.get_mut("items").and_then(Json::as_array_mut);
        items.into_iter().flatten().collect()
    }

    /// As it is now. `said` hears of what could not be kept.
    pub(super) fn text(&self, said: &mut Vec<String>) -> anyhow::Result<String> {
        if self.after == self.before {
            return Ok(self.text.clone());
        }
        if let Some(text) = edit(&self.text, &self.before, &self.after) {
            return Ok(text);
        }
        let part = |pointer| self.after.pointer(pointer).and_then(Json::as_str);
        let kind = part("/kind").unwrap_or("a document");
        let name = part("/metadata/name").unwrap_or_default();
        if self.text.contains('#') {
            said.push(format!("{kind}/{name}: written anew, without its comments"));
        }
        serde_saphyr::to_string(&self.after).context("cannot be written as YAML")
    }
}

/// A List, or a DeploymentList as an API server answers.
fn is_list(object: &Json) -> bool {
    let kind = object.get("kind").and_then(Json::as_str);
    kind.is_some_and(|kind| kind.ends_with("List"))
        && object.get("items").is_some_and(Json::is_array)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_keep_their_text() {
        let text = "# Head\n---\n# A\na: 1\n--- # Source: b.yaml\nb: |\n  ---\n\n---\n";
        let (documents, said) = all("a.yaml", text);
        assert!(said.is_empty(), "{said:?}");
        let texts: Vec<&str> = documents
            .iter()
            .map(|document| document.text.as_str())
            .collect();
        assert_eq!(
            texts,
            ["# Head\n# A\na: 1\n", "# Source: b.yaml\nb: |\n  ---\n\n"]
        );
    }
}

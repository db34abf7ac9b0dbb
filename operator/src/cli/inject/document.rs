//! A stream of YAML documents, each with its text: what is not changed is written as it was read.

use anyhow::Context;
use serde_json::{Value as Json, json};

use super::edit::edit;

pub(super) struct Document {
    /// As it stands in its file; `---` is not part of it.
    text: String,
    before: Json,
    after: Json,
}

/// All documents of a file that say something.
pub(super) fn all(text: &str) -> anyhow::Result<Vec<Document>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = Vec::new();
    let mut begun = String::new();
    // Comments before the first document belong to it.
    let mut aside = String::new();
    for line in text.split_inclusive('\n') {
        let Some(rest) = separated(line) else {
            begun.push_str(line);
            continue;
        };
        take(&mut documents, &mut aside, &mut begun)?;
        begun.push_str(rest);
    }
    take(&mut documents, &mut aside, &mut begun)?;
    Ok(documents)
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

fn take(
    documents: &mut Vec<Document>,
    aside: &mut String,
    begun: &mut String,
) -> anyhow::Result<()> {
    let text = std::mem::take(aside) + &std::mem::take(begun);
    let found: Vec<Json> = serde_saphyr::from_multiple(&text)?;
    match found.into_iter().find(|object| !object.is_null()) {
        Some(object) => documents.push(Document {
            text,
            after: object.clone(),
            before: object,
        }),
        None => *aside = text,
    }
    Ok(())
}

pub(super) fn join(texts: &[String]) -> String {
    let ended = texts.iter().map(|text| match text.as_str() {
        text if text.ends_with('\n') => text.to_owned(),
        text => format!("{text}\n"),
    });
    ended.collect::<Vec<_>>().join("---\n")
}

impl Document {
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

fn is_list(object: &Json) -> bool {
    object.get("kind") == Some(&json!("List"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_keep_their_text() {
        let text = "# Head\n---\n# A\na: 1\n--- # Source: b.yaml\nb: |\n  ---\n\n---\n";
        let documents = all(text).unwrap();
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

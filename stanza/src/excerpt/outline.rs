//! Which lines of a text belong to which key, told by indentation alone: the text need not be
//! YAML as a whole.

use super::{METADATA, STANZAS};
use crate::template::{Rendered, Unknown};

pub(super) struct Outline<'a> {
    rendered: &'a Rendered,
    /// The keys above and on each line; `None` for blank lines and comments.
    paths: Vec<Option<Vec<&'a str>>>,
    /// Blocks that may or may not be part of what is read.
    doubts: Vec<&'a Unknown>,
}

struct Level<'a> {
    indent: usize,
    key: &'a str,
}

impl<'a> Outline<'a> {
    pub(super) fn of(rendered: &'a Rendered) -> Self {
        let mut levels: Vec<Level<'a>> = Vec::new();
        let (mut paths, mut doubts) = (Vec::new(), Vec::new());
        for line in rendered.text.lines() {
            if let Some(block) = rendered.block_in(line)
                && concerns(block, &levels)
            {
                doubts.push(block);
            }
            let content = line.trim();
            if content.is_empty() || content.starts_with('#') {
                paths.push(None);
                continue;
            }
            let (indent, item) = shape(line);
            levels.retain(|level| level.indent < indent || (item && level.indent == indent));
            let mut path: Vec<&str> = levels.iter().map(|level| level.key).collect();
            if let Some(key) = key(content).filter(|_| !item) {
                levels.push(Level { indent, key });
                path.push(key);
            }
            paths.push(Some(path));
        }
        Self {
            rendered,
            paths,
            doubts,
        }
    }

    pub(super) fn doubts(&self) -> &[&'a Unknown] {
        &self.doubts
    }

    /// The text with every line blank that is not read; lines keep their numbers.
    pub(super) fn excerpt(&self) -> String {
        let flow = self.rendered.text.lines().any(|line| {
            line.strip_prefix("options:")
                .is_some_and(|value| value.trim_start().starts_with('{'))
        });
        let mut excerpt = String::new();
        for (line, path) in self.rendered.text.lines().zip(&self.paths) {
            if path.as_ref().is_some_and(|path| is_read(path, flow)) {
                excerpt.push_str(line);
            }
            excerpt.push('\n');
        }
        excerpt
    }
}

fn is_read(path: &[&str], flow: bool) -> bool {
    match path {
        ["entrances", ..] | ["metadata" | "options"] => true,
        ["metadata", key, ..] => METADATA.contains(key),
        ["options", key, ..] => flow || STANZAS.contains(key),
        _ => false,
    }
}

/// Whether a block that may be there would change what is read.
fn concerns(block: &Unknown, levels: &[Level<'_>]) -> bool {
    let lines = block
        .body
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with("{{"));
    let Some(first) = lines.clone().min_by_key(|line| shape(line).0) else {
        return false;
    };
    let (indent, item) = shape(first);
    let around: Vec<&str> = levels
        .iter()
        .filter(|level| level.indent < indent || (item && level.indent == indent))
        .map(|level| level.key)
        .collect();
    let brings = |names: &[&str]| {
        lines
            .clone()
            .filter_map(|line| key(line.trim()))
            .any(|key| names.contains(&key))
    };
    match around.as_slice() {
        ["entrances", ..] => true,
        ["options", key, ..] if STANZAS.contains(key) => true,
        ["options"] => brings(&STANZAS),
        ["metadata"] => brings(&METADATA),
        [] => brings(&["metadata", "entrances", "options"]),
        _ => false,
    }
}

/// How far a line is indented, and whether it begins an item of a list.
fn shape(line: &str) -> (usize, bool) {
    let content = line.trim_start();
    (
        line.len() - content.len(),
        content.starts_with("- ") || content == "-",
    )
}

fn key(content: &str) -> Option<&str> {
    let end = content.find(':')?;
    let rest = &content[end + 1..];
    if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
        return None;
    }
    let key = content[..end].trim().trim_matches(['"', '\'']);
    (!key.is_empty() && !key.contains(' ')).then_some(key)
}

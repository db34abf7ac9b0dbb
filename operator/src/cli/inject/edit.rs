//! A changed YAML document as its text with as few lines changed as can be (pure): comments,
//! order and layout of all else stay. Lines are inserted, replaced and taken out at the places
//! that the parser names; the result is parsed again and counts only if it says what it should.

use serde_json::{Map, Value as Json};
use stanza::node::{Key, Node, Value};

/// `None`: it cannot be done by lines, as where the whole document is on one.
pub(super) fn edit(text: &str, before: &Json, after: &Json) -> Option<String> {
    let node = Node::from_yaml(text).ok()?;
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut page = Page {
        lines: &lines,
        edits: Vec::new(),
    };
    page.change(&node, before, after, lines.len())?;
    let edited = page.written();
    let read = Node::from_yaml(&edited).ok()?;
    (read.to_json() == *after).then_some(edited)
}

struct Page<'a> {
    lines: &'a [&'a str],
    edits: Vec<Edit>,
}

/// Lines `from..to` make way for a text.
struct Edit {
    from: usize,
    to: usize,
    text: String,
}

/// Where an entry of a map or list stands.
#[derive(Clone, Copy)]
struct Place {
    /// Lines `from..to`, without the blank lines and comments after it.
    from: usize,
    to: usize,
    /// Where on its first line it begins, behind dashes.
    column: usize,
}

impl Page<'_> {
    /// `end` is the first line behind the node.
    fn change(&mut self, node: &Node, before: &Json, after: &Json, end: usize) -> Option<()> {
        match (&node.value, before, after) {
            _ if before == after => Some(()),
            (Value::Map(entries), Json::Object(before), Json::Object(after)) => {
                self.change_map(entries, before, after, end)
            }
            (Value::List(items), Json::Array(before), Json::Array(after)) => {
                self.change_list(items, before, after, end)
            }
            _ => None,
        }
    }

    fn change_map(
        &mut self,
        entries: &[(Key, Node)],
        before: &Map<String, Json>,
        after: &Map<String, Json>,
        end: usize,
    ) -> Option<()> {
        if after.is_empty() {
            return None;
        }
        let starts: Option<Vec<_>> = entries
            .iter()
            .map(|(key, _)| Some((line(key.position?.line)?, line(key.position?.column)?)))
            .collect();
        let places = self.places(&starts?, end)?;
        for ((key, node), place) in entries.iter().zip(&places) {
            let (Some(old), new) = (before.get(&key.name), after.get(&key.name)) else {
                return None;
            };
            let Some(new) = new else {
                self.take_out(*place)?;
                continue;
            };
            let kept = self.edits.len();
            if self.change(node, old, new, place.to).is_none() {
                // What stands on one line is written anew, and nothing around it.
                self.edits.truncate(kept);
                let text = block(&pair(&key.name, new), place.column)?;
                let head = self.lines.get(place.from)?.get(..place.column)?;
                let text = format!("{head}{}", text.get(place.column..)?);
                self.put(place.from, place.to, text);
            }
        }
        let added: Map<String, Json> = after
            .iter()
            .filter(|(key, _)| !before.contains_key(*key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        if !added.is_empty() {
            let last = places.last()?;
            self.put(last.to, last.to, block(&Json::Object(added), last.column)?);
        }
        Some(())
    }

    fn change_list(
        &mut self,
        items: &[Node],
        before: &[Json],
        after: &[Json],
        end: usize,
    ) -> Option<()> {
        if after.is_empty() {
            return None;
        }
        let starts: Option<Vec<_>> = items
            .iter()
            .map(|item| self.dash(line(item.position?.line)?))
            .collect();
        let places = self.places(&starts?, end)?;
        // One item is taken out, or items are appended; the others are where they were.
        let gone = (before.len() == after.len() + 1).then(|| {
            let same = before.iter().zip(after).take_while(|(old, new)| old == new);
            same.count()
        });
        let mut rest = after.iter();
        for (index, (item, old)) in items.iter().zip(before).enumerate() {
            if gone == Some(index) {
                self.take_out(places[index])?;
                continue;
            }
            self.change(item, old, rest.next()?, places[index].to)?;
        }
        let added: Vec<Json> = rest.cloned().collect();
        if !added.is_empty() {
            let last = places.last()?;
            self.put(last.to, last.to, block(&Json::Array(added), last.column)?);
        }
        Some(())
    }

    /// Entries in block style: each begins on a line of its own, all in one column.
    fn places(&self, starts: &[(usize, usize)], end: usize) -> Option<Vec<Place>> {
        let column = starts.first()?.1;
        let mut places = Vec::with_capacity(starts.len());
        for (index, &(from, at)) in starts.iter().enumerate() {
            let head = self.lines.get(from)?.get(..at)?;
            let alone = head.chars().all(|c| c == ' ' || (index == 0 && c == '-'));
            let mut to = starts.get(index + 1).map_or(end, |next| next.0);
            if !alone || at != column || to <= from {
                return None;
            }
            while to > from + 1 && is_aside(self.lines.get(to - 1)?) {
                to -= 1;
            }
            places.push(Place { from, to, column });
        }
        Some(places)
    }

    /// Where the dash before an item stands; the item may begin below it.
    fn dash(&self, item: usize) -> Option<(usize, usize)> {
        let text = self.lines.get(item)?;
        let column = text.len() - text.trim_start_matches(' ').len();
        text.get(column..)?
            .starts_with('-')
            .then_some((item, column))
    }

    fn take_out(&mut self, place: Place) -> Option<()> {
        let head = self.lines.get(place.from)?.get(..place.column)?;
        // Behind a dash: the item would begin with nothing.
        head.trim()
            .is_empty()
            .then(|| self.put(place.from, place.to, String::new()))
    }

    fn put(&mut self, from: usize, to: usize, text: String) {
        self.edits.push(Edit { from, to, text });
    }

    fn written(mut self) -> String {
        self.edits.sort_by_key(|edit| (edit.from, edit.to));
        let mut text = String::new();
        let mut next = 0;
        for edit in &self.edits {
            for line in self.lines.get(next..edit.from).unwrap_or_default() {
                text.push_str(line);
            }
            if !edit.text.is_empty() && !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(&edit.text);
            next = edit.to.max(next);
        }
        for line in self.lines.get(next..).unwrap_or_default() {
            text.push_str(line);
        }
        text
    }
}

/// A parser's line or column, which count from 1.
fn line(number: u64) -> Option<usize> {
    usize::try_from(number).ok()?.checked_sub(1)
}

/// Blank, or a comment: it belongs to what comes after it, or to nobody.
fn is_aside(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

fn pair(key: &str, value: &Json) -> Json {
    Json::Object(Map::from_iter([(key.to_owned(), value.clone())]))
}

/// A value as lines that begin in `column`.
fn block(value: &Json, column: usize) -> Option<String> {
    let text = serde_saphyr::to_string(value).ok()?;
    let indent = " ".repeat(column);
    let lines = text.lines().map(|line| match line {
        "" => "\n".to_owned(),
        line => format!("{indent}{line}\n"),
    });
    Some(lines.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(before: &str, change: impl FnOnce(&mut Json), expected: &str) {
        let old = Node::from_yaml(before).unwrap().to_json();
        let mut new = old.clone();
        change(&mut new);
        assert_eq!(edit(before, &old, &new).as_deref(), Some(expected));
    }

    #[test]
    fn what_is_added_goes_behind_its_siblings() {
        check(
            "# A\nspec: # B\n  list:\n  - name: a # C\n    x: 1\n\n  # D\n  other: {v: 1} # E\n",
            |object| {
                object["spec"]["list"]
                    .as_array_mut()
                    .unwrap()
                    .push(json!({"name": "b"}));
                object["spec"]["more"] = json!({"z": 2});
            },
            "# A\nspec: # B\n  list:\n  - name: a # C\n    x: 1\n  - name: b\n\n  # D\n  other: {v: 1} # E\n  more:\n    z: 2\n",
        );
    }

    #[test]
    fn what_stands_on_one_line_is_written_anew_alone() {
        check(
            "# A\na: {list: [1]} # B\n# C\nb: 1\n",
            |object| object["a"]["list"] = json!([1, 2]),
            "# A\na:\n  list:\n  - 1\n  - 2\n# C\nb: 1\n",
        );
        check(
            "- name: a\n  # A\n  empty:\n- b\n",
            |object| object[0]["empty"] = json!({"x": 1}),
            "- name: a\n  # A\n  empty:\n    x: 1\n- b\n",
        );
    }

    #[test]
    fn what_is_taken_out_takes_nothing_along() {
        check(
            "a:\n- x # A\n- y # B\n# C\n- z\nb: 1 # D\nc: 2\n",
            |object| {
                object["a"].as_array_mut().unwrap().remove(1);
                object.as_object_mut().unwrap().remove("b");
            },
            "a:\n- x # A\n# C\n- z\nc: 2\n",
        );
    }

    #[test]
    fn what_cannot_be_done_is_not_done() {
        let old = json!({"a": 1});
        assert_eq!(edit("{a: 1}", &old, &json!({"a": 1, "b": 2})), None);
    }
}

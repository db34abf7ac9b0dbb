//! Helm's templating in an OlaresManifest: the simple uses of values that manifests make.
//!
//! What is beyond it is not guessed at: the expression stays in the text as a mark, and who finds
//! a mark in a value that counts can say which expression it was and why.

mod evaluate;
mod parse;

use serde_json::Value as Json;

use crate::node::Position;
use evaluate::{COMPLETE, MOST_STEPS, Scope};
use parse::{Branch, Piece};

/// Around the number of an expression whose value is not known.
const MARK: char = '\u{e000}';
const END: char = '\u{e001}';
/// In front of the number of a block of which it is not known whether it is there.
const BLOCK: char = '\u{e002}';

/// A text with its expressions replaced.
#[derive(Debug)]
pub struct Rendered {
    pub text: String,
    /// For each line of `text` the line of the template that it begins in.
    lines: Vec<u64>,
    unknown: Vec<Unknown>,
}

/// An expression that could not be rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// As it stands in the template, in braces.
    pub expression: String,
    pub position: Position,
    /// The end of the sentence "cannot be rendered: …".
    pub why: String,
    /// What stands in the branches, if it is a block.
    pub body: String,
}

/// Bytes of a template, and of what it renders to.
const LONGEST: usize = 1 << 20;

/// Why a template is not rendered: whoever wrote it may be a stranger, and a manifest is a page
/// or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    #[error("the template is over 1 MiB")]
    Template,
    #[error("the template renders to more than 1 MiB")]
    Rendering,
    #[error("the template takes more than {MOST_STEPS} steps to render")]
    Steps,
}

/// Whether `text` has anything to render.
pub fn is_template(text: &str) -> bool {
    text.contains("{{")
}

/// Says of a context that its values are all there are.
pub fn set_complete(context: &mut Json) {
    context[COMPLETE] = Json::Bool(true);
}

/// `context` is what the dot means: `{"Values": …, "Release": …, "Chart": …}`.
pub fn render(text: &str, context: &Json) -> Result<Rendered, TooMuch> {
    if text.len() > LONGEST {
        return Err(TooMuch::Template);
    }
    let mut writer = Writer {
        rendered: Rendered {
            text: String::with_capacity(text.len()),
            lines: vec![1],
            unknown: Vec::new(),
        },
        scope: Scope::new(context),
    };
    writer.pieces(&parse::parse(text), context)?;
    Ok(writer.rendered)
}

// === impl Rendered ===

impl Rendered {
    /// Where in the template a place in the rendered text comes from.
    pub fn source(&self, at: Position) -> Position {
        let index = usize::try_from(at.line.saturating_sub(1)).unwrap_or(usize::MAX);
        let line = self.lines.get(index).copied().unwrap_or(at.line);
        Position { line, ..at }
    }

    /// The expressions whose marks stand in `text`.
    pub fn marks_in<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a Unknown> {
        let after = text.match_indices([MARK, BLOCK]);
        after.filter_map(|(start, mark)| {
            let rest = &text[start + mark.len()..];
            let number = &rest[..rest.find(END)?];
            self.unknown.get(number.parse::<usize>().ok()?)
        })
    }

    /// `text` with each mark replaced by its expression.
    pub fn unmark(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(start) = rest.find(MARK) {
            out.push_str(&rest[..start]);
            rest = &rest[start..];
            let Some(end) = rest.find(END) else { break };
            let found = self.marks_in(&rest[..end + END.len_utf8()]).next();
            out.push_str(found.map_or("", |unknown| &unknown.expression));
            rest = &rest[end + END.len_utf8()..];
        }
        out.push_str(rest);
        out
    }

    /// The block whose mark is this line.
    pub fn block_in(&self, line: &str) -> Option<&Unknown> {
        let start = line.find(BLOCK)? + BLOCK.len_utf8();
        let number = &line[start..start + line[start..].find(END)?];
        self.unknown.get(number.parse::<usize>().ok()?)
    }
}

// === Writer ===

struct Writer<'a> {
    rendered: Rendered,
    scope: Scope<'a>,
}

impl Writer<'_> {
    fn pieces(&mut self, pieces: &[Piece<'_>], dot: &Json) -> Result<(), TooMuch> {
        for piece in pieces {
            self.scope.step(0).map_err(|_| TooMuch::Steps)?;
            match piece {
                Piece::Text { text, line } => self.text(text, *line),
                Piece::Action { expression, at } => match self.scope.run(expression, dot) {
                    Ok(text) => self.text(&text, at.line),
                    Err(why) => self.mark(expression, *at, why),
                },
                Piece::Choice { branches, source } => self.choice(branches, source, dot)?,
                Piece::Opaque {
                    expression,
                    at,
                    source,
                    why,
                } => self.block(expression, *at, (*why).to_owned(), source),
            }
            if self.scope.is_exhausted() {
                return Err(TooMuch::Steps);
            }
            if self.rendered.text.len() > LONGEST {
                return Err(TooMuch::Rendering);
            }
        }
        Ok(())
    }

    /// The first branch whose condition holds; none is written if that is not known.
    fn choice(&mut self, branches: &[Branch<'_>], source: &str, dot: &Json) -> Result<(), TooMuch> {
        for branch in branches {
            let Some(condition) = branch.condition else {
                return self.pieces(&branch.body, dot);
            };
            match self.scope.value(condition.expression, dot) {
                Ok(value) if !evaluate::truth(&value) => {}
                Ok(value) if condition.with => return self.pieces(&branch.body, &value),
                Ok(_) => return self.pieces(&branch.body, dot),
                Err(why) => {
                    self.block(condition.whole, condition.at, why, source);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn text(&mut self, text: &str, line: u64) {
        if text.is_empty() {
            return;
        }
        if self.rendered.text.is_empty() || self.rendered.text.ends_with('\n') {
            self.here(line);
        }
        for (after, _) in (line + 1..).zip(text.matches('\n')) {
            self.rendered.lines.push(after);
        }
        self.rendered.text.push_str(text);
    }

    /// What comes next on this line comes from `line` of the template.
    fn here(&mut self, line: u64) {
        if let Some(last) = self.rendered.lines.last_mut() {
            *last = line;
        }
    }

    fn mark(&mut self, expression: &str, at: Position, why: String) {
        let number = self.unknown(expression, at, why, "");
        self.text(&format!("{MARK}{number}{END}"), at.line);
    }

    /// A comment on a line of its own; within a line, a mark.
    fn block(&mut self, expression: &str, at: Position, why: String, source: &str) {
        let number = self.unknown(expression, at, why, source);
        if source.contains('\n') {
            let line = self.rendered.text.lines().next_back().unwrap_or_default();
            if !self.rendered.text.ends_with('\n') && !line.trim().is_empty() {
                self.text("\n", at.line);
            }
            self.text(&format!("#{BLOCK}{number}{END}\n"), at.line);
        } else {
            self.text(&format!("{MARK}{number}{END}"), at.line);
        }
    }

    fn unknown(&mut self, expression: &str, position: Position, why: String, body: &str) -> usize {
        self.rendered.unknown.push(Unknown {
            // In one spelling, whatever the template's.
            expression: format!("{{{{ {} }}}}", expression.trim()),
            position,
            why,
            body: body.to_owned(),
        });
        self.rendered.unknown.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(template: &str, expected: &str) {
        let context = json!({
            "Values": {
                "port": 8888, "path": "/ws", "on": true, "off": false, "user": {"name": "alice"},
                "list": [1], "big": 12_345_678, "empty": "",
            },
            "Release": {"Name": "chat", "Namespace": "chat-alice"},
        });
        let rendered = render(template, &context).unwrap();
        assert_eq!(rendered.unmark(&rendered.text), expected, "{rendered:?}");
    }

    #[test]
    fn values_are_put_in() {
        check("port: {{ .Values.port }}", "port: 8888");
        check("{{.Release.Name}}-svc", "chat-svc");
        check("{{ .Values.user.name | quote }}", "\"alice\"");
        check("{{ quote .Values.port }}", "\"8888\"");
        check("{{ $.Values.path | squote }}", "'/ws'");
        check("{{ printf \"%s-%d\" .Release.Name 7 }}", "chat-7");
        check("{{ .Values.user.name | upper | trunc 2 }}", "AL");
    }

    #[test]
    fn a_default_stands_in_for_what_is_missing_or_empty() {
        check("{{ .Values.none | default 8080 }}", "8080");
        check("{{ default \"a b\" .Values.empty }}", "a b");
        check("{{ .Values.port | default 1 }}", "8888");
        check("{{ (.Values.deep).none | default `x` }}", "x");
    }

    #[test]
    fn blocks_are_chosen() {
        check("{{ if .Values.on }}a{{ else }}b{{ end }}", "a");
        check(
            "{{ if .Values.off }}a{{ else if .Values.on }}b{{ end }}",
            "b",
        );
        check(
            "{{ if eq .Values.user.name \"bob\" \"alice\" }}a{{ end }}",
            "a",
        );
        check("{{ if and .Values.on (not .Values.off) }}a{{ end }}", "a");
        check(
            "{{ with .Values.user }}{{ .name }}{{ $.Release.Name }}{{ end }}",
            "alicechat",
        );
        check("{{ $p := .Values.port }}{{ $p }}", "8888");
    }

    #[test]
    fn comparisons_and_places_are_as_in_helm() {
        check("{{ if gt .Values.port 80 }}a{{ else }}b{{ end }}", "a");
        check(
            "{{ if lt (int .Values.port) 80 }}a{{ else }}b{{ end }}",
            "b",
        );
        check(
            "{{ if ge \"b\" \"a\" }}a{{ end }}{{ if le 2 2 }}b{{ end }}",
            "ab",
        );
        check("{{ index .Values \"user\" \"name\" }}", "alice");
        check(
            "{{ index .Values.list 0 }}{{ get .Values.user \"name\" }}",
            "1alice",
        );
        check("{{ index .Values \"none\" | default 7 }}", "7");
        check("{{ if hasKey .Values \"user\" }}a{{ end }}", "a");
        check("{{ if or .Values.off .Values.on }}a{{ end }}", "a");
    }

    #[test]
    fn what_is_not_among_all_values_is_nowhere() {
        let mut context = json!({"Values": {"a": {}, "on": true}, "Release": {"Name": "chat"}});
        let rendered = |template: &str, context: &Json| {
            let rendered = render(template, context).unwrap();
            rendered.unmark(&rendered.text)
        };
        let shapes = [
            ("{{ if .Values.a.b }}x{{ else }}y{{ end }}", "y"),
            ("{{ if not $.Values.none }}x{{ end }}", "x"),
            ("{{ if empty .Values.none }}x{{ end }}", "x"),
            ("{{ or .Values.none .Values.on }}", "true"),
            (
                "{{ if or .Values.a.b .Values.none }}x{{ else }}y{{ end }}",
                "y",
            ),
            (
                "{{ if and .Values.on .Values.none }}x{{ else }}y{{ end }}",
                "y",
            ),
            ("{{ if hasKey .Values.a \"b\" }}x{{ else }}y{{ end }}", "y"),
        ];
        for (template, _) in shapes {
            // Of a chart that nobody has installed not all values are known.
            assert!(rendered(template, &context).contains("{{"), "{template}");
        }
        set_complete(&mut context);
        for (template, expected) in shapes {
            assert_eq!(rendered(template, &context), expected, "{template}");
        }
        // Helm writes "<no value>"; what the release does not tell is not guessed.
        for template in [
            "{{ .Values.none }}",
            "{{ if .Release.IsInstall }}x{{ end }}",
            "{{ if .Capabilities.x }}x{{ end }}",
        ] {
            assert!(rendered(template, &context).contains("{{"), "{template}");
        }
    }

    #[test]
    fn dashes_trim_as_in_go() {
        check(
            "a\n  {{- if .Values.on }}\n  b: 1\n  {{- end }}\nc",
            "a\n  b: 1\nc",
        );
        check("a {{/* words */ -}} \n b", "a b");
    }

    #[test]
    fn what_is_not_known_is_said_and_not_guessed() {
        check("x: {{.Values.none}}", "x: {{ .Values.none }}");
        check("{{ include \"a\" . }}", "{{ include \"a\" . }}");
        check("{{ .Values.user }}", "{{ .Values.user }}");
        check("{{ .Values.big }}", "{{ .Values.big }}");
        let rendered = render("a\n {{ .Values.none }}", &json!({"Values": {}})).unwrap();
        let found = rendered.marks_in(&rendered.text).next().unwrap();
        assert_eq!(found.position, Position { line: 2, column: 2 });
        assert_eq!(found.why, ".Values.none is not among the values");
    }

    #[test]
    fn a_block_that_may_be_there_is_a_comment() {
        let text = "a: 1\n{{- if .Values.none }}\nb: 2\n{{- end }}\nc: 3\n";
        let rendered = render(text, &json!({"Values": {}})).unwrap();
        let block = rendered
            .text
            .lines()
            .find_map(|line| rendered.block_in(line));
        assert_eq!(block.unwrap().expression, "{{ if .Values.none }}");
        assert!(rendered.text.ends_with("c: 3\n"));
        let at = |line| rendered.source(Position { line, column: 1 }).line;
        let last = u64::try_from(rendered.text.lines().count()).unwrap();
        assert_eq!((at(1), at(last)), (1, 5));
    }

    #[test]
    fn broken_templates_are_read_as_far_as_they_go() {
        check("a {{ b", "a {{ b");
        check("a {{ end }} b", "a {{ end }} b");
        check("{{ }}", "{{  }}");
        for text in [
            "{{",
            "{{}}",
            "{{-}}",
            "{{ if }}",
            "{{ else }}",
            "{{ . | }}",
            "{{ ( }}",
            "{{ \" }}",
            "{{ $ }}",
        ] {
            render(text, &json!({})).unwrap();
        }
    }

    #[test]
    fn a_value_does_not_grow_beyond_64_kib() {
        let double = "{{ $a = printf \"%s%s\" $a $a }}";
        let text = format!(
            "{{{{ $a := \"xxxxxxxxxxxxxxxx\" }}}}{}{{{{ $a }}}}",
            double.repeat(40)
        );
        let rendered = render(&text, &json!({})).unwrap();
        let why = &rendered.marks_in(&rendered.text).next().unwrap().why;
        assert_eq!(why, "$a has no known value");
        for bomb in [
            "{{ printf \"%s%s\" .Values.half .Values.half }}",
            "{{ replace \"\" .Values.half .Values.half }}",
            "{{ replace \"x\" .Values.half .Values.half }}",
            "{{ .Values.lists | quote }}",
            "{{ if .Values.lists }}a{{ end }}",
        ] {
            let half = "x".repeat(40 << 10);
            let values = json!({"half": half, "lists": vec![json!([]); 10_000]});
            let rendered = render(bomb, &json!({"Values": values})).unwrap();
            let found = rendered.marks_in(&rendered.text).next().expect(bomb);
            assert_eq!(found.why, "its value is over 64 KiB", "{bomb}");
        }
    }

    #[test]
    fn variables_are_not_a_place_to_hoard() {
        let text: Vec<_> = (0..17).map(|n| format!("{{{{ $v{n} := `x` }}}}")).collect();
        let rendered = render(&text.concat(), &json!({})).unwrap();
        let why = &rendered.marks_in(&rendered.text).next().unwrap().why;
        assert_eq!(why, "there are over 16 variables");
    }

    #[test]
    fn a_rendering_ends_at_a_mebibyte_and_at_ten_thousand_steps() {
        let context = json!({"Values": {"text": "x".repeat(60 << 10)}});
        let long = "{{ .Values.text }}".repeat(20);
        assert_eq!(render(&long, &context).unwrap_err(), TooMuch::Rendering);
        let many = "{{ .Values.none }}".repeat(6000);
        assert_eq!(render(&many, &context).unwrap_err(), TooMuch::Steps);
        let within = format!("{{{{ `x` {} }}}}", "| upper".repeat(20_000));
        assert_eq!(render(&within, &context).unwrap_err(), TooMuch::Steps);
        let text = "{{ `x` }}".repeat(120_000);
        assert_eq!(render(&text, &context).unwrap_err(), TooMuch::Template);
    }
}

//! `ws-operator lint`: what is wrong with a manifest, with line and column.

mod exposed;
mod objects;
mod sarif;
mod scaled;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Value as Json, json};
use stanza::Manifest;
use stanza::excerpt::STANZAS;
use stanza::node::{Node, Position};
use stanza::problem::{Problem, Report, Severity};
use stanza::settings::join;

use super::Output;
use super::chart::{Release, Source};
use exposed::Beside;

/// Check manifests: charts, OlaresManifest.yaml files, AppManifests, labelled workloads
///
/// Nothing is changed and no cluster is asked. Ends with 1 where there is an error.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ws-operator lint ./chat\n  ws-operator lint -f values.yaml ./chat\n  ws-operator lint -o sarif charts/* >lint.sarif\n\nThe keys and what is allowed: docs/settings.md."
)]
pub(super) struct Arguments {
    /// Charts' folders or packages (.tgz), OlaresManifest.yaml files, files with Kubernetes objects, or - for standard input
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    release: Release,
    /// How findings are written
    #[arg(long, short, default_value = "text")]
    output: Format,
    /// End with 1 where there is a warning, too
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
    Sarif,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Output> {
    let mut problems = Vec::new();
    let sources: Vec<Source> = arguments
        .paths
        .iter()
        .map(|path| Source::read(path, &arguments.release))
        .collect::<Result<_, _>>()?;
    let beside = Beside::read(&sources);
    for source in &sources {
        problems.extend(match objects::of(source) {
            Ok(Some(objects)) => objects::check(&source.file, &objects, &beside),
            Ok(None) => manifest(source, &beside),
            Err(error) => {
                let mut report = Report::new(&source.file);
                report.syntax(&error);
                report.finish().into_iter().collect()
            }
        });
    }
    let failed = problems
        .iter()
        .any(|problem| arguments.strict || problem.severity == Severity::Error);
    let text = match arguments.output {
        Format::Text => lines(&problems),
        Format::Json => format!("{:#}\n", problems.iter().map(json).collect::<Json>()),
        Format::Sarif => format!("{:#}\n", sarif::report(&problems)),
    };
    Ok(Output { text, failed })
}

/// A chart's OlaresManifest.yaml.
fn manifest(source: &Source, beside: &Beside) -> Vec<Problem> {
    let excerpt = source.excerpt();
    let mut problems: Vec<Problem> = excerpt.problems.into_iter().collect();
    if let Some(root) = &excerpt.root {
        let rendered = problems.clone();
        let known = |problem: &Problem| rendered.iter().all(|other| other.path != problem.path);
        problems.extend(
            validate(&source.file, "", root, beside)
                .into_iter()
                .filter(known),
        );
    }
    problems
}

fn validate(file: &str, field: &str, root: &Node, beside: &Beside) -> Vec<Problem> {
    let has_stanza = root
        .get("options")
        .is_some_and(|options| STANZAS.iter().any(|key| options.get(key).is_some()));
    let problems = match Manifest::from_node(file, field, root) {
        Ok(manifest) if has_stanza && manifest.entrances.is_empty() => {
            let mut problems: Vec<Problem> = manifest.warnings.into_iter().collect();
            problems.push(Problem {
                severity: Severity::Warning,
                source: file.to_owned(),
                position: root.position,
                path: "entrances".to_owned(),
                message: "missing; cannot tell which pods need the gateway".to_owned(),
            });
            return problems;
        }
        Ok(manifest) => {
            let told = beside.can_post(&manifest).into_iter();
            let told = told
                .chain(beside.several(&manifest))
                .map(|message| Problem {
                    severity: Severity::Warning,
                    source: file.to_owned(),
                    position: place_of_port(root),
                    path: join(field, "options.websocket.port"),
                    message,
                });
            return manifest.warnings.into_iter().chain(told).collect();
        }
        Err(problems) => problems,
    };
    problems.into_iter().collect()
}

fn place_of_port(root: &Node) -> Option<Position> {
    let options = root.get("options")?;
    let mut stanzas = STANZAS.iter().filter_map(|key| options.get(key));
    stanzas.next()?.get("port")?.position
}

fn lines(problems: &[Problem]) -> String {
    let lines = problems.iter().map(ToString::to_string);
    lines.flat_map(|line| [line, "\n".to_owned()]).collect()
}

fn json(problem: &Problem) -> Json {
    json!({
        "severity": severity(problem),
        "file": problem.source,
        "line": problem.position.map(|at| at.line),
        "column": problem.position.map(|at| at.column),
        "path": problem.path,
        "message": problem.message,
    })
}

/// In the words of SARIF, which are ours too.
fn severity(problem: &Problem) -> &'static str {
    match problem.severity {
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

//! Tables: Markdown for people, JSON for programs.

mod json;
mod markdown;
pub(crate) mod spread;

use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::load::Metrics;
use crate::run::Results;

pub(crate) fn write(results: &Results, out: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(out).with_context(|| format!("{} cannot be made", out.display()))?;
    let text = markdown::render(results);
    fs::write(out.join("latest.md"), &text)?;
    fs::write(out.join("latest.json"), json::render(results)?)?;
    eprintln!("\n{text}");
    Ok(())
}

/// Metrics on one line, for progress.
pub(crate) fn line(metrics: &Metrics) -> String {
    let parts: Vec<_> = metrics
        .iter()
        .map(|(name, value)| format!("{name} {}", number(*value)))
        .collect();
    parts.join(", ")
}

/// Three digits are all there is to say.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 1_000.0 => format!("{value:.0}"),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

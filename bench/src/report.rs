//! Tables: Markdown for people, JSON for programs.

mod chart;
mod json;
mod markdown;
mod marks;
pub(crate) mod spread;

use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::load::Metrics;
use crate::run::Results;

/// Into a folder named by the date: the tables, every sample, and a chart of each load. Loads
/// that were measured on that day before and not now stay as they are.
pub(crate) fn write(mut results: Results, out: &Path) -> anyhow::Result<()> {
    let dir = out.join(&results.machine.date);
    fs::create_dir_all(&dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    let samples = dir.join("samples.json");
    if let Ok(earlier) = fs::read_to_string(&samples) {
        let earlier = json::read(&earlier).with_context(|| samples.display().to_string())?;
        results.keep(earlier);
    }
    let text = markdown::render(&results);
    fs::write(dir.join("README.md"), &text)?;
    fs::write(samples, json::render(&results)?)?;
    for load in results.loads() {
        if let Some(svg) = chart::render(&results, load) {
            fs::write(dir.join(chart::file(load)), svg)?;
        }
    }
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

//! The tables in Markdown.

use std::fmt::Write as _;

use super::marks::Standing;
use super::spread::Spread;
use super::{chart, number};
use crate::load::Load;
use crate::peer::Peer;
use crate::run::Results;

pub(super) fn render(results: &Results) -> String {
    let mut text = String::from("# Measurements\n\n");
    let machine = &results.machine;
    let _ = writeln!(
        text,
        "{}, Linux {}, {} cores (server on core {}, load on core {}), {}, {} interleaved run{}{}.\n",
        machine.cpu,
        machine.kernel,
        machine.cores,
        machine.server_core,
        machine.load_core,
        machine.date,
        results.runs,
        if results.runs == 1 { "" } else { "s" },
        if results.quick { ", quick" } else { "" },
    );
    text.push_str(
        "CPU is user and system time of the server's processes, in µs per operation; latencies are in ms; \
         figures are medians with (min–max). *Ratio* is the gateway's figure over the peer's in the same run: below 1 the gateway is cheaper.\n",
    );
    marks(&mut text, results);
    for load in results.loads() {
        table(&mut text, results, load);
    }
    if !results.skipped.is_empty() {
        text.push_str("\n## Left out\n\n");
        for (what, why) in &results.skipped {
            let _ = writeln!(text, "- {what}: {}", why.lines().next().unwrap_or_default());
        }
    }
    text
}

fn marks(text: &mut String, results: &Results) {
    let standings = Standing::all(results);
    if standings.is_empty() {
        return;
    }
    text.push_str("\n## Marks\n\n| | at most | measured | |\n|---|---|---|---|\n");
    for standing in standings {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            standing.mark.what,
            number(standing.mark.limit),
            cell(standing.spread, 1.0),
            if standing.met() { "met" } else { "**not met**" },
        );
    }
}

fn table(text: &mut String, results: &Results, load: Load) {
    let columns = load.columns();
    let _ = writeln!(text, "\n## {}\n\n{}\n", load.name(), load.about());
    let averages = results.samples.iter().filter(|sample| sample.load == load);
    let averages = Spread::of(averages.map(|sample| sample.load_average).collect());
    let _ = writeln!(
        text,
        "![{}]({}) *Load average of the machine meanwhile: {}.*\n",
        load.name(),
        chart::file(load),
        averages.map_or_else(String::new, |averages| cell(averages, 1.0)),
    );
    let heads: Vec<_> = columns.iter().map(|column| column.head).collect();
    let _ = writeln!(text, "| | {} | ratio |", heads.join(" | "));
    let _ = writeln!(text, "|---|{}---|", "---|".repeat(heads.len()));
    for peer in Peer::ALL {
        if !results
            .samples
            .iter()
            .any(|sample| sample.load == load && sample.peer == peer)
        {
            continue;
        }
        let _ = write!(text, "| {} |", peer.name());
        for column in columns {
            let cell = results
                .spread(load, peer, column.metric)
                .map_or_else(|| "–".to_owned(), |s| cell(s, column.scale));
            let _ = write!(text, " {cell} |");
        }
        let ratio = results.ratio(load, columns[0].metric, Peer::Gateway, peer);
        let _ = writeln!(
            text,
            " {} |",
            ratio.map_or_else(|| "–".to_owned(), |ratio| cell(ratio, 1.0))
        );
    }
}

fn cell(spread: Spread, scale: f64) -> String {
    let Spread { min, median, max } = spread;
    if min.total_cmp(&max).is_eq() {
        return number(median * scale);
    }
    format!(
        "{} ({}–{})",
        number(median * scale),
        number(min * scale),
        number(max * scale)
    )
}

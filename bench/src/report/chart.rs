//! A chart of a load: a bar for each server's median, a line from its least to its most.

use std::fmt::Write as _;

use super::number;
use super::spread::Spread;
use crate::load::Load;
use crate::peer::Peer;
use crate::run::Results;

const WIDTH: f64 = 720.0;
const LABEL: f64 = 110.0;
const VALUE: f64 = 150.0;
const ROW: f64 = 30.0;
const HEAD: f64 = 40.0;

pub(super) fn render(results: &Results, load: Load) -> Option<String> {
    let column = load.columns().first()?;
    let figure = |peer| Some((peer, results.spread(load, peer, column.metric)?));
    let bars: Vec<(Peer, Spread)> = Peer::ALL.into_iter().filter_map(figure).collect();
    let most = bars
        .iter()
        .map(|(_, spread)| spread.max)
        .fold(0.0, f64::max);
    if most <= 0.0 {
        return None;
    }
    let title = format!("{}: {}", load.name(), column.head);
    let scaled = bars.iter().map(|(peer, spread)| (peer.name(), *spread));
    Some(draw(&title, scaled, most, column.scale))
}

fn draw(
    title: &str,
    bars: impl ExactSizeIterator<Item = (&'static str, Spread)>,
    most: f64,
    scale: f64,
) -> String {
    let height = HEAD + ROW * bars.len() as f64 + 10.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\" role=\"img\">\n\
         <title>{title}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"10\" y=\"24\" font-size=\"15\" font-weight=\"600\">{title}</text>\n"
    );
    let room = WIDTH - LABEL - VALUE;
    for (row, (name, spread)) in bars.enumerate() {
        let top = HEAD + ROW * row as f64;
        let (text, middle) = (top + 17.0, top + 12.0);
        let at = |value: f64| LABEL + room * value.max(0.0) / most;
        let (median, least, most) = (at(spread.median), at(spread.min), at(spread.max));
        let fill = if name == Peer::Gateway.name() {
            "#2563eb"
        } else {
            "#94a3b8"
        };
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"{text}\" text-anchor=\"end\">{name}</text>\
             <rect x=\"{LABEL}\" y=\"{top}\" width=\"{width:.1}\" height=\"24\" fill=\"{fill}\"/>\
             <path d=\"M{least:.1} {middle}H{most:.1}\" stroke=\"#0f172a\" stroke-width=\"1.5\"/>\
             <text x=\"{after:.1}\" y=\"{text}\">{figure}</text>",
            x = LABEL - 8.0,
            width = median - LABEL,
            after = most.max(median) + 8.0,
            figure = number(spread.median * scale),
        );
    }
    svg + "</svg>\n"
}

/// The file a load's chart is in.
pub(super) fn file(load: Load) -> String {
    format!("{}.svg", load.name().replace(' ', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_line_ends_where_the_figures_begin() {
        let spread = Spread {
            min: 1.0,
            median: 2.0,
            max: 4.0,
        };
        let svg = draw("a load", [("ws-gateway", spread)].into_iter(), 4.0, 1.0);
        assert!(svg.contains("M225.0 52H570.0"), "{svg}");
        assert!(svg.contains("width=\"230.0\""), "{svg}");
        assert!(svg.contains(">2.00</text>"), "{svg}");
    }
}

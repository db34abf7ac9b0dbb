//! The operator's metrics are those that its page lists.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

#[path = "../../sidecar/tests/support/parsers.rs"]
mod parsers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use telemetry::exposition::Format;
use tokio::sync::watch;
use ws_operator::cluster::Cluster;
use ws_operator::events::Notices;
use ws_operator::metrics::{Certificate, Metrics, TurnedAway, Watched};
use ws_operator::reason::Reason;

#[test]
fn the_page_lists_every_metric_and_its_type() {
    let metrics = Metrics::new(Watched {
        cluster: Arc::new(Cluster::default()),
        queue: Arc::default(),
        notices: Notices::nowhere(),
        leading: watch::Sender::new(true).subscribe(),
    });
    // What has labels is exported once it was counted.
    metrics.admitted("skip", Reason::NoApp);
    metrics.rolled(Reason::RollBare);
    metrics.reconciled(true, Duration::ZERO);
    metrics.expires(Certificate::Leaf, 0);
    metrics.turned_away(TurnedAway::Late);
    let text = metrics.write(Format::OpenMetrics);
    parsers::open_metrics(&text);
    parsers::promtool(&metrics.write(Format::Text));
    let exported: BTreeMap<String, String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| {
            let end = match kind {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            (format!("{name}{end}"), kind.to_owned())
        })
        .collect();
    let page = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/operator/observability.md"
    );
    let page = std::fs::read_to_string(page).unwrap();
    let listed: BTreeMap<String, String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `ws_operator_"))
        .filter_map(|rest| {
            let mut cells = rest.split('|').map(str::trim);
            let name = cells.next()?.trim_matches('`');
            Some((format!("ws_operator_{name}"), cells.next()?.to_owned()))
        })
        .collect();
    assert_eq!(exported, listed);
}

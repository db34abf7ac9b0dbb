//! The gateway's metrics are those that its page lists.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

use std::collections::BTreeMap;

use http::StatusCode;
use stanza::secret::SecretUse;
use ws_gateway::metrics::{AdminCall, Metrics};
use ws_gateway::ws::CloseReason;

#[test]
fn the_page_lists_every_metric_and_its_type() {
    let metrics = Metrics::new(Some(&ws_gateway::journal::JournalMetrics::default()));
    // What has labels is exported once it was counted.
    metrics.refused("limit");
    metrics.closed(&CloseReason::Vanished);
    metrics.admin(AdminCall::Send, StatusCode::OK);
    metrics.secret_usable(SecretUse::AdminToken, true);
    metrics.token("valid");
    metrics.keys_read(true);
    let text = metrics.render(0);
    // A parser that is strict takes a name's type once.
    for kind in ["# TYPE ", "# HELP "] {
        let mut names: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix(kind)?.split(' ').next())
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "{text}");
    }
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
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operator.md");
    let page = std::fs::read_to_string(page).unwrap();
    let listed: BTreeMap<String, String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `ws_gateway_"))
        .filter_map(|rest| {
            let mut cells = rest.split('|').map(str::trim);
            let name = cells.next()?.trim_matches('`');
            Some((format!("ws_gateway_{name}"), cells.next()?.to_owned()))
        })
        .collect();
    assert_eq!(exported, listed);
}

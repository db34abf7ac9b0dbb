//! The gateway's metrics are those that its page lists.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use ::http::StatusCode;
use stanza::secret::SecretUse;
use support::{App, Client, Gateway, http, parsers};
use telemetry::exposition::Format;
use ws_gateway::callback::Action;
use ws_gateway::metrics::{
    AdminCall, CallbackResult, MessageType, Metrics, RefusalReason, TokenResult,
};
use ws_gateway::protocol::CloseReason;

/// All that can be counted, once: what has labels is exported then.
fn metrics() -> Metrics {
    let metrics = Metrics::new(Some(&ws_gateway::journal::JournalMetrics::default()));
    let reason = || Box::from("");
    for reason in [
        CloseReason::Client {
            code: 1000,
            reason: reason(),
        },
        CloseReason::Abnormal,
        CloseReason::App {
            code: 1000,
            reason: reason(),
        },
        CloseReason::Shutdown { code: 1001 },
        CloseReason::Protocol(""),
        CloseReason::InvalidText,
        CloseReason::TooBig,
        CloseReason::Unfinished,
        CloseReason::RateLimit,
        CloseReason::OpenFailed,
        CloseReason::Refused { code: 1011 },
        CloseReason::AppUnreachable,
        CloseReason::SlowReader,
        CloseReason::Overloaded,
        CloseReason::PingTimeout,
        CloseReason::TokenExpired,
    ] {
        metrics.closed(&reason);
    }
    for reason in RefusalReason::ALL {
        metrics.refused(reason);
    }
    for call in AdminCall::ALL {
        metrics.admin(call, StatusCode::OK);
    }
    for token in TokenResult::ALL {
        metrics.token(token);
    }
    for secret in [SecretUse::CallbackSigning, SecretUse::AdminToken] {
        metrics.secret_usable(secret, true);
    }
    for kind in MessageType::ALL {
        metrics.received(kind, 1);
    }
    for result in CallbackResult::ALL {
        metrics.callback(Action::Open, result);
    }
    metrics.keys_read(true);
    metrics.keys_read(false);
    metrics
}

/// The rows of the page: a metric, its type, its labels.
fn rows() -> Vec<[String; 3]> {
    let page = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/operator/observability.md"
    );
    let page = std::fs::read_to_string(page).unwrap();
    page.lines()
        .filter(|line| line.starts_with("| `ws_gateway_"))
        .map(|line| {
            let mut cells = line.split('|').skip(1).map(|cell| cell.trim().to_owned());
            let name = cells.next().unwrap().trim_matches('`').to_owned();
            [name, cells.next().unwrap(), cells.next().unwrap()]
        })
        .collect()
}

#[test]
fn the_page_lists_every_value_of_each_label() {
    /// Of these there are as many as there are answers.
    const OPEN: [&str; 2] = ["code", "le"];
    let text = metrics().write(Format::Text, 0);
    let mut exported = BTreeMap::<String, BTreeMap<String, BTreeSet<String>>>::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, rest)) = line.split_once('{') else {
            continue;
        };
        let name = name.trim_end_matches("_bucket");
        if name.ends_with("_sum") || name.ends_with("_count") {
            continue;
        }
        let labels = rest.split_once('}').unwrap().0;
        for label in labels.split(',') {
            let (label, value) = label.split_once('=').unwrap();
            if !OPEN.contains(&label) {
                let labels = exported.entry(name.to_owned()).or_default();
                let values = labels.entry(label.to_owned()).or_default();
                values.insert(value.trim_matches('"').to_owned());
            }
        }
    }
    let listed = rows().into_iter().filter_map(|[name, _, labels]| {
        let labels = labels.split(';').filter_map(|label| {
            let (label, values) = label.trim().split_once(": ")?;
            let values = values.split(", ").map(str::to_owned).collect();
            Some((label.trim_matches('`').to_owned(), values))
        });
        let labels: BTreeMap<_, _> = labels.collect();
        (!labels.is_empty()).then_some((name, labels))
    });
    assert_eq!(exported, listed.collect());
}

#[test]
fn the_page_lists_every_metric_and_its_type() {
    let text = metrics().write(Format::OpenMetrics, 0);
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
    let listed = rows().into_iter().map(|[name, kind, _]| (name, kind));
    assert_eq!(exported, listed.collect());
}

/// As a scraper gets it from a gateway at work.
#[tokio::test]
async fn others_parsers_read_what_is_served() {
    let mut app = App::start().await;
    let gateway = Gateway::start(&app).await;
    let (mut client, _) = Client::open(&gateway, &mut app).await;
    client.send("1").await;
    app.next_of("message").await;
    http::get(gateway.clients, "/ws").await;
    gateway.list("").await;
    let open_metrics = "application/openmetrics-text; version=1.0.0";
    for (accept, kind) in [
        (
            open_metrics,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        ("text/plain", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
    ] {
        let headers = [("Accept", accept)];
        let scraped = http::call(gateway.ops, "GET", "/metrics", &headers, b"").await;
        assert_eq!(scraped.header("content-type"), Some(kind), "{accept}");
        let text = scraped.text();
        assert!(
            text.contains("ws_gateway_messages_received_total{type=\"json\"} 1"),
            "{text}"
        );
        if accept == open_metrics {
            parsers::open_metrics(&text);
        } else {
            parsers::promtool(&text);
        }
    }
}

/// And with every label there can be.
#[test]
fn others_parsers_read_all_of_it() {
    parsers::open_metrics(&metrics().write(Format::OpenMetrics, 0));
    parsers::promtool(&metrics().write(Format::Text, 0));
}

//! SECURITY.md against the tests: a claim without a test that shows it is only a wish.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

use std::collections::BTreeSet;
use std::path::Path;

/// The lines of the tables of claims: what is claimed, and what shows it.
fn claims(page: &str) -> Vec<(&str, &str)> {
    let tables = page.split("| claim | shown by |").skip(1);
    tables
        .flat_map(|table| {
            table
                .lines()
                .skip(2)
                .take_while(|line| line.starts_with('|'))
        })
        .map(|line| line.trim_matches('|').rsplit_once('|').unwrap())
        .map(|(claim, shown)| (claim.trim(), shown.trim()))
        .collect()
}

/// What stands between backticks and looks like `file::test`.
fn named_tests(text: &str) -> Vec<(&str, &str)> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|name| name.split_once("::"))
        .collect()
}

#[test]
fn every_claim_names_tests_that_exist() {
    let sidecar = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(sidecar.join("../SECURITY.md")).unwrap();
    let claims = claims(&page);
    assert!(
        claims.len() >= 25,
        "only {} claims were found",
        claims.len()
    );
    for (claim, shown) in claims {
        assert!(!named_tests(shown).is_empty(), "nothing shows: {claim}");
    }
    let mut missing = BTreeSet::new();
    for (file, test) in named_tests(&page) {
        // The operator's are named by their path from the root.
        let path = if file.contains('/') {
            format!("../{file}")
        } else {
            format!("tests/{file}.rs")
        };
        let source = std::fs::read_to_string(sidecar.join(path)).unwrap_or_default();
        // Those on a cluster, and with Helm, are listed by name where they are started.
        if file.starts_with("tests/") && source.contains(&format!("fn {test}(")) {
            continue;
        }
        let marked = ["#[tokio::test", "#[test]"].iter().any(|mark| {
            source.split(mark).skip(1).any(|rest| {
                let head = rest.split_once('{').map_or(rest, |(head, _)| head);
                head.contains(&format!("fn {test}("))
            })
        });
        if !marked {
            missing.insert(format!("{file}::{test}"));
        }
    }
    let placeholder = "file::test".to_owned();
    missing.remove(&placeholder);
    assert!(
        missing.is_empty(),
        "SECURITY.md names tests that do not exist: {missing:#?}"
    );
}

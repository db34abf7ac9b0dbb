//! Findings as SARIF 2.1.0, which code hosts show beside the line.

use serde_json::{Value as Json, json};
use stanza::problem::Problem;

use super::severity;

pub(super) fn report(problems: &[Problem]) -> Json {
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "ws-operator lint",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": [{
                    "id": "options.websocket",
                    "shortDescription": {"text": "The WebSocket stanza of an OlaresManifest"},
                }],
            }},
            "columnKind": "unicodeCodePoints",
            "results": problems.iter().map(result).collect::<Json>(),
        }],
    })
}

fn result(problem: &Problem) -> Json {
    let text = if problem.path.is_empty() {
        problem.message.clone()
    } else {
        format!("{}: {}", problem.path, problem.message)
    };
    let mut place = json!({"artifactLocation": {"uri": problem.source}});
    if let Some(at) = problem.position {
        place["region"] = json!({"startLine": at.line, "startColumn": at.column});
    }
    json!({
        "ruleId": "options.websocket",
        "level": severity(problem),
        "message": {"text": text},
        "locations": [{"physicalLocation": place}],
    })
}

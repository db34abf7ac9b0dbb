//! Every sample in JSON.

use serde_json::json;

use super::marks::Standing;
use crate::run::Results;

pub(super) fn render(results: &Results) -> anyhow::Result<String> {
    let samples: Vec<_> = results
        .samples
        .iter()
        .map(|sample| {
            json!({
                "load": sample.load.name(),
                "peer": sample.peer.name(),
                "run": sample.run,
                "metrics": sample.metrics,
            })
        })
        .collect();
    let skipped: Vec<_> = results
        .skipped
        .iter()
        .map(|(what, why)| json!({"what": what, "why": why}))
        .collect();
    let marks: Vec<_> = Standing::all(results)
        .iter()
        .map(|standing| {
            json!({
                "mark": standing.mark.what,
                "limit": standing.mark.limit,
                "measured": standing.spread,
                "met": standing.met(),
            })
        })
        .collect();
    let all = json!({
        "machine": results.machine,
        "quick": results.quick,
        "runs": results.runs,
        "marks": marks,
        "samples": samples,
        "skipped": skipped,
    });
    Ok(serde_json::to_string_pretty(&all)? + "\n")
}

//! Every sample in JSON.

use std::collections::BTreeMap;

use anyhow::Context;
use serde::Deserialize;
use serde_json::json;

use super::marks::Standing;
use crate::load::Load;
use crate::peer::Peer;
use crate::run::{Results, Sample};

#[derive(Deserialize)]
struct File {
    samples: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    load: String,
    peer: String,
    run: usize,
    load_average: f64,
    metrics: BTreeMap<String, f64>,
}

/// The samples of a file that `render` wrote.
pub(super) fn read(text: &str) -> anyhow::Result<Vec<Sample>> {
    let File { samples } = serde_json::from_str(text)?;
    samples.into_iter().map(Line::into_sample).collect()
}

impl Line {
    fn into_sample(self) -> anyhow::Result<Sample> {
        let load = || format!("there is no load {}", self.load);
        let peer = || format!("there is no peer {}", self.peer);
        // A few names, for as long as the process lives.
        let metrics = self
            .metrics
            .into_iter()
            .map(|(name, value)| (&*name.leak(), value));
        Ok(Sample {
            load: Load::named(&self.load).with_context(load)?,
            peer: Peer::named(&self.peer).with_context(peer)?,
            run: self.run,
            load_average: self.load_average,
            metrics: metrics.collect(),
        })
    }
}

pub(super) fn render(results: &Results) -> anyhow::Result<String> {
    let samples: Vec<_> = results
        .samples
        .iter()
        .map(|sample| {
            json!({
                "load": sample.load.name(),
                "peer": sample.peer.name(),
                "run": sample.run,
                "load_average": sample.load_average,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Metrics;
    use crate::machine::Machine;

    #[test]
    fn what_is_written_is_read_again() {
        let sample = Sample {
            load: Load::FanOut(5_000),
            peer: Peer::Nchan,
            run: 2,
            load_average: 0.5,
            metrics: Metrics::from([("cpu", 1.25)]),
        };
        let results = Results {
            machine: Machine::look(0, 1),
            quick: false,
            runs: 2,
            samples: vec![sample.clone()],
            skipped: Vec::new(),
        };
        assert_eq!(read(&render(&results).unwrap()).unwrap(), [sample]);
        assert!(
            read(
                r#"{"samples":[{"load":"x","peer":"floor","run":1,"load_average":1,"metrics":{}}]}"#
            )
            .is_err()
        );
    }
}

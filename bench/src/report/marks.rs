//! The marks: what was promised, and whether it is so.

use super::spread::Spread;
use crate::load::Load;
use crate::peer::Peer;
use crate::run::Results;

/// One promise about the gateway.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub what: &'static str,
    pub figure: Figure,
    /// The median must not be above it.
    pub limit: f64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Figure {
    /// The gateway's.
    Own(Load, &'static str),
    /// The gateway's over a peer's, run by run.
    Over(Peer, Load, &'static str),
    /// The gateway's in one load over its own in another.
    Grown(&'static str, Load, Load),
}

/// How a mark stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub mark: Mark,
    pub spread: Spread,
}

/// "Unchanged", as far as a tail over some seconds can say so.
const UNCHANGED: f64 = 1.25;

const MARKS: &[Mark] = &[
    mark(
        "idle: B per connection, at most 1,536",
        Figure::Own(Load::Idle(10_000), "bytes"),
        1_536.0,
    ),
    mark(
        "idle: a fifth of Node ws",
        Figure::Over(Peer::NodeWs, Load::Idle(10_000), "bytes"),
        0.2,
    ),
    mark(
        "idle: B per connection 60 s after 60 kB each, at most 2,048",
        Figure::Own(Load::Idle(10_000), "bytes_after_large"),
        2_048.0,
    ),
    mark(
        "rtt at 100: CPU, a quarter of Node ws",
        Figure::Over(Peer::NodeWs, Load::RoundTrip(100), "cpu"),
        0.25,
    ),
    mark(
        "rtt: CPU at 1,000 over CPU at 100, at most 1.1",
        Figure::Grown("cpu", Load::RoundTrip(1_000), Load::RoundTrip(100)),
        1.1,
    ),
    mark(
        "a handler that takes 2 s: the others' p99 with it over without",
        Figure::Own(Load::SlowHandler, "p99_times"),
        UNCHANGED,
    ),
    mark(
        "fan-out to 1,000: CPU over the bare write loop, at most 1.2",
        Figure::Over(Peer::Floor, Load::FanOut(1_000), "cpu"),
        1.2,
    ),
    mark(
        "fan-out to 5,000: CPU over the bare write loop, at most 1.1",
        Figure::Over(Peer::Floor, Load::FanOut(5_000), "cpu"),
        1.1,
    ),
    mark(
        "fan-out to 1,000: less CPU than nchan",
        Figure::Over(Peer::Nchan, Load::FanOut(1_000), "cpu"),
        1.0,
    ),
    mark(
        "fan-out to 5,000: less CPU than nchan",
        Figure::Over(Peer::Nchan, Load::FanOut(5_000), "cpu"),
        1.0,
    ),
    mark(
        "1,000 clients that never read: the others' p99 with them over when they read",
        Figure::Own(Load::Stalled(1_000), "p99_times"),
        UNCHANGED,
    ),
    mark(
        "1,000 clients that never read: B of memory each, at most limits.buffered over all",
        Figure::Own(Load::Stalled(1_000), "memory"),
        67_109.0,
    ),
    mark(
        "churn: CPU, a quarter of Node ws",
        Figure::Over(Peer::NodeWs, Load::Churn, "cpu"),
        0.25,
    ),
    mark(
        "reverse proxy: added p99 over nginx's",
        Figure::Over(Peer::Nginx, Load::Proxy, "added_p99"),
        1.0,
    ),
    mark(
        "reverse proxy: CPU over Envoy's",
        Figure::Over(Peer::Envoy, Load::Proxy, "cpu"),
        1.0,
    ),
    mark(
        "19,000 connections with heartbeats: % of a core, at most 2",
        Figure::Own(Load::Heartbeat(19_000), "percent"),
        2.0,
    ),
];

const fn mark(what: &'static str, figure: Figure, limit: f64) -> Mark {
    Mark {
        what,
        figure,
        limit,
    }
}

impl Standing {
    /// The marks that were measured.
    pub(crate) fn all(results: &Results) -> Vec<Self> {
        let standing = |&mark: &Mark| {
            let spread = mark.figure.of(results)?;
            Some(Self { mark, spread })
        };
        MARKS.iter().filter_map(standing).collect()
    }

    pub(crate) fn met(&self) -> bool {
        self.spread.median <= self.mark.limit
    }
}

impl Figure {
    fn of(self, results: &Results) -> Option<Spread> {
        match self {
            Self::Own(load, metric) => results.spread(load, Peer::Gateway, metric),
            Self::Over(peer, load, metric) => results.ratio(load, metric, Peer::Gateway, peer),
            Self::Grown(metric, load, over) => {
                let at = |load, run| results.figure(load, Peer::Gateway, run, metric);
                let ratios = (1..=results.runs)
                    .filter_map(|run| Some(at(load, run)? / at(over, run)?))
                    .collect();
                Spread::of(ratios)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Metrics;
    use crate::machine::Machine;
    use crate::run::Sample;

    fn results(samples: &[(Load, Peer, usize, f64)]) -> Results {
        let sample = |&(load, peer, run, cpu): &(Load, Peer, usize, f64)| Sample {
            load,
            peer,
            run,
            load_average: 0.0,
            metrics: Metrics::from([("cpu", cpu)]),
        };
        Results {
            machine: Machine::look(0, 1),
            quick: false,
            runs: 2,
            samples: samples.iter().map(sample).collect(),
            skipped: Vec::new(),
        }
    }

    #[test]
    fn a_ratio_is_of_the_same_run() {
        let results = results(&[
            (Load::Churn, Peer::Gateway, 1, 10.0),
            (Load::Churn, Peer::NodeWs, 1, 40.0),
            (Load::Churn, Peer::Gateway, 2, 30.0),
            (Load::Churn, Peer::NodeWs, 2, 100.0),
        ]);
        let standings = Standing::all(&results);
        assert_eq!(standings.len(), 1);
        assert_eq!(
            (standings[0].spread.min, standings[0].spread.max),
            (0.25, 0.3)
        );
        assert!(!standings[0].met());
    }

    #[test]
    fn growth_is_of_the_gateway_alone() {
        let results = results(&[
            (Load::RoundTrip(100), Peer::Gateway, 1, 20.0),
            (Load::RoundTrip(1_000), Peer::Gateway, 1, 21.0),
            (Load::RoundTrip(1_000), Peer::NodeWs, 1, 99.0),
        ]);
        let standings = Standing::all(&results);
        assert_eq!(standings.len(), 1);
        assert!(standings[0].met());
    }
}

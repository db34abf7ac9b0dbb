//! The spread of a figure over interleaved runs.

use crate::load::Load;
use crate::peer::Peer;
use crate::run::Results;

#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub(crate) struct Spread {
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

impl Spread {
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let upper = values[values.len() / 2];
        let lower = values[(values.len() - 1) / 2];
        Some(Self {
            min,
            median: f64::midpoint(lower, upper),
            max,
        })
    }
}

impl Results {
    pub(crate) fn spread(&self, load: Load, peer: Peer, metric: &str) -> Option<Spread> {
        let samples = self
            .samples
            .iter()
            .filter(|sample| sample.load == load && sample.peer == peer);
        Spread::of(
            samples
                .filter_map(|sample| sample.metrics.get(metric).copied())
                .collect(),
        )
    }

    pub(crate) fn figure(&self, load: Load, peer: Peer, run: usize, metric: &str) -> Option<f64> {
        let sample = self
            .samples
            .iter()
            .find(|s| s.load == load && s.peer == peer && s.run == run)?;
        sample.metrics.get(metric).copied()
    }

    /// One peer's figure over another's, run by run: what the machine does to both cancels out.
    pub(crate) fn ratio(&self, load: Load, metric: &str, of: Peer, over: Peer) -> Option<Spread> {
        let figure = |peer, run| self.figure(load, peer, run, metric);
        let ratios = (1..=self.runs).filter_map(|run| Some(figure(of, run)? / figure(over, run)?));
        Spread::of(ratios.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(
            Spread::of(vec![3.0, 1.0, 2.0]),
            Some(Spread {
                min: 1.0,
                median: 2.0,
                max: 3.0
            })
        );
        let of_two = Spread::of(vec![4.0, 2.0]).map(|spread| spread.median);
        assert_eq!(of_two, Some(3.0));
        assert_eq!(Spread::of(Vec::new()), None);
    }
}

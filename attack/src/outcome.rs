//! What one kind of strangers did to the others.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::bystander::Talk;
use crate::gateway::Expose;
use crate::newcomer::Newcomers;
use crate::strangers::Figures;

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    pub kind: &'static str,
    pub expose: Expose,
    pub strangers: Figures,
    pub talk: Conversation,
    pub newcomers: Arrivals,
    pub memory: Memory,
    pub restarts: Restarts,
    /// Lines that the gateway logged meanwhile.
    pub log_lines: usize,
}

/// What bystanders said and heard.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Conversation {
    pub messages: usize,
    pub lost: usize,
    pub closed: usize,
    /// How often which end was met.
    pub closed_because: BTreeMap<String, usize>,
    /// `None`: was not measured.
    pub quiet_p99_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Arrivals {
    pub let_in: usize,
    pub turned_away: u64,
    pub slowest_ms: Option<f64>,
}

/// In bytes, at most.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Memory {
    /// What the cgroup counts.
    pub cgroup: u64,
    pub resident: u64,
}

impl Memory {
    pub(crate) fn peak(self) -> u64 {
        self.cgroup.max(self.resident)
    }
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Restarts {
    /// Why kubelet would have restarted it under attack.
    pub during: Option<String>,
    pub oom_kills: u64,
    /// After it was killed: how long until it was ready, or why it was not.
    pub after: Option<f64>,
    pub why_not: Option<String>,
    /// Connections that the app still holds for open, of those it was told of.
    pub untold: Option<usize>,
}

impl Conversation {
    /// `began`: when the strangers did.
    pub(crate) fn new(talks: &[Talk], began: Instant) -> Self {
        let all = || talks.iter().flat_map(|talk| &talk.exchanges);
        let took = |attacked: bool| {
            let some = all().filter(|exchange| (exchange.due >= began) == attacked);
            p99_ms(some.filter_map(|exchange| exchange.took).collect())
        };
        let mut closed_because = BTreeMap::new();
        for why in talks.iter().filter_map(|talk| talk.closed.clone()) {
            *closed_because.entry(why).or_insert(0) += 1;
        }
        Self {
            messages: all().count(),
            lost: all().filter(|exchange| exchange.took.is_none()).count(),
            closed: closed_because.values().sum(),
            closed_because,
            quiet_p99_ms: took(false),
            p99_ms: took(true),
        }
    }
}

impl From<Newcomers> for Arrivals {
    fn from(newcomers: Newcomers) -> Self {
        Self {
            let_in: newcomers.let_in,
            turned_away: newcomers.turned_away,
            slowest_ms: newcomers.slowest.map(milliseconds),
        }
    }
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn p99_ms(mut all: Vec<Duration>) -> Option<f64> {
    all.sort_unstable();
    let rank = (all.len() * 99).div_ceil(100);
    all.get(rank.checked_sub(1)?).copied().map(milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bystander::Exchange;

    #[test]
    fn the_99th_of_a_hundred() {
        let all = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(p99_ms(all), Some(99.0));
        assert_eq!(p99_ms(vec![Duration::from_millis(7)]), Some(7.0));
        assert_eq!(p99_ms(Vec::new()), None);
    }

    #[test]
    fn what_was_never_answered_is_lost() {
        let due = Instant::now();
        let exchange = |took| Exchange { due, took };
        let talk = Talk {
            exchanges: vec![exchange(Some(Duration::ZERO)), exchange(None)],
            closed: Some("closed with 1013".to_owned()),
        };
        let conversation = Conversation::new(&[talk], due);
        assert_eq!((conversation.messages, conversation.lost), (2, 1));
        assert_eq!(conversation.closed_because["closed with 1013"], 1);
        assert_eq!(conversation.quiet_p99_ms, None);
    }
}

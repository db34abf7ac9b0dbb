//! Whoever is not the API server: told of in numbers, and seldom in words.

use std::net::IpAddr;

use tracing::warn;

use crate::metrics::{Metrics, TurnedAway};
use crate::seldom::Seldom;

pub struct Strangers {
    metrics: Metrics,
    crowded: Seldom,
    late: Seldom,
    strange: Seldom,
    large: Seldom,
}

impl Strangers {
    pub fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            crowded: Seldom::default(),
            late: Seldom::default(),
            strange: Seldom::default(),
            large: Seldom::default(),
        }
    }

    pub fn turned_away(&self, why: TurnedAway, address: IpAddr) {
        self.metrics.turned_away(why);
        let (said, words) = match why {
            TurnedAway::Crowded => (
                &self.crowded,
                "too many connections: the oldest one of this address, or of the address with most, was closed",
            ),
            TurnedAway::Late => (
                &self.late,
                "a TLS handshake, a request's head or its body took too long (webhook.requestTimeout)",
            ),
            TurnedAway::UnknownPath => (
                &self.strange,
                "somebody asked by a path that the API server was not told: 404. Where it was the API server, its webhook configuration is about to be written; a NetworkPolicy (networkPolicy.enabled) keeps others away",
            ),
            TurnedAway::TooLarge => (
                &self.large,
                "a review is larger than any that the API server sends, or too much is being read at once",
            ),
        };
        if let Some(times) = said.due() {
            warn!(%address, reason = why.code(), times, "webhook: {words}");
        }
    }
}

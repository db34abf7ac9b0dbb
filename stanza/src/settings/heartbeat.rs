//! `heartbeat`: when a silent client counts as gone.

use std::time::Duration;

use serde_json::Value as Json;

use super::group::{Declaration, Group, is_switch};
use crate::field::{Field, Interval};
use crate::node::Node;

group! {
    /// `heartbeat`: when a silent client counts as gone.
    Heartbeat {
        /// How often `serverPing` pings; without it this has no effect. Unset: 30 s.
        "interval" interval: Option<Interval> = None;
        /// A client that is silent for this long is closed with 4408, as is one that reads nothing
        /// for this long while data waits for it. 0: no limit on silence, and 75 s for unread data.
        /// Unset: 75 s, or two and a half of `serverPing`'s intervals where that is more.
        "timeout" timeout: Option<Duration> = None;
        /// Send WebSocket pings every interval; a client that has not answered by the next ping,
        /// and reads nothing meanwhile, is disconnected.
        "serverPing" server_ping: bool = false;
        /// Only `{"event":"ping"}` resets the timeout, as in the original Olares gateway. By
        /// default any frame does.
        "strict" strict: bool = false;
        /// Answer `{"event":"ping"}` in the app's place. `false`: it is a message like any other,
        /// for apps that use it themselves.
        "jsonPing" json_ping: bool = true;
    }
}

const INTERVAL: Duration = Duration::from_secs(30);
/// A browser's hidden tab runs timers once a minute.
const TIMEOUT: Duration = Duration::from_secs(75);

/// What is wrong with settings that are each right, and the key that it is said of.
pub type Contradiction = (&'static str, String);

impl Heartbeat {
    /// How often the gateway pings, if it does.
    pub fn pings(&self) -> Option<Duration> {
        self.server_ping.then(|| self.every())
    }

    /// For how long a client may be silent. `None`: for ever.
    pub fn silence(&self) -> Option<Duration> {
        let patience = match (self.timeout, self.pings()) {
            (Some(set), _) => set,
            // Who answers each ping at the last moment is silent for nearly two intervals.
            (None, Some(every)) => TIMEOUT.max(every * 5 / 2),
            (None, None) => TIMEOUT,
        };
        (!patience.is_zero()).then_some(patience)
    }

    /// Without what says no more than its absence would.
    #[must_use]
    pub fn plain(&self) -> Self {
        let mut plain = self.clone();
        plain.interval = self
            .interval
            .filter(|Interval(every)| self.server_ping && *every != INTERVAL);
        plain.timeout = None;
        if plain.silence() != self.silence() {
            plain.timeout = self.timeout;
        }
        plain
    }

    /// A client whose silence ends before it is next asked would be closed for nothing.
    pub fn contradiction(&self) -> Option<Contradiction> {
        let timeout = self.timeout.filter(|timeout| !timeout.is_zero())?;
        let counts = self.server_ping || self.interval.is_some();
        if !counts || timeout > self.every() {
            return None;
        }
        let whose = if self.interval.is_some() {
            ""
        } else {
            ", its default"
        };
        let message = format!(
            "{} is not more than heartbeat.interval ({}{whose}), so that a healthy client is closed before it is \
             next asked; expected more, 0, or no heartbeat.timeout at all, which then follows the interval",
            humantime::format_duration(timeout),
            humantime::format_duration(self.every()),
        );
        Some(("heartbeat.timeout", message))
    }

    /// What is right and yet does nothing.
    pub fn without_effect(&self) -> Option<Contradiction> {
        let idle = self.interval.is_some() && !self.server_ping;
        idle.then(|| {
            let message = "has no effect without heartbeat.serverPing: true; how long a client may be silent is \
                           heartbeat.timeout";
            ("heartbeat.interval", message.to_owned())
        })
    }

    fn every(&self) -> Duration {
        self.interval.map_or(INTERVAL, |Interval(span)| span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeat(interval: Option<u64>, timeout: Option<u64>, server_ping: bool) -> Heartbeat {
        Heartbeat {
            interval: interval.map(|seconds| Interval(Duration::from_secs(seconds))),
            timeout: timeout.map(Duration::from_secs),
            server_ping,
            strict: false,
            json_ping: true,
        }
    }

    #[test]
    fn an_unset_timeout_follows_the_interval() {
        let silence = |interval, timeout, pings| {
            let silence = heartbeat(interval, timeout, pings).silence();
            silence.map(|span| span.as_secs())
        };
        assert_eq!(silence(None, None, false), Some(75));
        assert_eq!(silence(None, None, true), Some(75));
        assert_eq!(silence(Some(10), None, true), Some(75));
        assert_eq!(silence(Some(60), None, true), Some(150));
        assert_eq!(silence(Some(60), None, false), Some(75));
        assert_eq!(silence(Some(60), Some(180), true), Some(180));
        assert_eq!(silence(Some(60), Some(0), true), None);
    }

    #[test]
    fn a_timeout_that_ends_before_the_next_ping_contradicts_it() {
        let wrong = |interval, timeout, pings| {
            heartbeat(interval, timeout, pings)
                .contradiction()
                .is_some()
        };
        assert!(wrong(Some(60), Some(60), true));
        assert!(wrong(Some(60), Some(45), false));
        assert!(wrong(None, Some(30), true));
        assert!(!wrong(None, Some(20), false));
        assert!(!wrong(None, Some(31), true));
        assert!(!wrong(Some(60), Some(0), true));
        assert!(!wrong(Some(60), None, true));
    }

    #[test]
    fn an_interval_without_pings_is_told_of() {
        assert!(heartbeat(Some(60), None, false).without_effect().is_some());
        assert!(heartbeat(Some(60), None, true).without_effect().is_none());
        assert!(heartbeat(None, None, false).without_effect().is_none());
    }
}

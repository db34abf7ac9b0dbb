//! What has to hold under attack.

use crate::outcome::Outcome;

pub(crate) const MEMORY: u64 = 200 << 20;
pub(crate) const NEWCOMER_MS: f64 = 2000.0;
/// The slowest hundredth under attack, against that before.
pub(crate) const SLOWER: f64 = 3.0;

/// The marks that were missed, as words for the table; times count with `times` only.
pub(crate) fn missed(outcome: &Outcome, times: bool) -> Vec<String> {
    let mut missed = Vec::new();
    let mut miss = |is: bool, what: String| {
        if is {
            missed.push(what);
        }
    };
    let Outcome {
        talk,
        newcomers,
        memory,
        restarts,
        ..
    } = outcome;
    miss(
        talk.closed > 0,
        format!("{} bystanders closed", talk.closed),
    );
    miss(talk.lost > 0, format!("{} messages lost", talk.lost));
    miss(
        memory.peak() >= MEMORY,
        format!("{} MiB", memory.peak() >> 20),
    );
    miss(
        restarts.oom_kills > 0,
        "killed for want of memory".to_owned(),
    );
    if let Some(why) = &restarts.during {
        miss(true, why.clone());
    }
    if let Some(why) = &restarts.why_not {
        miss(true, format!("does not come up again: {why}"));
    }
    if times {
        let slowest = newcomers.slowest_ms.unwrap_or(f64::INFINITY);
        miss(
            slowest > NEWCOMER_MS,
            format!("newcomers wait {slowest:.0} ms"),
        );
        if let (Some(quiet), Some(now)) = (talk.quiet_p99_ms, talk.p99_ms) {
            miss(
                now >= SLOWER * quiet,
                format!("p99 is {:.1} times the quiet one", now / quiet),
            );
        }
    }
    missed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Expose;
    use crate::outcome::{Arrivals, Conversation, Memory, Restarts};
    use crate::strangers::Figures;

    fn fine() -> Outcome {
        Outcome {
            kind: "idle",
            expose: Expose::Service,
            strangers: Figures::default(),
            talk: Conversation {
                messages: 100,
                quiet_p99_ms: Some(1.0),
                p99_ms: Some(2.9),
                ..Conversation::default()
            },
            newcomers: Arrivals {
                let_in: 9,
                turned_away: 3,
                slowest_ms: Some(2000.0),
            },
            memory: Memory {
                cgroup: MEMORY - 1,
                resident: 0,
            },
            restarts: Restarts {
                after: Some(9.0),
                ..Restarts::default()
            },
            log_lines: 0,
        }
    }

    #[test]
    fn each_mark_can_be_missed() {
        assert_eq!(missed(&fine(), true), Vec::<String>::new());
        let worse: [fn(&mut Outcome); 6] = [
            |it| it.talk.closed = 1,
            |it| it.talk.lost = 1,
            |it| it.memory.resident = MEMORY,
            |it| it.restarts.oom_kills = 1,
            |it| it.restarts.during = Some("ended".to_owned()),
            |it| it.restarts.why_not = Some("no space".to_owned()),
        ];
        for worsen in worse {
            let mut outcome = fine();
            worsen(&mut outcome);
            assert_eq!(missed(&outcome, false).len(), 1, "{outcome:?}");
        }
    }

    #[test]
    fn times_are_judged_where_they_are_asked_for() {
        let slower: [fn(&mut Outcome); 3] = [
            |it| it.talk.p99_ms = Some(3.0),
            |it| it.newcomers.slowest_ms = Some(2001.0),
            |it| it.newcomers.slowest_ms = None,
        ];
        for worsen in slower {
            let mut outcome = fine();
            worsen(&mut outcome);
            assert_eq!(missed(&outcome, false), Vec::<String>::new());
            assert_eq!(missed(&outcome, true).len(), 1, "{outcome:?}");
        }
    }
}

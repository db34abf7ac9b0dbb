//! What has become of each workload that is to be restarted (pure).

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value as Json, json};
use tokio::time::Instant;

use crate::cluster::{Cluster, Progress};
use crate::controller::{Candidate, Next, Trigger};
use crate::reason::Reason;
use crate::shape::{Owner, Workload};

/// Namespace and workload.
pub(super) type Key = (String, Workload);

pub(super) struct Work {
    jobs: BTreeMap<Key, Job>,
    /// Restarts under way at once.
    parallel: usize,
}

struct Job {
    app: String,
    /// Why a restart is due.
    reason: Reason,
    message: String,
    state: State,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    /// Its turn has not come.
    Due,
    /// Something is in the way that may pass.
    Waits(Reason, String),
    Rolling(Instant),
    Done(u64),
    /// Nothing that waiting or we could mend.
    Skipped(Reason, String),
    Failed(Reason, String),
}

/// One line of progress.
pub(super) struct Line {
    pub(super) key: Key,
    pub(super) state: State,
}

impl Work {
    pub(super) fn new(candidates: Vec<Candidate>, parallel: usize) -> Self {
        let jobs = candidates
            .into_iter()
            .map(|candidate| {
                let key = (candidate.app.namespace.clone(), candidate.workload.clone());
                let job = Job {
                    app: candidate.app.name.clone(),
                    reason: candidate.reason,
                    message: candidate.message.clone(),
                    state: State::of(&candidate),
                };
                (key, job)
            })
            .collect();
        Self { jobs, parallel }
    }

    /// What is to be started now; it counts as started from then on.
    pub(super) fn start(&mut self, candidates: &[Candidate], now: Instant) -> Vec<(Key, Trigger)> {
        let rolling = |job: &&mut Job| matches!(job.state, State::Rolling(_));
        let mut free = self
            .parallel
            .saturating_sub(self.jobs.values_mut().filter(rolling).count());
        let mut started = Vec::new();
        for (key, job) in &mut self.jobs {
            let Some(candidate) = find(candidates, key) else {
                continue;
            };
            if free == 0 || job.state != State::Due {
                continue;
            }
            if let Next::Go(trigger) = &candidate.next {
                job.state = State::Rolling(now);
                started.push((key.clone(), trigger.clone()));
                free -= 1;
            }
        }
        started
    }

    /// What became different by what is there now.
    pub(super) fn look(
        &mut self,
        cluster: &Cluster,
        candidates: &[Candidate],
        now: Instant,
    ) -> Vec<Line> {
        let mut lines = Vec::new();
        for (key, job) in &mut self.jobs {
            let candidate = find(candidates, key);
            let next = match (&job.state, candidate) {
                (State::Done(_) | State::Skipped(..) | State::Failed(..), _) => continue,
                (State::Rolling(since), _) => {
                    let took = now.duration_since(*since).as_secs();
                    match progress(cluster, key) {
                        Some(Progress::Failed) => State::Failed(
                            Reason::RolloutFailed,
                            "the rollout did not finish in its time".to_owned(),
                        ),
                        None => State::Done(took),
                        Some(Progress::Settled) if candidate.is_none() && ready(cluster, key) => {
                            State::Done(took)
                        }
                        Some(Progress::Settled)
                            if candidate.is_some_and(|one| matches!(one.next, Next::Go(_))) =>
                        {
                            let message = "the new pods are as the old ones were".to_owned();
                            State::Failed(Reason::RepairBackoff, message)
                        }
                        Some(_) => continue,
                    }
                }
                // Somebody else did it.
                (State::Due | State::Waits(..), None) => State::Done(0),
                (State::Due | State::Waits(..), Some(candidate)) => State::of(candidate),
            };
            if next != job.state {
                let (key, state) = (key.clone(), next.clone());
                lines.push(Line { key, state });
                job.state = next;
            }
        }
        lines
    }

    pub(super) fn is_over(&self) -> bool {
        self.jobs
            .values()
            .all(|job| !matches!(job.state, State::Due | State::Waits(..) | State::Rolling(_)))
    }

    /// Whether everything was done that could be.
    pub(super) fn succeeded(&self) -> bool {
        self.jobs
            .values()
            .all(|job| matches!(job.state, State::Done(_) | State::Rolling(_)))
    }

    /// What is left, one line each.
    pub(super) fn text(&self) -> String {
        if self.jobs.is_empty() {
            return "nothing to restart: every gateway is as new ones would be\n".to_owned();
        }
        let mut text = String::new();
        for ((namespace, workload), job) in &self.jobs {
            let (state, what) = job.state.words();
            let due = format!("{}: {}", job.reason, job.message);
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{state:<8} {namespace} {workload} ({due}){what}");
        }
        text
    }

    pub(super) fn json(&self) -> Json {
        self.jobs
            .iter()
            .map(|((namespace, workload), job)| {
                let obstacle = match &job.state {
                    State::Waits(reason, message)
                    | State::Skipped(reason, message)
                    | State::Failed(reason, message) => {
                        json!({"reason": reason.name(), "message": message})
                    }
                    _ => Json::Null,
                };
                json!({
                    "namespace": namespace,
                    "workload": workload.to_string(),
                    "app": job.app,
                    "reason": job.reason.name(),
                    "message": job.message,
                    "state": job.state.words().0,
                    "obstacle": obstacle,
                })
            })
            .collect()
    }
}

fn find<'a>(candidates: &'a [Candidate], key: &Key) -> Option<&'a Candidate> {
    candidates
        .iter()
        .find(|one| one.app.namespace == key.0 && one.workload == key.1)
}

fn progress(cluster: &Cluster, (namespace, workload): &Key) -> Option<Progress> {
    Some(cluster.workload(namespace, workload)?.progress)
}

fn ready(cluster: &Cluster, (namespace, workload): &Key) -> bool {
    let owner = Owner::Workload(workload.clone());
    let pods = cluster.pods.in_namespace(namespace);
    pods.iter()
        .filter(|pod| pod.shape.owner == owner && !pod.leaving)
        .all(|pod| pod.ready)
}

// === impl State ===

impl State {
    fn of(candidate: &Candidate) -> Self {
        match &candidate.next {
            Next::Go(_) => Self::Due,
            Next::Blocked { reason, message } => {
                let passes = matches!(
                    reason,
                    Reason::Rolling
                        | Reason::DisruptionBudget
                        | Reason::ReleasePending
                        | Reason::WebhookUnreachable
                );
                let blocked = if passes { Self::Waits } else { Self::Skipped };
                blocked(*reason, message.clone())
            }
        }
    }

    /// A word, and what there is to add.
    pub(super) fn words(&self) -> (&'static str, String) {
        let why = |reason: &Reason, message: &String| format!(": {reason}: {message}");
        match self {
            Self::Due => ("due", String::new()),
            Self::Waits(reason, message) => ("waits", why(reason, message)),
            Self::Rolling(_) => ("rolling", String::new()),
            Self::Done(0) => ("done", String::new()),
            Self::Done(seconds) => ("done", format!(" after {seconds} s")),
            Self::Skipped(reason, message) => ("skipped", why(reason, message)),
            Self::Failed(reason, message) => ("failed", why(reason, message)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::AppId;
    use crate::shape::WorkloadKind;

    fn candidate(name: &str, next: Next) -> Candidate {
        Candidate {
            app: AppId::new("rooms", name),
            workload: Workload {
                kind: WorkloadKind::Deployment,
                name: name.to_owned(),
            },
            reason: Reason::RollOutdated,
            message: "1 pod with another gateway image".to_owned(),
            next,
        }
    }

    fn go(name: &str) -> Candidate {
        candidate(name, Next::Go(Trigger::Annotate("1".to_owned())))
    }

    fn blocked(name: &str, reason: Reason) -> Candidate {
        let message = String::new();
        candidate(name, Next::Blocked { reason, message })
    }

    fn started(work: &mut Work, candidates: &[Candidate]) -> Vec<String> {
        let started = work.start(candidates, Instant::now());
        started.into_iter().map(|((_, one), _)| one.name).collect()
    }

    #[test]
    fn only_so_many_at_once() {
        let all = [go("a"), go("b"), go("c")];
        let mut work = Work::new(all.to_vec(), 2);
        assert_eq!(started(&mut work, &all), ["a", "b"]);
        assert!(started(&mut work, &all).is_empty());
        // Workloads that are gone are done.
        work.look(&Cluster::default(), &all, Instant::now());
        assert_eq!(started(&mut work, &all), ["c"]);
        assert!(!work.is_over());
        work.look(&Cluster::default(), &[], Instant::now());
        assert!(work.is_over() && work.succeeded());
    }

    #[test]
    fn what_may_pass_is_waited_for_and_nothing_else() {
        let all = [
            blocked("budget", Reason::DisruptionBudget),
            blocked("paused", Reason::RolloutPaused),
        ];
        let mut work = Work::new(all.to_vec(), 1);
        assert!(started(&mut work, &all).is_empty());
        assert!(!work.is_over());
        assert!(work.text().starts_with(
            "waits    rooms Deployment/budget (RollOutdated: 1 pod with another gateway image): DisruptionBudget"
        ), "{}", work.text());
        // The budget allows it now.
        let all = [go("budget"), all[1].clone()];
        work.look(&Cluster::default(), &all, Instant::now());
        assert_eq!(started(&mut work, &all), ["budget"]);
        work.look(&Cluster::default(), &all[1..], Instant::now());
        assert!(work.is_over() && !work.succeeded(), "one was skipped");
        assert_eq!(work.json()[1]["obstacle"]["reason"], "RolloutPaused");
    }

    #[test]
    fn nothing_to_do_is_success() {
        let work = Work::new(Vec::new(), 1);
        assert!(work.is_over() && work.succeeded());
        assert!(work.text().starts_with("nothing to restart"));
    }
}

//! Kubernetes Events: what was done, or why not, told on the object it concerns.
//!
//! Webhook and controller put notices into one bounded queue; a full queue drops the notice
//! and counts it, as the status says the same. One task writes them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::cluster::chain;
use crate::names;
use crate::reason::{Reason, Weight};
use crate::text::cut;

const QUEUE: usize = 1024;
/// The same words on the same object are not repeated for so long.
const QUIET: Duration = Duration::from_mins(10);
/// How many (object, reason) pairs are remembered for that.
const REMEMBERED: usize = 4096;
/// The API server refuses longer notes.
const NOTE: usize = 1024;

#[derive(Clone, Debug)]
pub struct Notice {
    pub regarding: ObjectReference,
    pub reason: Reason,
    pub message: String,
}

/// The sending end.
#[derive(Clone)]
pub struct Notices {
    sender: mpsc::Sender<Notice>,
    dropped: Arc<AtomicU64>,
}

/// The receiving end, to be run as a task.
pub struct Writer {
    notices: mpsc::Receiver<Notice>,
    recorder: Recorder,
    told: HashMap<(String, Reason), (String, Instant)>,
}

pub fn channel(client: Client, instance: &str) -> (Notices, Writer) {
    let (sender, notices) = mpsc::channel(QUEUE);
    let reporter = Reporter {
        controller: names::MANAGER.to_owned(),
        instance: Some(instance.to_owned()),
    };
    let writer = Writer {
        notices,
        recorder: Recorder::new(client, reporter),
        told: HashMap::new(),
    };
    (Notices::new(sender), writer)
}

impl Notices {
    pub fn tell(&self, notice: Notice) {
        if notice.reason.weight() == Weight::Quiet {
            return;
        }
        if let Err(error) = self.sender.try_send(notice) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            warn!(%error, "an Event was dropped");
        }
    }

    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// How many wait to be written.
    pub fn waiting(&self) -> usize {
        self.sender.max_capacity() - self.sender.capacity()
    }

    fn new(sender: mpsc::Sender<Notice>) -> Self {
        let dropped = Arc::default();
        Self { sender, dropped }
    }

    /// Senders whose receiver is gone, for tests and the command line.
    pub fn nowhere() -> Self {
        Self::new(mpsc::channel(1).0)
    }

    /// With what a test can read them from.
    #[cfg(test)]
    pub(crate) fn kept() -> (Self, mpsc::Receiver<Notice>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self::new(sender), receiver)
    }
}

impl Writer {
    /// Until every sender is gone.
    pub async fn run(mut self) {
        while let Some(notice) = self.notices.recv().await {
            if self.was_told(&notice) {
                continue;
            }
            let Notice {
                regarding,
                reason,
                message,
            } = notice;
            info!(
                object = %name(&regarding),
                %reason,
                message
            );
            let event = Event {
                type_: match reason.weight() {
                    Weight::Quiet | Weight::Notice => EventType::Normal,
                    Weight::Warning => EventType::Warning,
                },
                reason: reason.name().to_owned(),
                note: Some(cut(message, NOTE)),
                action: "Inject".to_owned(),
                secondary: None,
            };
            if let Err(error) = self.recorder.publish(&event, &regarding).await {
                warn!(object = %name(&regarding), %reason, error = %chain(&error), "the Event was not written");
            }
        }
    }

    fn was_told(&mut self, notice: &Notice) -> bool {
        let now = Instant::now();
        if self.told.len() >= REMEMBERED {
            self.told
                .retain(|_, (_, at)| now.duration_since(*at) < QUIET);
            if self.told.len() >= REMEMBERED {
                self.told.clear();
            }
        }
        let key = (name(&notice.regarding), notice.reason);
        let told = self.told.get(&key).is_some_and(|(message, at)| {
            *message == notice.message && now.duration_since(*at) < QUIET
        });
        if !told {
            self.told.insert(key, (notice.message.clone(), now));
        }
        told
    }
}

fn name(reference: &ObjectReference) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!(
        "{}/{}/{}",
        part(&reference.kind),
        part(&reference.namespace),
        part(&reference.name)
    )
}

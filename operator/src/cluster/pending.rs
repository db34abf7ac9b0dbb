//! Namespaces whose apps a source is reading at this moment. Helm writes a release's Secret just
//! before the app's objects, so the app's pods may be quicker than our reading: admission waits
//! a little for it rather than let a pod in that has to be restarted.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;

#[derive(Clone)]
pub struct Pending(Arc<watch::Sender<HashMap<String, usize>>>);

/// Held while a namespace's apps are being read.
pub struct Ticket {
    pending: Pending,
    namespace: String,
}

impl Default for Pending {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(HashMap::new())))
    }
}

impl Pending {
    pub fn enter(&self, namespace: &str) -> Ticket {
        self.0.send_modify(|namespaces| {
            *namespaces.entry(namespace.to_owned()).or_default() += 1;
        });
        Ticket {
            pending: self.clone(),
            namespace: namespace.to_owned(),
        }
    }

    /// Until nothing is being read for the namespace.
    pub async fn settled(&self, namespace: &str) {
        let mut receiver = self.0.subscribe();
        // The sender lives in self: it cannot be gone.
        let _ = receiver
            .wait_for(|namespaces| !namespaces.contains_key(namespace))
            .await;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.pending.0.send_modify(|namespaces| {
            if let Some(count) = namespaces.get_mut(&self.namespace) {
                *count -= 1;
                if *count == 0 {
                    namespaces.remove(&self.namespace);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_namespace_settles_when_the_last_ticket_is_gone() {
        let pending = Pending::default();
        let (first, second) = (pending.enter("a"), pending.enter("a"));
        pending.settled("b").await;
        drop(first);
        let wait = Duration::from_secs(1);
        assert!(
            tokio::time::timeout(wait, pending.settled("a"))
                .await
                .is_err()
        );
        drop(second);
        pending.settled("a").await;
    }
}

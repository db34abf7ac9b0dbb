//! What a connection holds of the common budget, and how it lets go of it.

use std::sync::Arc;

use super::{Connection, Shared};
use crate::budget::{Budget, Holder, Size, Way};
use crate::protocol::CloseReason;

/// Whether the budget wants back what this connection holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Eviction {
    No,
    Asked,
    /// It has let go of all it can.
    Done,
}

impl Connection {
    /// What is kept of the client's for as long as the connection lives, and in the journal.
    pub(crate) fn kept(&self) -> usize {
        // A line of the journal beside the names.
        const ENTRY: usize = 128;
        let agent = self.user_agent.as_ref().map_or(0, |agent| agent.len());
        let names = self.with_identity(|identity| {
            identity.user.len() + identity.namespace.as_ref().map_or(0, |name| name.len())
        });
        agent + self.carried.len() + 2 * names + ENTRY
    }

    /// The session holds so many bytes of its client's instead of as many as before.
    pub(crate) fn holds(self: &Arc<Self>, before: usize, now: usize, budget: &Budget) {
        let mut shared = self.lock();
        budget.take(Way::In, now);
        budget.give_back(Way::In, before);
        let held = shared.held + now - before;
        self.hold(&mut shared, held, budget);
        drop(shared);
        if now > before {
            budget.relieve();
        }
    }

    /// All that can be let go of is; what is left goes with the end of the connection.
    pub(crate) fn has_let_go(&self) {
        let mut shared = self.lock();
        if shared.eviction == Eviction::Asked {
            shared.eviction = Eviction::Done;
        }
    }

    /// Nothing is written to this client any more.
    pub(crate) fn nothing_is_written(self: &Arc<Self>, budget: &Budget) {
        let mut shared = self.lock();
        self.discard(&mut shared, budget);
        if let Some(mut outbox) = shared.outbox.take() {
            let held = shared.held - outbox.written(budget);
            self.hold(&mut shared, held, budget);
        }
    }

    pub(super) fn discard(self: &Arc<Self>, shared: &mut Shared, budget: &Budget) {
        let Some(outbox) = &mut shared.outbox else {
            return;
        };
        let share = outbox.discard(budget);
        if !outbox.is_writing() {
            shared.outbox = None;
        }
        let held = shared.held - share;
        self.hold(shared, held, budget);
    }

    pub(super) fn hold(self: &Arc<Self>, shared: &mut Shared, held: usize, budget: &Budget) {
        match shared.eviction {
            Eviction::No => {
                let size = Size::of(held);
                if size != shared.filed {
                    budget.file(self.id, shared.filed, size, || Arc::<Self>::clone(self));
                    shared.filed = size;
                }
            }
            Eviction::Asked | Eviction::Done => budget.leaving(shared.held, held),
        }
        shared.held = held;
    }
}

impl Holder for Connection {
    fn let_go(&self, budget: &Budget) -> Option<usize> {
        let mut shared = self.lock();
        if shared.eviction != Eviction::No {
            return None;
        }
        let held = shared.held;
        budget.file(self.id, shared.filed, Size::default(), || unreachable!());
        shared.filed = Size::default();
        shared.eviction = Eviction::Asked;
        // At once, as the client may be gone for long; the session does the rest.
        if let Some(outbox) = &mut shared.outbox {
            let share = outbox.discard(budget);
            shared.held -= share;
        }
        budget.leaving(0, shared.held);
        shared.close(CloseReason::Overloaded);
        shared.wake();
        Some(held)
    }
}

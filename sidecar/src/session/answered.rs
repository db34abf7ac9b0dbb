//! What a session does with the app's answers.

use tokio::io::{AsyncRead, AsyncWrite};

use super::Session;
use super::lane::Step;
use crate::callback::{Action, Actions, Transport};
use crate::protocol::CloseReason;

impl<S: AsyncRead + AsyncWrite + Unpin, T: Transport> Session<S, T> {
    pub(super) fn after_callback(&mut self, step: Step) {
        match step {
            Step::Answered(action, Some(actions)) => self.apply(action, *actions),
            Step::Answered(_, None) => {}
            Step::Lost => self.begin_close(&CloseReason::AppUnreachable),
        }
    }

    fn apply(&mut self, action: Action, actions: Actions) {
        let Actions {
            replies,
            failed,
            close,
            user,
            namespace,
            broadcast: _,
        } = actions;
        if action == Action::Open && (user.is_some() || namespace.is_some()) {
            self.rename(user.as_deref(), namespace.as_deref());
        }
        for reply in replies {
            self.gateway.metrics.sent(1, 0);
            self.send(reply.into_bytes());
        }
        if failed && action == Action::Open {
            self.begin_close(&CloseReason::OpenFailed);
        }
        if let Some(reason) = close {
            self.begin_close(&reason);
        }
    }

    fn rename(&self, user: Option<&str>, namespace: Option<&str>) {
        if self.registered {
            let id = self.connection.id;
            self.gateway.registry.refile(id, user, namespace);
        } else {
            // Closing: nobody finds it any more, but the app still hears of it.
            self.connection.rename(user, namespace);
        }
        if let Some(journal) = &self.gateway.journal {
            journal.opened(&self.connection);
        }
    }

    pub(super) fn send(&self, frame: bytes::Bytes) {
        self.connection.push(frame, 1, &self.gateway.room());
    }
}

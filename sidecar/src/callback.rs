//! Events for the app: what they say (`event`), that they arrive once and in order
//! (`delivery`), over which connections (`client`), signed or not (`signing`), what the app's
//! answer does (`answer`), and what is said of one that does not (`refusal`).

pub mod answer;
pub mod client;
pub mod delivery;
pub mod event;
mod refusal;
pub mod signing;
pub mod target;

pub use answer::Actions;
pub use delivery::{Delivery, Outcome};
pub use event::{Action, Event, EventKind, Outgoing};
pub use signing::Signer;
pub use target::Target;

use bytes::Bytes;
use http::StatusCode;
use std::time::Duration;

/// Sends one request to the app, once. The real one is [`client::AppClient`]; the property tests
/// of the sessions put an app that misbehaves by plan in its place.
pub trait Transport: Send + Sync + 'static {
    fn send(&self, event: &Outgoing) -> impl Future<Output = Result<Answer, SendError>> + Send;
}

/// What the app said.
#[derive(Debug, Default)]
pub struct Answer {
    pub status: StatusCode,
    /// Set on a 429 or 503 that asks to come again.
    pub retry_after: Option<Duration>,
    /// The body, where it is of the type that acts.
    pub action: Option<Bytes>,
    /// What there is to tell of an answer that does not act.
    pub beginning: Option<Box<Beginning>>,
}

/// The beginning of an answer that does not act.
#[derive(Debug, Default)]
pub struct Beginning {
    /// Where a redirect leads.
    pub location: Option<String>,
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The app has not seen a byte of it: it may be sent again.
    #[error("the app could not be reached: {0}")]
    NotTaken(String),
    /// It may or may not have arrived: it must not be sent again.
    #[error("the connection to the app broke while it had the request: {0}")]
    InDoubt(String),
    /// The app has it, and what it answered is no HTTP.
    #[error("the app's answer cannot be read: {0}")]
    Unreadable(&'static str),
    /// The app has it and took longer than `callback.timeout`.
    #[error("the app did not answer within {0:?}")]
    Timeout(Duration),
}

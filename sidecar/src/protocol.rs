//! The app's contract: what it is told and what it may say. No IO; nothing here knows a connection.

mod close;

pub use close::CloseReason;

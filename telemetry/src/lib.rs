//! What the operator and the gateway say of themselves, in the same way.

pub mod exposition;
pub mod log_filter;

//! The webhook's own certificate authority: kept in a Secret, leaf certificates in memory.
//!
//! Rotation goes in steps, so that at every moment each leaf in use is vouched for by each
//! bundle in use: the next CA joins the bundle first, signs later, and the one before stays in
//! the bundle until it expires. Expiry is judged by the wall clock.

pub mod authority;
pub mod entrances;
pub mod keeper;
pub mod leaf;

use std::time::Duration;

/// How long certificates live. Tests use seconds.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    pub authority: Duration,
    pub leaf: Duration,
}

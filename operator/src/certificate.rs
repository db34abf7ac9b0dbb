//! The webhook's certificates. By default the operator is its own authority, kept in a Secret,
//! and leaf certificates are in memory; or they are files that others write.
//!
//! Rotation of our own goes in steps, so that at every moment each leaf in use is vouched for by each
//! bundle in use: the next CA joins the bundle first, signs later, and the one before stays in
//! the bundle until it expires. Expiry is judged by the wall clock.

pub mod authority;
pub mod bundle;
pub mod configuration;
pub mod entrances;
pub mod files;
pub mod keeper;
pub mod leaf;
pub mod own;
pub mod validity;

use std::time::Duration;

/// How long certificates live. Tests use seconds.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    pub authority: Duration,
    pub leaf: Duration,
}

//! Sources: what writes AppManifests besides people. Each owns those that carry its label and
//! removes them when the app goes.

pub mod helm_release;
mod write;

pub use write::{Document, Error, Writer};

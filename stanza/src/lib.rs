//! OlaresManifest text -> validated WebSocket settings, and the environment contract between
//! operator and gateway.
//!
//! A leaf crate: no IO, no async, no Kubernetes. Both programs and all tests read a manifest
//! through [`Manifest`], so that they cannot disagree about what it says.

pub mod choice;
pub mod env;
pub mod excerpt;
pub mod field;
mod manifest;
pub mod node;
pub mod problem;
pub mod quantity;
pub mod resources;
pub mod secret;
pub mod settings;
pub mod template;

pub use manifest::{CallbackTarget, Entrance, Manifest, WebSocket, gateway_options, spelled_alike};

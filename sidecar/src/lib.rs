//! The gateway: WebSocket frames become ordered HTTP callbacks, admin calls become frames.
//!
//! A library only so that tests, benches and fuzz targets reach its parts; the program is
//! `ws-gateway`.

pub mod admin;
pub mod budget;
pub mod callback;
pub mod cli;
pub mod config;
pub mod connection;
pub mod drain;
pub mod gateway;
pub mod heartbeat;
pub mod identity;
pub mod inbound;
pub mod journal;
pub mod metrics;
pub mod pace;
pub mod protocol;
pub mod registry;
pub mod reply;
pub mod secret_file;
pub mod selector;
pub mod session;
pub mod trust;
pub mod upgrade;

#[cfg(fuzzing)]
pub mod fuzzing;

mod app_pool;
mod args;
mod ask;
mod client_address;
mod connect;
mod dev;
mod echo;
mod expiry;
mod healthcheck;
mod hop_by_hop;
mod latin1;
mod listen;
mod logging;
mod memory;
mod ops;
mod proxy;
mod read_buffer;
mod recover;
mod run;
mod seldom;
mod server;
pub mod threads;
mod throttle;
mod trace_context;

//! The operator of the WebSocket gateway: sources say which app wants WebSockets, the webhook
//! puts a gateway into its pods, the controller repairs what came up without one.

pub mod api;
pub mod app;
pub mod ask;
pub mod certificate;
pub mod cli;
pub mod cluster;
pub mod controller;
pub mod entrance;
pub mod events;
pub mod injection;
pub mod lease;
pub mod logging;
pub mod metrics;
pub mod names;
pub mod ops;
pub mod platform;
pub mod probe;
pub mod queue;
pub mod reason;
pub mod retarget;
pub mod run;
pub mod seldom;
pub mod server;
pub mod settings;
pub mod shape;
pub mod source;
pub mod stand_down;
pub mod strangers;
pub mod text;
pub mod webhook;

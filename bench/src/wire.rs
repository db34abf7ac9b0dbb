//! As much of WebSocket and HTTP/1.1 as a load needs.

pub(crate) mod frame;
pub(crate) mod http;

//! End-to-end tests on a real cluster, with the real programs: what the tests share.

#![allow(clippy::print_stderr, reason = "tests speak to people")]

pub mod admission;
pub mod app;
pub mod authority;
pub mod chart;
pub mod client;
pub mod cluster;
pub mod command;
pub mod events;
pub mod manifest;
pub mod network;
pub mod olares;
pub mod operator;
pub mod scrape;
pub mod settings_page;
pub mod small;
pub mod template;
pub mod wait;

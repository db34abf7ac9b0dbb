//! End-to-end tests on a real cluster, with the real programs.

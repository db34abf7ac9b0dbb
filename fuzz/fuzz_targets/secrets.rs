//! Any text in the file of a signing key or of admin tokens: no panic, and no error repeats what
//! the file holds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ws_gateway::fuzzing::secrets;

/// Longer than any error of ours.
const LONG: usize = 100;

fuzz_target!(|text: &str| {
    for why in secrets(text).into_iter().filter_map(Result::err) {
        for line in text.lines().filter(|line| line.len() > LONG) {
            assert!(!why.contains(line), "{why}");
        }
    }
});

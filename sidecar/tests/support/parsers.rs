//! What others read metrics with: `promtool check metrics`, which also says what is bad style, and
//! OpenMetrics' reference parser. `make test` installs both.
#![allow(unreachable_pub, reason = "the operator's tests use it too")]

use std::io::Write as _;
use std::process::{Command, Stdio};

pub fn promtool(text: &str) {
    check(Command::new("promtool").args(["check", "metrics"]), text);
}

pub fn open_metrics(text: &str) {
    const PARSE: &str = "import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
assert list(text_string_to_metric_families(sys.stdin.read()))";
    // Debian's own: another in PATH has not its packages.
    check(Command::new("/usr/bin/python3").args(["-c", PARSE]), text);
}

fn check(command: &mut Command, text: &str) {
    let started = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = started.unwrap_or_else(|error| {
        panic!("{command:?}: {error}; `make test STAGES=setup` installs it")
    });
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
}

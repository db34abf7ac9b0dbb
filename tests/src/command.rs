//! Programs that people use as well: kubectl, helm, and our own.

use std::ffi::OsStr;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Runs a program to its end and returns what it printed; its words are the error if it fails.
pub fn run<I, S>(program: &str, args: I) -> Result<String>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = Command::new(program);
    command.args(args);
    let shown = format!("{command:?}");
    let output = command
        .output()
        .with_context(|| format!("cannot start {shown}"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{shown}: {}\n{words}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

pub fn kubectl<I, S>(args: I) -> Result<String>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    run("kubectl", args)
}

pub fn helm<I, S>(args: I) -> Result<String>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    run("helm", args)
}

/// What a command of kubectl shows, or why it shows nothing, under a title: for messages of failures.
pub fn look(title: &str, args: &[&str]) -> String {
    let found = kubectl(args).unwrap_or_else(|error| format!("{error:#}"));
    format!("--- {title}\n{}\n", found.trim_end())
}

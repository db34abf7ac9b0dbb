//! Programs that people use as well: kubectl, helm, and our own.

use std::ffi::OsStr;
use std::path::PathBuf;
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

/// Runs our own `ws-operator`, as built with the tests: its exit code, and what it printed.
pub fn operator(args: &[&str]) -> Result<(i32, String)> {
    let program = built("ws-operator")?;
    let output = Command::new(&program)
        .args(args)
        .env("RUST_LOG", "error")
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let code = output.status.code().context("killed")?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    if text.is_empty() {
        text = String::from_utf8_lossy(&output.stderr).into_owned();
    }
    Ok((code, text))
}

/// A program as built with the tests.
pub fn built(program: &str) -> Result<PathBuf> {
    let tests = std::env::current_exe().context("where am I?")?;
    // target/debug/deps/e2e-…
    let folder = tests.ancestors().nth(2).context("no target folder")?;
    Ok(folder.join(program))
}

/// What a command of kubectl shows, or why it shows nothing, under a title: for messages of failures.
pub fn look(title: &str, args: &[&str]) -> String {
    let found = kubectl(args).unwrap_or_else(|error| format!("{error:#}"));
    format!("--- {title}\n{}\n", found.trim_end())
}

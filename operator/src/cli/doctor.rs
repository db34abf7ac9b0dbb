//! `ws-operator doctor`: what keeps the operator from its work, and what to do about it.

mod apps;
mod callbacks;
mod look;
mod operator;
mod policies;
mod rights;
mod served;
mod sources;
mod webhook;

use clap::Args;
use kube::Client;
use serde_json::{Value as Json, json};

use super::{Format, Output};

/// Look for what keeps the operator from its work
///
/// Ends with 1 where something is broken. It reads, asks about rights, and creates an AppManifest
/// for the show only (a dry run). With few rights of your own, run it inside the operator's pod.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ws-operator doctor\n  kubectl exec -n ws-operator deploy/ws-operator -- /ws-operator doctor"
)]
pub(super) struct Arguments {
    /// The operator's namespace
    #[arg(long, short, default_value = "ws-operator", env = "POD_NAMESPACE")]
    namespace: String,
    #[arg(long, short, default_value = "text")]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grade {
    Good,
    Warning,
    Broken,
}

struct Finding {
    check: &'static str,
    grade: Grade,
    message: String,
    /// What to do, and where it is explained.
    fix: Option<(&'static str, &'static str)>,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<Output> {
    let findings = match Client::try_default().await {
        Ok(client) => look::examine(&client, &arguments.namespace).await,
        Err(error) => vec![operator::no_server(&error)],
    };
    let failed = findings.iter().any(|found| found.grade == Grade::Broken);
    let text = match arguments.output {
        Format::Text => findings.iter().map(Finding::text).collect(),
        Format::Json => format!(
            "{:#}\n",
            findings.iter().map(Finding::json).collect::<Json>()
        ),
    };
    Ok(Output { text, failed })
}

fn good(check: &'static str, message: String) -> Finding {
    let (grade, fix) = (Grade::Good, None);
    Finding {
        check,
        grade,
        message,
        fix,
    }
}

fn warning(check: &'static str, message: String, fix: &'static str, link: &'static str) -> Finding {
    Finding {
        grade: Grade::Warning,
        fix: Some((fix, link)),
        ..good(check, message)
    }
}

fn broken(check: &'static str, message: String, fix: &'static str, link: &'static str) -> Finding {
    Finding {
        grade: Grade::Broken,
        ..warning(check, message, fix, link)
    }
}

// === impl Finding ===

impl Finding {
    fn text(&self) -> String {
        let mut text = format!("{:<8} {}: {}\n", self.grade(), self.check, self.message);
        if let Some((fix, link)) = self.fix {
            text.push_str("         fix: ");
            text.push_str(fix);
            text.push_str(" (");
            text.push_str(link);
            text.push_str(")\n");
        }
        text
    }

    fn json(&self) -> Json {
        json!({
            "check": self.check,
            "grade": self.grade(),
            "message": self.message,
            "fix": self.fix.map(|(fix, _)| fix),
            "link": self.fix.map(|(_, link)| link),
        })
    }

    fn grade(&self) -> &'static str {
        match self.grade {
            Grade::Good => "good",
            Grade::Warning => "warning",
            Grade::Broken => "broken",
        }
    }
}

//! `ws-operator doctor`: what keeps the operator from its work, and what to do about it.

use clap::{Args, ValueEnum};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value as Json, json};

use super::Output;
use crate::api::AppManifest;
use crate::app::App;
use crate::cluster::chain;
use crate::probe::Probe;

/// Look for what keeps the operator from its work
///
/// Ends with 1 where something is broken. Run inside the operator's pod it also shows whether
/// the operator's own rights are complete; run by you it shows yours.
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

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
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

/// What the operator does with the API server, and what for.
const RIGHTS: [(&str, &str, &str); 11] = [
    ("ws.olares.com", "appmanifests", "watch"),
    ("", "pods", "watch"),
    ("", "services", "watch"),
    ("", "services", "create"),
    ("", "services", "patch"),
    ("", "services", "delete"),
    ("apps", "deployments", "patch"),
    ("apps", "statefulsets", "patch"),
    ("apps", "daemonsets", "patch"),
    ("policy", "poddisruptionbudgets", "watch"),
    ("", "namespaces", "watch"),
];

const OLDEST: u32 = 25;

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<Output> {
    let findings = match Client::try_default().await {
        Ok(client) => examine(&client, &arguments.namespace).await,
        Err(error) => vec![no_server(&error)],
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

async fn examine(client: &Client, namespace: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    match client.apiserver_version().await {
        Ok(version) => findings.push(of_version(&version.major, &version.minor)),
        Err(error) => return vec![no_server(&error)],
    }
    let manifests: Api<AppManifest> = Api::all(client.clone());
    match manifests.list(&ListParams::default()).await {
        Ok(list) => {
            findings.push(good("crd", "AppManifests are served".to_owned()));
            let apps: Vec<App> = list.into_iter().map(App::read).collect();
            findings.extend(of_apps(&apps));
            findings.push(of_webhook(
                Probe::new(client.clone(), namespace).ask().await,
            ));
        }
        Err(error) => findings.push(Finding {
            check: "crd",
            grade: Grade::Broken,
            message: format!("AppManifests cannot be listed: {}", chain(&error)),
            fix: Some((
                "install the CRD: ws-operator crds | kubectl apply -f -",
                "docs/operator.md#install",
            )),
        }),
    }
    findings.push(rights(client).await);
    findings
}

async fn rights(client: &Client) -> Finding {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let mut missing = Vec::new();
    for (group, resource, verb) in RIGHTS {
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    group: Some(group.to_owned()),
                    resource: Some(resource.to_owned()),
                    verb: Some(verb.to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        match reviews.create(&PostParams::default(), &review).await {
            Ok(answer) if answer.status.as_ref().is_some_and(|status| status.allowed) => {}
            Ok(_) => missing.push(format!("{verb} {resource}")),
            Err(error) => missing.push(format!("{verb} {resource} ({})", chain(&error))),
        }
    }
    of_rights(&missing)
}

// === findings (pure) ===

fn good(check: &'static str, message: String) -> Finding {
    let (grade, fix) = (Grade::Good, None);
    Finding {
        check,
        grade,
        message,
        fix,
    }
}

fn no_server(error: &dyn std::error::Error) -> Finding {
    Finding {
        check: "server",
        grade: Grade::Broken,
        message: format!("no API server answers: {}", chain(error)),
        fix: Some(("check KUBECONFIG", "docs/operator.md#install")),
    }
}

fn of_version(major: &str, minor: &str) -> Finding {
    let digits: String = minor.chars().take_while(char::is_ascii_digit).collect();
    let message = format!("Kubernetes {major}.{minor}");
    if major == "1" && digits.parse().is_ok_and(|minor: u32| minor < OLDEST) {
        let fix = Some((
            "upgrade to Kubernetes 1.25 or later",
            "docs/operator.md#install",
        ));
        let grade = Grade::Broken;
        return Finding {
            check: "server",
            grade,
            message,
            fix,
        };
    }
    good("server", message)
}

fn of_webhook(answered: bool) -> Finding {
    if answered {
        return good("webhook", "the API server reaches the webhook".to_owned());
    }
    Finding {
        check: "webhook",
        grade: Grade::Broken,
        message: "a dry-run AppManifest came back without the webhook's mark".to_owned(),
        fix: Some((
            "look at the operator's pods, their log, and whether a NetworkPolicy or firewall keeps the API server from port 9443",
            "docs/reasons.md#webhook-unreachable",
        )),
    }
}

fn of_rights(missing: &[String]) -> Finding {
    if missing.is_empty() {
        return good(
            "rights",
            "whoever asks has the operator's rights".to_owned(),
        );
    }
    Finding {
        check: "rights",
        grade: Grade::Warning,
        message: format!("whoever asks may not: {}", missing.join(", ")),
        fix: Some((
            "inside the operator's pod this must be empty: upgrade the chart, which grants them",
            "docs/operator.md#rights",
        )),
    }
}

fn of_apps(apps: &[App]) -> Vec<Finding> {
    let sum = |count: fn(&App) -> u32| apps.iter().map(count).sum::<u32>();
    let due = sum(|app| app.status.pods.bare + app.status.pods.stale);
    let outdated = sum(|app| app.status.pods.outdated);
    let mut findings = Vec::new();
    for app in apps {
        let ready = app
            .status
            .conditions
            .iter()
            .find(|found| found.kind == "Ready");
        if let Some(ready) = ready.filter(|ready| ready.status != "True") {
            findings.push(Finding {
                check: "apps",
                grade: Grade::Warning,
                message: format!("{}: {}: {}", app.id, ready.reason, ready.message),
                fix: Some((
                    "ws-operator explain app/NAME -n NAMESPACE",
                    "docs/reasons.md",
                )),
            });
        }
    }
    let unseen = apps.iter().filter(|app| app.status.conditions.is_empty());
    let unseen = unseen.count();
    if unseen > 0 {
        findings.push(Finding {
            check: "apps",
            grade: Grade::Warning,
            message: format!("{unseen} AppManifests have no status: no operator looked at them"),
            fix: Some((
                "look at the operator's pods and their log",
                "docs/operator.md#what-it-says",
            )),
        });
    }
    if due > 0 {
        findings.push(Finding {
            check: "pods",
            grade: Grade::Warning,
            message: format!("{due} pods lack the gateway or have settings of before"),
            fix: Some((
                "the status of their AppManifests says what the operator waits for",
                "docs/reasons.md",
            )),
        });
    }
    if outdated > 0 {
        findings.push(Finding {
            check: "pods",
            grade: Grade::Warning,
            message: format!("{outdated} pods run another gateway image than new ones get"),
            fix: Some((
                "restart their workloads when it suits",
                "docs/operator.md#what-it-does",
            )),
        });
    }
    if findings.is_empty() {
        findings.push(good(
            "apps",
            format!("{} apps, all as they should be", apps.len()),
        ));
    }
    findings
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_kubernetes_is_broken() {
        assert_eq!(of_version("1", "24").grade, Grade::Broken);
        assert_eq!(of_version("1", "34+").grade, Grade::Good);
    }

    #[test]
    fn each_finding_has_a_fix_and_a_link() {
        let found = of_webhook(false);
        assert!(
            found.text().starts_with("broken   webhook: "),
            "{}",
            found.text()
        );
        assert_eq!(found.json()["link"], "docs/reasons.md#webhook-unreachable");
        assert!(of_rights(&["patch services".to_owned()]).fix.is_some());
    }

    #[test]
    fn apps_that_are_not_ready_are_named() {
        let object = json!({
            "metadata": {"name": "chat", "namespace": "rooms"},
            "spec": {},
            "status": {
                "conditions": [{
                    "type": "Ready", "status": "False", "reason": "no-service",
                    "message": "no Service", "lastTransitionTime": "",
                }],
                "pods": {"bare": 1, "stale": 1, "outdated": 3},
            },
        });
        let app = App::read(serde_json::from_value(object).unwrap());
        let text: String = of_apps(&[app]).iter().map(Finding::text).collect();
        assert!(
            text.contains("rooms/chat: no-service: no Service"),
            "{text}"
        );
        assert!(
            text.contains("2 pods lack") && text.contains("3 pods run"),
            "{text}"
        );
        assert_eq!(of_apps(&[])[0].grade, Grade::Good);
    }
}

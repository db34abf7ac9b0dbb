//! Findings about apps and their pods, as the operator itself reports on them (pure).

use super::{Finding, good, warning};
use crate::app::App;
use crate::controller::APART;
use crate::reason::Reason;

pub(super) fn of_apps(apps: &[App]) -> Vec<Finding> {
    let sum = |count: fn(&App) -> u32| apps.iter().map(count).sum::<u32>();
    let due = sum(|app| app.status.pods.bare + app.status.pods.stale);
    let outdated = sum(|app| app.status.pods.outdated);
    let mut findings = Vec::new();
    for app in apps {
        let ready = app
            .status
            .conditions
            .iter()
            .find(|found| found.type_ == "Ready");
        if let Some(ready) = ready.filter(|ready| ready.status != "True") {
            let reason = Reason::named(&ready.reason);
            let remedy = reason.and_then(|reason| reason.remedy(&ready.message));
            findings.push(warning(
                "apps",
                format!("{}: {}: {}", app.id, ready.reason, ready.message),
                remedy.unwrap_or("ws-operator explain app/NAME -n NAMESPACE"),
                "docs/reasons.md",
            ));
        }
    }
    for app in apps.iter().filter(|app| app.status.pods.ready > 1) {
        findings.push(warning(
            "replicas",
            format!(
                "{}: {} pods serve WebSockets; {APART}",
                app.id, app.status.pods.ready
            ),
            "scale the workload to one replica, unless its pods need none of each other's clients",
            "docs/operator/routing.md#several-replicas",
        ));
    }
    let unseen = apps.iter().filter(|app| app.status.conditions.is_empty());
    let unseen = unseen.count();
    if unseen > 0 {
        findings.push(warning(
            "apps",
            format!("{unseen} AppManifests have no status: no operator looked at them"),
            "look at the operator's pods and their log",
            "docs/operator/observability.md#status",
        ));
    }
    if due > 0 {
        findings.push(warning(
            "pods",
            format!("{due} pods lack the gateway or have outdated settings"),
            "the status of their AppManifests says what the operator waits for",
            "docs/reasons.md",
        ));
    }
    if outdated > 0 {
        findings.push(warning(
            "pods",
            format!("{outdated} pods run another gateway image than new ones get"),
            "run ws-operator roll --all at a time of your choice",
            "docs/operator/rollouts.md",
        ));
    }
    if findings.is_empty() {
        findings.push(good(
            "apps",
            format!("{} apps, all as they should be", apps.len()),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Grade;
    use super::*;

    #[test]
    fn a_refusal_is_told_with_its_remedy() {
        let object = json!({
            "metadata": {"name": "chat", "namespace": "rooms"}, "spec": {},
            "status": {"conditions": [{
                "type": "Ready", "status": "False", "reason": "PodsRefused",
                "message": "exceeded quota: q", "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]},
        });
        let app = App::read(serde_json::from_value(object).unwrap());
        let text: String = of_apps(&[app]).iter().map(Finding::text).collect();
        assert!(text.contains("fix: raise the ResourceQuota"), "{text}");
    }

    #[test]
    fn apps_that_are_not_ready_are_named() {
        let object = json!({
            "metadata": {"name": "chat", "namespace": "rooms"},
            "spec": {},
            "status": {
                "conditions": [{
                    "type": "Ready", "status": "False", "reason": "NoService",
                    "message": "no Service", "lastTransitionTime": "2026-01-01T00:00:00Z",
                }],
                "pods": {"bare": 1, "stale": 1, "outdated": 3, "ready": 2},
            },
        });
        let app = App::read(serde_json::from_value(object).unwrap());
        let text: String = of_apps(&[app]).iter().map(Finding::text).collect();
        assert!(text.contains("rooms/chat: NoService: no Service"), "{text}");
        assert!(
            text.contains("2 pods lack") && text.contains("3 pods run"),
            "{text}"
        );
        assert!(
            text.contains("replicas: rooms/chat: 2 pods serve WebSockets"),
            "{text}"
        );
        assert_eq!(of_apps(&[])[0].grade, Grade::Good);
    }
}

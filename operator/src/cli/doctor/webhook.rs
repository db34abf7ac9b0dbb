//! Findings about the webhook configuration and its certificates (pure).

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations,
};
use rustls::pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};

use super::super::installed::Installed;
use super::served::Served;
use super::{Finding, broken, good, warning};
use crate::certificate::validity::not_after;
use crate::webhook::door;

/// Our own are renewed days before; those of others perhaps by hand.
const SOON: Duration = Duration::days(1);
const SOON_BY_HAND: Duration = Duration::days(14);

const REINSTALL: &str = "install the chart again: helm upgrade, or kubectl apply -f install.yaml";
const INSTALL: &str = "docs/operator/install.md";
const CERTIFICATES: &str = "docs/operator/certificates.md#certificates";

/// What the chart installs: a webhook's name, the operations and the resource.
const EXPECTED: [(&str, &[&str], &str); 3] = [
    ("pods.ws.olares.com", &["CREATE"], "pods"),
    ("services.ws.olares.com", &["UPDATE"], "services"),
    (
        "appmanifests.ws.olares.com",
        &["CREATE", "UPDATE"],
        "appmanifests",
    ),
];

pub(super) fn unseen(name: &str, error: &str) -> Finding {
    warning(
        "configuration",
        format!("the MutatingWebhookConfiguration {name} cannot be read: {error}"),
        "ask with rights to read it, or run doctor in the operator's pod",
        "docs/operator/rights.md",
    )
}

/// `found`: `None`, it is not there.
pub(super) fn of_configuration(
    name: &str,
    found: Option<&MutatingWebhookConfiguration>,
    namespace: &str,
    service: &str,
) -> Finding {
    let check = "configuration";
    let Some(found) = found else {
        let message =
            format!("there is no MutatingWebhookConfiguration {name}: no pod gets a gateway");
        return broken(check, message, REINSTALL, INSTALL);
    };
    let webhooks = found.webhooks.as_deref().unwrap_or_default();
    let wrong: Vec<String> = EXPECTED
        .iter()
        .filter_map(|(webhook, operations, resource)| {
            let found = webhooks.iter().find(|one| one.name == *webhook);
            let Some(found) = found else {
                return Some(format!("{webhook} is missing"));
            };
            difference(found, operations, resource, namespace, service)
                .map(|what| format!("{webhook}: {what}"))
        })
        .collect();
    if wrong.is_empty() {
        let count = webhooks.len();
        return good(check, format!("{name} has its {count} webhooks"));
    }
    broken(
        check,
        format!("{name}: {}", wrong.join("; ")),
        REINSTALL,
        INSTALL,
    )
}

fn difference(
    found: &MutatingWebhook,
    operations: &[&str],
    resource: &str,
    namespace: &str,
    service: &str,
) -> Option<String> {
    let has = |rule: &RuleWithOperations| {
        let known = rule.operations.as_deref().unwrap_or_default();
        let resources = rule.resources.as_deref().unwrap_or_default();
        resources.iter().any(|one| one == resource)
            && operations
                .iter()
                .all(|operation| known.iter().any(|one| one == operation || one == "*"))
    };
    if !found.rules.iter().flatten().any(has) {
        return Some(format!(
            "no rule for {} of {resource}",
            operations.join(" and ")
        ));
    }
    if found.failure_policy.as_deref() != Some("Ignore") {
        let policy = found.failure_policy.as_deref().unwrap_or("Fail");
        return Some(format!(
            "failurePolicy is {policy}, which keeps pods from starting while the operator is away"
        ));
    }
    match &found.client_config.service {
        Some(to) if to.name == service && to.namespace == namespace => {
            let led = to.path.as_deref().is_some_and(door::is_ours);
            let words = "the operator has written no path into it: its log says why, and until then it answers nobody";
            (!led).then(|| words.to_owned())
        }
        Some(to) => Some(format!(
            "it leads to the Service {} in {}, not to {service} in {namespace}",
            to.name, to.namespace
        )),
        None => Some("it leads to no Service".to_owned()),
    }
}

pub(super) fn of_bundle(
    bundle: &[CertificateDer<'static>],
    installed: &Installed,
    now: OffsetDateTime,
) -> Finding {
    let check = "caBundle";
    let ends = bundle.iter().filter_map(|one| not_after(one));
    let alive: Vec<OffsetDateTime> = ends.filter(|end| *end > now).collect();
    let Some(last) = alive.iter().max() else {
        let message = "the caBundle holds no certificate that is valid now: the API server trusts no webhook of ours".to_owned();
        return broken(check, message, fix(installed), CERTIFICATES);
    };
    let message = format!(
        "{} certificates, the last expires in {}",
        alive.len(),
        words(*last - now)
    );
    if *last - now < patience(installed) {
        return warning(check, message, fix(installed), CERTIFICATES);
    }
    good(check, message)
}

/// `replicas`: how many there are.
pub(super) fn of_certificates(
    served: &[Served],
    replicas: usize,
    installed: &Installed,
    now: OffsetDateTime,
) -> Vec<Finding> {
    let check = "certificate";
    let mut findings: Vec<Finding> = served
        .iter()
        .map(|one| {
            let pod = &one.pod;
            if let Some(why) = &one.untrusted {
                let message = format!(
                    "{pod} serves a certificate that the caBundle does not vouch for ({why})"
                );
                return broken(check, message, fix(installed), CERTIFICATES);
            }
            match one.expires.map(|end| end - now) {
                Some(left) if left.is_negative() => {
                    let message = format!(
                        "{pod} serves a certificate that expired {} ago",
                        words(-left)
                    );
                    broken(check, message, fix(installed), CERTIFICATES)
                }
                Some(left) if left < patience(installed) => {
                    let message =
                        format!("{pod} serves a certificate that expires in {}", words(left));
                    warning(check, message, fix(installed), CERTIFICATES)
                }
                Some(left) => good(
                    check,
                    format!("{pod} serves one that expires in {}", words(left)),
                ),
                None => {
                    let message = format!("{pod} serves a certificate that cannot be read");
                    broken(check, message, fix(installed), CERTIFICATES)
                }
            }
        })
        .collect();
    if served.len() < replicas {
        let unseen = replicas - served.len();
        let message =
            format!("what {unseen} of {replicas} replicas serve cannot be seen from here");
        let fix = "run doctor in the cluster: kubectl exec -n NAMESPACE deploy/NAME -- /ws-operator doctor";
        findings.push(warning(check, message, fix, CERTIFICATES));
    }
    findings
}

fn patience(installed: &Installed) -> Duration {
    if installed.has_foreign_certificates() {
        SOON_BY_HAND
    } else {
        SOON
    }
}

fn fix(installed: &Installed) -> &'static str {
    if installed.has_foreign_bundle() {
        "look at cert-manager's Certificate and its cainjector's log"
    } else if installed.has_foreign_certificates() {
        "replace tls.crt, tls.key and ca.crt in the Secret; the operator's log says what it does not take"
    } else {
        "look at the operator's log: it renews certificates and writes the caBundle by itself"
    }
}

fn words(left: Duration) -> String {
    match (left.whole_days(), left.whole_hours(), left.whole_minutes()) {
        (0, 0, minutes) => format!("{minutes} minutes"),
        (0, hours, _) => format!("{hours} hours"),
        (days, _, _) => format!("{days} days"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Grade;
    use super::*;
    use crate::certificate::authority::Authorities;
    use crate::certificate::bundle;
    use door::{About, Key};

    fn configuration(change: impl FnOnce(&mut serde_json::Value)) -> MutatingWebhookConfiguration {
        let key = Key::generate().unwrap();
        let webhook = |name: &str, operations: &[&str], resource: &str| {
            let path = About::of_webhook(name).map(|about| key.path(about));
            json!({
                "name": name, "failurePolicy": "Ignore", "admissionReviewVersions": [], "sideEffects": "None",
                "clientConfig": {"service": {"name": "ws", "namespace": "ns", "path": path}},
                "rules": [{"operations": operations, "resources": [resource]}],
            })
        };
        let webhooks =
            EXPECTED.map(|(name, operations, resource)| webhook(name, operations, resource));
        let mut object = json!({"metadata": {"name": "ws"}, "webhooks": webhooks});
        change(&mut object);
        serde_json::from_value(object).unwrap()
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut serde_json::Value), expected: &str) {
        let found = configuration(change);
        let finding = of_configuration("ws", Some(&found), "ns", "ws");
        assert_eq!(finding.message, expected);
    }

    #[test]
    fn a_changed_configuration_is_named() {
        check(|_| {}, "ws has its 3 webhooks");
        check(
            |object| object["webhooks"][0]["failurePolicy"] = json!("Fail"),
            "ws: pods.ws.olares.com: failurePolicy is Fail, which keeps pods from starting while the operator is away",
        );
        check(
            |object| object["webhooks"][2]["rules"][0]["operations"] = json!(["CREATE"]),
            "ws: appmanifests.ws.olares.com: no rule for CREATE and UPDATE of appmanifests",
        );
        check(
            |object| object["webhooks"][1]["clientConfig"]["service"]["name"] = json!("old"),
            "ws: services.ws.olares.com: it leads to the Service old in ns, not to ws in ns",
        );
        check(
            |object| object["webhooks"][0]["clientConfig"]["service"]["path"] = json!("/pods"),
            "ws: pods.ws.olares.com: the operator has written no path into it: its log says why, and until then it answers nobody",
        );
        check(
            |object| object["webhooks"] = json!([]),
            "ws: pods.ws.olares.com is missing; services.ws.olares.com is missing; appmanifests.ws.olares.com is missing",
        );
        assert_eq!(
            of_configuration("ws", None, "ns", "ws").grade,
            Grade::Broken
        );
    }

    #[test]
    fn certificates_are_judged_by_their_end() {
        let now = OffsetDateTime::now_utc();
        let grade = |days: i64| {
            let served = Served {
                pod: "ws-1".to_owned(),
                expires: Some(now + Duration::days(days) + Duration::hours(1)),
                untrusted: None,
            };
            of_certificates(&[served], 1, &Installed::default(), now)[0].grade
        };
        assert_eq!(grade(9), Grade::Good);
        assert_eq!(grade(0), Grade::Warning);
        assert_eq!(grade(-2), Grade::Broken);
        let unseen = of_certificates(&[], 2, &Installed::default(), now);
        assert!(
            unseen[0].message.starts_with("what 2 of 2"),
            "{}",
            unseen[0].message
        );
    }

    #[test]
    fn an_empty_bundle_is_broken() {
        let now = OffsetDateTime::now_utc();
        let life = std::time::Duration::from_hours(48);
        let authorities = Authorities::new(life, now).unwrap();
        let bundle = bundle::parse(authorities.bundle().as_bytes());
        let installed = Installed::default();
        assert_eq!(of_bundle(&bundle, &installed, now).grade, Grade::Good);
        assert_eq!(of_bundle(&[], &installed, now).grade, Grade::Broken);
        let later = now + Duration::hours(49);
        assert_eq!(of_bundle(&bundle, &installed, later).grade, Grade::Broken);
    }
}

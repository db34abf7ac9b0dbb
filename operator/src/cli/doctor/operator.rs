//! Findings about the API server and the operator itself (pure).

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::super::installed::Installed;
use super::rights::Missing;
use super::{Finding, broken, good, warning};
use crate::cluster::chain;

const OLDEST: u32 = 25;
/// A holder renews every two seconds; clocks differ.
const SILENT: SignedDuration = SignedDuration::from_secs(30);

const INSTALL: &str = "docs/operator/install.md";
const LOOK: &str = "look at the operator's pods, their Events and their log";

pub(super) fn no_server(error: &dyn std::error::Error) -> Finding {
    let message = format!("no API server answers: {}", chain(error));
    broken("server", message, "check KUBECONFIG", INSTALL)
}

pub(super) fn of_server(major: &str, minor: &str) -> Finding {
    let digits: String = minor.chars().take_while(char::is_ascii_digit).collect();
    let message = format!("Kubernetes {major}.{minor}");
    if major == "1" && digits.parse().is_ok_and(|minor: u32| minor < OLDEST) {
        let fix = "upgrade to Kubernetes 1.25 or later";
        return broken("server", message, fix, INSTALL);
    }
    good("server", message)
}

pub(super) fn no_crd(error: &str) -> Finding {
    broken(
        "crd",
        format!("AppManifests cannot be listed: {error}"),
        "install the CRD: ws-operator crds | kubectl apply -f -",
        INSTALL,
    )
}

pub(super) fn of_crd(has_other_schema: bool) -> Finding {
    if has_other_schema {
        return warning(
            "crd",
            "the CRD is of another version than this program: a status may not be written"
                .to_owned(),
            "upgrade the chart (crds.install), or: ws-operator crds | kubectl apply --server-side -f -",
            INSTALL,
        );
    }
    good("crd", "AppManifests are served".to_owned())
}

pub(super) fn absent(namespace: &str) -> Finding {
    broken(
        "operator",
        format!("there is no operator in the namespace {namespace}"),
        "install the chart, or name the operator's namespace with -n",
        INSTALL,
    )
}

pub(super) fn unseen(namespace: &str, error: &str) -> Finding {
    warning(
        "operator",
        format!("the Deployments of {namespace} cannot be listed: {error}"),
        "ask with rights to read them, or run doctor in the operator's pod",
        "docs/operator/rights.md",
    )
}

pub(super) fn of_replicas(installed: &Installed) -> Finding {
    let Installed {
        name,
        wanted,
        ready,
        ..
    } = installed;
    let message = format!("{ready} of {wanted} replicas of {name} are ready");
    let link = "docs/operator/install.md";
    if *wanted == 0 {
        let message = format!("{name} is scaled to zero: new pods start without a gateway");
        let fix = "kubectl scale deployment/NAME --replicas=2";
        return broken("operator", message, fix, link);
    }
    if *ready == 0 {
        return broken("operator", message, LOOK, link);
    }
    if ready < wanted {
        return warning("operator", message, LOOK, link);
    }
    good("operator", message)
}

pub(super) fn of_version(installed: &Installed) -> Finding {
    let own = env!("CARGO_PKG_VERSION");
    match installed.version() {
        Some(version) if version != own => warning(
            "version",
            format!("the operator is {version}, this program {own}"),
            "use the same version of both: some findings may not apply",
            INSTALL,
        ),
        Some(version) => good(
            "version",
            format!(
                "operator {version}, new gateways {}",
                installed.gateway_image()
            ),
        ),
        None => good(
            "version",
            format!("operator {}, this program {own}", installed.image),
        ),
    }
}

pub(super) fn unseen_lease(error: &str) -> Finding {
    warning(
        "lease",
        format!("the Lease cannot be read: {error}"),
        "ask with rights to read it, or run doctor in the operator's pod",
        "docs/operator/rights.md",
    )
}

/// `pods`: the replicas that there are.
pub(super) fn of_lease(lease: Option<&Lease>, pods: &[String], now: Timestamp) -> Finding {
    let (check, link) = ("lease", "docs/operator/install.md");
    let told = |why: &str, fix| {
        let message =
            format!("no active leader: {why}. Nothing is restarted or routed; admission continues");
        broken(check, message, fix, link)
    };
    let nobody = |why: &str| told(why, LOOK);
    let Some(lease) = lease else {
        let fix = "a replica makes it within seconds; where it does not, its log says why";
        return told("there is no Lease", fix);
    };
    let spec = lease.spec.clone().unwrap_or_default();
    let holder = spec.holder_identity.unwrap_or_default();
    if holder.is_empty() {
        return nobody("the Lease has no holder");
    }
    if !pods.contains(&holder) {
        return nobody(&format!("the Lease is {holder}'s, which is not there"));
    }
    let renewed = spec.renew_time.map(|time| time.0);
    match renewed.map(|renewed| now.duration_since(renewed)) {
        Some(silent) if silent > SILENT => nobody(&format!(
            "{holder} was last heard of {} s ago",
            silent.as_secs()
        )),
        _ => good(check, format!("{holder} controls")),
    }
}

/// `there`: whether the operator's Secret is.
pub(super) fn of_secret(name: &str, there: bool) -> Finding {
    let (check, link) = ("secret", "docs/operator/certificates.md#certificates");
    if there {
        return good(check, format!("{name} is there"));
    }
    let message = format!("the operator's Secret {name} is not there");
    let fix = "a replica makes it within half a minute; where it does not, its log says why";
    broken(check, message, fix, link)
}

pub(super) fn of_reach(answered: bool) -> Finding {
    if answered {
        return good("webhook", "the API server reaches the webhook".to_owned());
    }
    broken(
        "webhook",
        "a dry-run AppManifest came back without the webhook's mark".to_owned(),
        "mend what else is broken here; if nothing is, a NetworkPolicy or firewall may keep the API server from port 9443",
        "docs/reasons.md#webhookunreachable",
    )
}

pub(super) fn of_rights(missing: &Missing) -> Finding {
    let who = missing.account.as_deref().unwrap_or("whoever asks");
    if missing.rights.is_empty() {
        return good("rights", format!("{who} has the operator's rights"));
    }
    let message = format!("{who} may not: {}", missing.rights.join(", "));
    let link = "docs/operator/rights.md";
    match missing.account {
        Some(_) => broken(
            "rights",
            message,
            "upgrade the chart, which grants them",
            link,
        ),
        None => warning(
            "rights",
            message,
            "these are your rights; for the operator's run doctor in its pod, or as an admin",
            link,
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Grade;
    use super::*;

    #[test]
    fn an_old_kubernetes_is_broken() {
        assert_eq!(of_server("1", "24").grade, Grade::Broken);
        assert_eq!(of_server("1", "34+").grade, Grade::Good);
    }

    #[test]
    fn each_finding_has_a_fix_and_a_link() {
        let found = of_reach(false);
        assert!(
            found.text().starts_with("broken   webhook: "),
            "{}",
            found.text()
        );
        assert_eq!(found.json()["link"], "docs/reasons.md#webhookunreachable");
        let missing = |account: Option<&str>| Missing {
            account: account.map(str::to_owned),
            rights: vec!["patch services".to_owned()],
        };
        assert_eq!(of_rights(&missing(Some("it"))).grade, Grade::Broken);
        assert_eq!(of_rights(&missing(None)).grade, Grade::Warning);
    }

    #[test]
    fn a_lease_has_a_holder_that_lives() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let check = |holder: &str, renewed: &str| {
            let lease = json!({"spec": {"holderIdentity": holder, "renewTime": renewed}});
            let lease: Lease = serde_json::from_value(lease).unwrap();
            of_lease(Some(&lease), &["a".to_owned()], now).grade
        };
        assert_eq!(check("a", "2026-01-01T00:00:58.000000Z"), Grade::Good);
        assert_eq!(check("a", "2026-01-01T00:00:10.000000Z"), Grade::Broken);
        assert_eq!(check("b", "2026-01-01T00:00:58.000000Z"), Grade::Broken);
        assert_eq!(check("", "2026-01-01T00:00:58.000000Z"), Grade::Broken);
        assert_eq!(of_lease(None, &[], now).grade, Grade::Broken);
    }

    #[test]
    fn replicas_are_counted() {
        let grade = |wanted, ready| {
            let installed = Installed {
                wanted,
                ready,
                ..Installed::default()
            };
            of_replicas(&installed).grade
        };
        assert_eq!(grade(2, 2), Grade::Good);
        assert_eq!(grade(2, 1), Grade::Warning);
        assert_eq!(grade(2, 0), Grade::Broken);
        assert_eq!(grade(0, 0), Grade::Broken);
    }
}

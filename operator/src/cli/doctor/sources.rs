//! Findings about apps that the operator cannot hear of: releases of Helm that are in no Secret
//! (pure).

use std::collections::BTreeSet;

use super::{Finding, good, warning};
use crate::cli::installed::Sources;

const CHECK: &str = "sources";
const LINK: &str = "docs/operator/install.md#gitops-and-clouds";

/// What was seen of other places that know of apps.
#[derive(Default)]
pub(super) struct Elsewhere {
    /// Namespaces where Helm keeps releases in ConfigMaps (`HELM_DRIVER=configmap`).
    pub(super) config_maps: BTreeSet<String>,
    pub(super) argo_cd: bool,
}

pub(super) fn of_sources(sources: &Sources, elsewhere: &Elsewhere) -> Vec<Finding> {
    if !sources.helm {
        let message = "no Helm release is read (sources.helm.enabled: false)";
        return vec![good(CHECK, message.to_owned())];
    }
    let where_ = match sources.helm_namespaces.as_slice() {
        [] => "all namespaces".to_owned(),
        some => format!("the namespaces {}", some.join(", ")),
    };
    let mut findings = vec![good(
        CHECK,
        format!(
            "Helm releases are read from Secrets of {where_}; releases of HELM_DRIVER=sql cannot be seen"
        ),
    )];
    if !elsewhere.config_maps.is_empty() {
        let namespaces: Vec<&str> = elsewhere.config_maps.iter().map(String::as_str).collect();
        findings.push(warning(
            CHECK,
            format!(
                "Helm keeps releases in ConfigMaps in {} (HELM_DRIVER=configmap), which are not read: no app of \
                 theirs gets an AppManifest",
                namespaces.join(", ")
            ),
            "ws-operator manifest CHART | kubectl apply -f -, beside the app; or HELM_DRIVER=secret",
            LINK,
        ));
    }
    if elsewhere.argo_cd {
        findings.push(good(
            CHECK,
            "Argo CD is here and makes no Helm releases: its apps need the label or an AppManifest in Git \
             (ws-operator manifest CHART)"
                .to_owned(),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;

    fn text(helm: bool, elsewhere: &Elsewhere) -> (usize, String) {
        let sources = Sources {
            helm,
            helm_namespaces: Vec::new(),
            pod_labels: true,
            application_managers: false,
        };
        let found = of_sources(&sources, elsewhere);
        let warnings = found.iter().filter(|one| one.grade == Grade::Warning);
        (
            warnings.count(),
            found.iter().map(Finding::text).collect::<String>(),
        )
    }

    #[test]
    fn releases_that_nobody_reads_are_told_of() {
        let (warnings, said) = text(true, &Elsewhere::default());
        assert_eq!(warnings, 0, "{said}");
        let elsewhere = Elsewhere {
            config_maps: ["a", "b"].map(str::to_owned).into(),
            argo_cd: true,
        };
        let (warnings, said) = text(true, &elsewhere);
        assert_eq!(warnings, 1, "{said}");
        assert!(said.contains("ConfigMaps in a, b"), "{said}");
        assert!(said.contains("Argo CD is here"), "{said}");
        // Where none is read, none is missed.
        assert_eq!(text(false, &elsewhere).0, 0);
    }
}

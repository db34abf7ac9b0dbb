//! What the operator may, by which sources are on.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::template::{OLDEST, object, render, render_knowing};
use serde_json::{Value as Json, json};

const LIMITED: &str = "-json=sources.helm.namespaces=[\"rooms\",\"shop\"]";
const OTHERS_OFF: [&str; 2] = [
    "=sources.podLabel.enabled=false",
    "=sources.applicationManager=false",
];

pub(crate) fn rights_follow_the_sources(helm: &Path) -> Result<()> {
    let all = render(helm, OLDEST, &[])?;
    ensure!(everywhere(&all, "secrets", "list")?);
    ensure!(everywhere(&all, "appmanifests", "create")?);
    ensure!(everywhere(&all, "applicationmanagers", "watch")?);
    ensure!(object(&all, "Role", "ws-operator-helm").is_err());

    let none = [&OTHERS_OFF[..], &["=sources.helm.enabled=false"]].concat();
    let none = render(helm, OLDEST, &none)?;
    for (resource, verb) in [
        ("secrets", "get"),
        ("appmanifests", "create"),
        ("applicationmanagers", "list"),
    ] {
        ensure!(!everywhere(&none, resource, verb)?, "{verb} {resource}");
    }
    ensure!(everywhere(&none, "appmanifests", "watch")?);

    // Whatever else is on, no Secret beyond those namespaces.
    for (more, writes) in [(&[][..], false), (&OTHERS_OFF[..], true)] {
        let objects = render(helm, OLDEST, &[more, &[LIMITED]].concat())?;
        ensure!(!everywhere(&objects, "secrets", "get")?);
        ensure!(everywhere(&objects, "appmanifests", "create")? != writes);
        for namespace in ["rooms", "shop"] {
            let of = |kind: &str| {
                let mut found = objects.iter().filter(|object| object["kind"] == kind);
                found.find(|object| object["metadata"]["namespace"] == namespace)
            };
            let role = of("Role").is_some_and(|role| {
                allows(role, "secrets", "watch") && allows(role, "appmanifests", "delete") == writes
            });
            let subject = of("RoleBinding").map(|binding| &binding["subjects"][0]);
            ensure!(role && subject.is_some_and(|subject| subject["name"] == "ws-operator"));
        }
        let operator = object(&objects, "Deployment", "")?;
        let environment = &operator["spec"]["template"]["spec"]["containers"][0]["env"];
        let told = json!({"name": "WS_OPERATOR_HELM_NAMESPACES", "value": "rooms,shop"});
        let told = |all: &Vec<Json>| all.contains(&told);
        ensure!(environment.as_array().is_some_and(told), "{environment}");
    }
    Ok(())
}

/// What has no name before it is there can be made in the operator's own namespace alone.
pub(crate) fn what_is_missing_is_made_at_home(helm: &Path) -> Result<()> {
    let objects = render(helm, OLDEST, &[])?;
    let home = objects.iter().filter(|object| object["kind"] == "Role");
    let home: Vec<&Json> = home.collect();
    for resource in ["secrets", "leases"] {
        ensure!(!everywhere(&objects, resource, "create")?, "{resource}");
        let makes = home.iter().filter(|role| allows(role, resource, "create"));
        let places: Vec<&Json> = makes.map(|role| &role["metadata"]["namespace"]).collect();
        ensure!(places == ["ws-operator"], "{resource}: {places:?}");
        for verb in ["get", "list", "watch", "update", "delete"] {
            let any = home.iter().any(|role| allows(role, resource, verb));
            ensure!(!any, "{verb} any of the {resource}");
        }
    }
    Ok(())
}

/// Of the operator's own ServiceAccount, whatever the release and the account are called.
pub(crate) fn policies_narrow_them_where_the_api_server_can(helm: &Path) -> Result<()> {
    const KIND: &str = "ValidatingAdmissionPolicy";
    const KNOWN: &str = "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy";
    const ON: &str = "=validatingAdmissionPolicy.enabled=true";
    const OFF: &str = "=validatingAdmissionPolicy.enabled=false";
    for (kinds, sets, count) in [
        (&[][..], &[][..], 0),
        (&[KNOWN], &[], 4),
        (&[KNOWN], &[OFF], 0),
        (&[], &[ON], 4),
    ] {
        let objects = render_knowing(helm, OLDEST, kinds, sets)?;
        let found = objects.iter().filter(|object| object["kind"] == KIND);
        ensure!(found.count() == count, "{kinds:?} {sets:?}");
    }
    let account = "=serviceAccount.name=someone,fullnameOverride=short";
    let all = render(helm, OLDEST, &[ON, account])?;
    for policy in all.iter().filter(|object| object["kind"] == KIND) {
        let spec = &policy["spec"];
        ensure!(spec["failurePolicy"] == "Fail", "{spec}");
        let whose = &spec["matchConditions"][0]["expression"];
        let someone = r#"request.userInfo.username.endsWith(":someone") && "#;
        let whose = whose.as_str().context("no condition")?;
        ensure!(whose.contains(someone), "{whose}");
        let name = &policy["metadata"]["name"];
        let bound = all.iter().any(|object| {
            let spec = &object["spec"];
            object["kind"] == "ValidatingAdmissionPolicyBinding"
                && spec["policyName"] == *name
                && spec["validationActions"] == json!(["Deny"])
        });
        ensure!(bound, "{name} is bound by nobody");
    }
    Ok(())
}

fn everywhere(objects: &[Json], resource: &str, verb: &str) -> Result<bool> {
    let role = object(objects, "ClusterRole", "ws-operator")?;
    Ok(allows(role, resource, verb))
}

/// Without regard to single objects by name.
fn allows(role: &Json, resource: &str, verb: &str) -> bool {
    let has = |list: &Json, word: &str| {
        list.as_array()
            .is_some_and(|all| all.contains(&json!(word)))
    };
    role["rules"].as_array().is_some_and(|rules| {
        rules.iter().any(|rule| {
            rule["resourceNames"].is_null()
                && has(&rule["resources"], resource)
                && has(&rule["verbs"], verb)
        })
    })
}

//! What the operator may, by which sources are on.

use std::path::Path;

use anyhow::{Result, ensure};
use e2e::template::{OLDEST, object, render};
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

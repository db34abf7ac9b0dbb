//! Whose certificates the webhook serves, and who writes the caBundle.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::template::{OLDEST, object, refusal, render};
use serde_json::{Value as Json, json};

const CERT_MANAGER: &str = "=certificates.certManager.enabled=true";
const HOST: &str = "ws-operator.ws-operator.svc";

fn variable<'a>(objects: &'a [Json], name: &str) -> Result<Option<&'a str>> {
    let container = object(objects, "Deployment", "")?.pointer("/spec/template/spec/containers/0");
    let variables = container.and_then(|container| container["env"].as_array());
    let found = variables
        .context("no variables")?
        .iter()
        .find(|one| one["name"] == name);
    Ok(found.and_then(|one| one["value"].as_str()))
}

/// The Secret that is mounted where the operator looks.
fn mounted(objects: &[Json]) -> Result<&Json> {
    let pod = &object(objects, "Deployment", "")?["spec"]["template"]["spec"];
    let mount = &pod["containers"][0]["volumeMounts"][0];
    ensure!(mount["mountPath"].as_str() == variable(objects, "WS_OPERATOR_CERTIFICATES")?);
    ensure!(mount["readOnly"] == true);
    let volume = &pod["volumes"][0];
    ensure!(volume["name"] == mount["name"]);
    Ok(&volume["secret"]["secretName"])
}

/// The verbs on that resource of that name, in whichever role.
fn verbs(objects: &[Json], resource: &str, name: &str) -> Vec<String> {
    let rules = objects
        .iter()
        .filter(|object| object["kind"] == "ClusterRole" || object["kind"] == "Role")
        .filter_map(|role| role["rules"].as_array())
        .flatten();
    let has = |list: &Json, word: &str| {
        list.as_array()
            .is_some_and(|all| all.iter().any(|one| one == word))
    };
    rules
        .filter(|rule| has(&rule["resources"], resource) && has(&rule["resourceNames"], name))
        .filter_map(|rule| rule["verbs"].as_array())
        .flatten()
        .filter_map(|verb| verb.as_str().map(str::to_owned))
        .collect()
}

pub(crate) fn by_default_they_are_the_operators_own(helm: &Path) -> Result<()> {
    let objects = render(helm, OLDEST, &[])?;
    ensure!(variable(&objects, "WS_OPERATOR_CERTIFICATES")?.is_none());
    object(&objects, "Secret", "ws-operator-ca")?;
    ensure!(verbs(&objects, "secrets", "ws-operator-ca") == ["get", "update"]);
    ensure!(verbs(&objects, "mutatingwebhookconfigurations", "ws-operator") == ["get", "patch"]);
    Ok(())
}

/// Who compares the cluster with the chart finds no difference in what the operator writes.
pub(crate) fn the_api_servers_way_is_left_to_the_operator(helm: &Path) -> Result<()> {
    for set in [
        "=certificates.existingSecret=webhook-tls",
        CERT_MANAGER,
        "=replicas=1",
    ] {
        let objects = render(helm, OLDEST, &[set])?;
        let configuration = object(&objects, "MutatingWebhookConfiguration", "ws-operator")?;
        let webhooks = configuration["webhooks"]
            .as_array()
            .context("no webhooks")?;
        for webhook in webhooks {
            let config = webhook["clientConfig"].as_object().context("no config")?;
            ensure!(config.keys().eq(["service"]), "{set}: {config:?}");
            ensure!(config["service"]["path"].is_null(), "{set}: {config:?}");
            // They tell of what they find, and not of what only might be.
            ensure!(webhook["sideEffects"] == "NoneOnDryRun", "{webhook}");
        }
        let data = &object(&objects, "Secret", "ws-operator-ca")?["data"];
        ensure!(data.is_null(), "{set}: {data}");
        // Argo CD makes none; the operator does.
        ensure!(object(&objects, "Lease", "").is_err(), "{set}");
    }
    Ok(())
}

pub(crate) fn ones_own_secret_is_mounted(helm: &Path) -> Result<()> {
    let objects = render(helm, OLDEST, &["=certificates.existingSecret=webhook-tls"])?;
    ensure!(mounted(&objects)? == "webhook-tls");
    ensure!(variable(&objects, "WS_OPERATOR_CA_BUNDLE_INJECTED")? == Some("false"));
    // The operator needs no right to it: the kubelet reads it.
    ensure!(verbs(&objects, "secrets", "webhook-tls").is_empty());
    // Its own holds the key of the webhook's paths.
    object(&objects, "Secret", "ws-operator-ca")?;
    ensure!(verbs(&objects, "secrets", "ws-operator-ca") == ["get", "update"]);
    ensure!(variable(&objects, "WS_OPERATOR_CA_SECRET")? == Some("ws-operator-ca"));
    // The caBundle is still the operator's to keep.
    ensure!(verbs(&objects, "mutatingwebhookconfigurations", "ws-operator") == ["get", "patch"]);

    let words = refusal(helm, &["=certificates.existingSecret=x", CERT_MANAGER])?;
    ensure!(words.contains("exclude each other"), "{words}");
    Ok(())
}

pub(crate) fn cert_manager_makes_them(helm: &Path) -> Result<()> {
    let objects = render(helm, OLDEST, &[CERT_MANAGER])?;
    let leaf = &object(&objects, "Certificate", "ws-operator")?["spec"];
    ensure!(*mounted(&objects)? == leaf["secretName"]);
    ensure!(leaf["dnsNames"][0] == HOST, "{leaf}");
    let service = object(&objects, "Service", "")?;
    ensure!(service["metadata"]["name"] == "ws-operator");

    // Signed by an authority of the release's own.
    let issuer = &object(&objects, "Issuer", "ws-operator-authority")?["spec"]["ca"];
    let authority = &object(&objects, "Certificate", "ws-operator-authority")?["spec"];
    ensure!(leaf["issuerRef"]["name"] == "ws-operator-authority");
    ensure!(authority["isCA"] == true && authority["secretName"] == issuer["secretName"]);
    ensure!(authority["secretName"] != leaf["secretName"]);

    // cert-manager writes the caBundle, and the operator the paths.
    let configuration = object(&objects, "MutatingWebhookConfiguration", "ws-operator")?;
    let annotations = &configuration["metadata"]["annotations"];
    ensure!(annotations["cert-manager.io/inject-ca-from"] == "ws-operator/ws-operator");
    ensure!(variable(&objects, "WS_OPERATOR_CA_BUNDLE_INJECTED")? == Some("true"));
    ensure!(verbs(&objects, "mutatingwebhookconfigurations", "ws-operator") == ["get", "patch"]);
    let entrance = verbs(
        &objects,
        "mutatingwebhookconfigurations",
        "ws-operator-entrance",
    );
    ensure!(entrance == ["get", "patch"], "{entrance:?}");

    // What cert-manager would keep goes before the operator: this and nothing else.
    ensure!(verbs(&objects, "certificates", "ws-operator") == ["delete"]);
    for secret in ["ws-operator-tls", "ws-operator-authority"] {
        ensure!(verbs(&objects, "secrets", secret) == ["delete"], "{secret}");
    }

    let issuer = "=certificates.certManager.issuerRef.name=corp,certificates.certManager.issuerRef.kind=ClusterIssuer";
    let objects = render(helm, OLDEST, &[CERT_MANAGER, issuer])?;
    ensure!(
        object(&objects, "Issuer", "").is_err(),
        "an issuer beside yours"
    );
    ensure!(verbs(&objects, "secrets", "ws-operator-authority").is_empty());
    let leaf = &object(&objects, "Certificate", "")?["spec"];
    ensure!(
        leaf["issuerRef"] == json!({"kind": "ClusterIssuer", "name": "corp"}),
        "{leaf}"
    );
    Ok(())
}

//! values.schema.json: a wrong value is refused before anything is installed, and named.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::cluster::root;
use e2e::template::{OLDEST, object, refusal, render, whole};
use serde_json::{Value as Json, json};
use stanza::node::Node;

/// What is set, and what Helm's message must name.
const NONSENSE: [(&str, &[&str]); 20] = [
    ("=sorces.helm.enabled=false", &["'sorces'"]),
    ("=sources.helm.enable=false", &["/sources/helm", "'enable'"]),
    (
        "=sources.helm.enabled=maybe",
        &["/sources/helm/enabled", "boolean"],
    ),
    (
        "=expose=ingress",
        &["/expose", "'entrance', 'service', 'none'"],
    ),
    ("=replicas=0", &["/replicas", "minimum"]),
    ("=replicas=two", &["/replicas", "integer"]),
    ("-json=image.tag=1.10", &["/image/tag", "string"]),
    (
        "=image.pullPolicy=Sometimes",
        &["/image/pullPolicy", "'IfNotPresent'"],
    ),
    (
        "=gateway.resources.limit.memory=1Gi",
        &["/gateway/resources", "'limit'"],
    ),
    (
        "=resources.limits.memory=1GiB",
        &["/resources/limits/memory", "1GiB"],
    ),
    (
        "=identity.trustedProxies={10.0.0.1}",
        &["/identity/trustedProxies/0", "'10.0.0.1'"],
    ),
    (
        "=identity.trustedProxies={10.0.0.300/8}",
        &["/identity/trustedProxies/0"],
    ),
    (
        "=certificates.lifetime=14 days",
        &["/certificates/lifetime", "'14 days'"],
    ),
    (
        "=certificates.certManager.issuerRef.nam=x",
        &["/certificates/certManager/issuerRef", "'nam'"],
    ),
    (
        "=metrics.serviceMonitor.interval=half a minute",
        &["/metrics/serviceMonitor/interval"],
    ),
    (
        "=networkPolicy.apiServer={apiserver}",
        &["/networkPolicy/apiServer/0"],
    ),
    (
        "=networkPolicy.metricsFrom[0].namespace=monitoring",
        &["/networkPolicy/metricsFrom/0", "'namespace'"],
    ),
    (
        "=webhook.timeoutSeconds=60",
        &["/webhook/timeoutSeconds", "maximum"],
    ),
    (
        "=webhook.excludedNamespaces={Kube_System}",
        &["/webhook/excludedNamespaces/0"],
    ),
    ("=fullnameOverride=WS", &["/fullnameOverride", "WS"]),
];

const SENSE: [&str; 8] = [
    "=identity.trustedProxies={10.0.0.0/8,fd00::/8,::1/128,192.168.7.9/32}",
    "=certificates.lifetime=20s,certificates.caLifetime=1h 30m",
    "=expose=none,replicas=1",
    "-string=image.tag=1.10",
    "=resources.limits.cpu=1,resources.limits.memory=1.5Gi",
    // What Helm gives to a chart within another.
    "=global.registry=example.com",
    "=enabled=true",
    "=hostNetwork=true,webhook.port=10250",
];

pub(crate) fn nonsense_is_refused_by_name(helm: &Path) -> Result<()> {
    for (set, names) in NONSENSE {
        let words = refusal(helm, &[set])?;
        for name in names {
            ensure!(words.contains(name), "{set}: no {name} in {words}");
        }
    }
    Ok(())
}

pub(crate) fn sense_is_taken(helm: &Path) -> Result<()> {
    for set in SENSE {
        render(helm, OLDEST, &[set]).with_context(|| set.to_owned())?;
    }
    Ok(())
}

/// `--reuse-values` does so to every key that the release of before did not know.
pub(crate) fn a_value_taken_out_is_its_default(helm: &Path) -> Result<()> {
    let chart = root().join("charts/ws-operator");
    let values = std::fs::read_to_string(chart.join("values.yaml"))?;
    let copy = std::fs::read_to_string(chart.join("files/values.yaml"))?;
    ensure!(values == copy, "files/values.yaml is stale: make generate");
    let values = Node::from_yaml(&values).context("values.yaml")?.to_json();
    let default = render(helm, OLDEST, &[])?;
    let mut paths = BTreeSet::new();
    of_values(&values, "", &mut paths);
    for path in paths.iter().filter(|path| !is_of_kubernetes(path)) {
        let key = path.trim_start_matches('.');
        let without = render(helm, OLDEST, &[&format!("={key}=null")]);
        ensure!(without.with_context(|| key.to_owned())? == default, "{key}");
    }
    Ok(())
}

/// OpenShift gives users itself, and a cluster may want no limit.
pub(crate) fn fields_of_kubernetes_can_be_taken_out(helm: &Path) -> Result<()> {
    let sets = [
        "=podSecurityContext.runAsUser=null,podSecurityContext.runAsGroup=null",
        "=podSecurityContext.fsGroup=7,securityContext.readOnlyRootFilesystem=null",
        "=resources.limits=null",
    ];
    let all = render(helm, OLDEST, &sets)?;
    let pod = &object(&all, "Deployment", "")?["spec"]["template"]["spec"];
    let context = json!({
        "runAsNonRoot": true, "fsGroup": 7, "seccompProfile": {"type": "RuntimeDefault"},
    });
    ensure!(pod["securityContext"] == context, "{pod}");
    let container = &pod["containers"][0];
    let context = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    ensure!(container["securityContext"] == context, "{container}");
    let resources = json!({"requests": {"cpu": "20m", "memory": "48Mi"}});
    ensure!(container["resources"] == resources, "{container}");
    // The hooks' pods too.
    let chart = root().join("charts/ws-operator");
    let words = sets.map(|set| format!("--set{set}"));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let whole = whole(helm, &chart, &words)?;
    ensure!(!whole.contains("runAsUser"), "{whole}");
    ensure!(whole.matches("fsGroup: 7").count() > 2, "{whole}");
    Ok(())
}

/// Whoever adds a value also says what it may be, and the other way round.
pub(crate) fn every_value_is_known_to_the_schema(_: &Path) -> Result<()> {
    let chart = root().join("charts/ws-operator");
    let values = std::fs::read_to_string(chart.join("values.yaml"))?;
    let values = Node::from_yaml(&values).context("values.yaml")?.to_json();
    let schema = std::fs::read_to_string(chart.join("values.schema.json"))?;
    let schema: Json = serde_json::from_str(&schema)?;
    let (mut there, mut declared) = (BTreeSet::new(), BTreeSet::new());
    of_values(&values, "", &mut there);
    of_schema(&schema, &schema, "", &mut declared);
    // Of charts that have this one within them.
    declared.remove(".global");
    declared.remove(".enabled");
    declared.retain(|path| !is_of_kubernetes(path));
    there.retain(|path| !is_of_kubernetes(path));
    let (missing, unknown): (Vec<_>, Vec<_>) = (
        declared.difference(&there).collect(),
        there.difference(&declared).collect(),
    );
    ensure!(
        missing.is_empty() && unknown.is_empty(),
        "not in values.yaml: {missing:?}; not in values.schema.json: {unknown:?}"
    );
    Ok(())
}

fn is_of_kubernetes(path: &str) -> bool {
    let parts = ["esources.", "ecurityContext.", "magePullSecrets."];
    parts.iter().any(|part| path.contains(part))
}

fn of_values(value: &Json, path: &str, found: &mut BTreeSet<String>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        of_values(value, &path, found);
        found.insert(path);
    }
}

fn of_schema(root: &Json, schema: &Json, path: &str, found: &mut BTreeSet<String>) {
    let pointer = schema["$ref"].as_str().map(|pointer| &pointer[1..]);
    let schema = pointer
        .and_then(|pointer| root.pointer(pointer))
        .unwrap_or(schema);
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        of_schema(root, schema, &path, found);
        found.insert(path);
    }
}

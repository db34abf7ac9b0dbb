//! Others who write the same objects, or compare them with what is in Git.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use e2e::cluster::Namespace;
use e2e::command::{helm, kubectl, run};
use e2e::small::{Small, apply};
use e2e::wait::{Look, until};
use e2e::{manifest, operator};
use serde_json::{Value as Json, json};

const KIND: &str = "mutatingwebhookconfiguration";
const CONFIGURATIONS: [&str; 2] = ["ws-operator", "ws-operator-entrance"];
/// Who writes into selectors on AKS.
const ENFORCER: &str = "--field-manager=admissionsenforcer";

/// A server-side comparison, as Argo CD and `kubectl diff` make it, finds the operator's chart and a
/// routed app as they were applied. `kubectl diff` ends with 1 where there is a difference.
pub(crate) async fn what_runs_is_no_drift(namespace: Arc<Namespace>) -> Result<()> {
    let rendered = helm(["get", "manifest", "ws-operator", "-n", operator::NAMESPACE])?;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), rendered)?;
    let path = file.path().display().to_string();
    kubectl([
        "diff",
        "--server-side",
        "--field-manager=argocd-controller",
        "--force-conflicts",
        "-f",
        &path,
    ])
    .context("the operator's chart")?;

    let small = Small::deployment("small");
    small.start(&namespace)?;
    small.ask(&namespace, &json!({"expose": "entrance"}))?;
    manifest::wait_for(&namespace, "small", "Ready", "True").await?;
    let service = small.service();
    std::fs::write(file.path(), service.to_string())?;
    for how in [
        &["diff"][..],
        &[
            "diff",
            "--server-side",
            "--force-conflicts",
            "--field-manager=argocd-controller",
        ],
    ] {
        let place = ["-n", &namespace.name, "-f", &path];
        kubectl(how.iter().copied().chain(place)).with_context(|| format!("{how:?}"))?;
    }
    // A comparison with Git alone needs the rule of the page, and no other.
    let place = [
        "-n",
        &namespace.name,
        "get",
        "service",
        "small",
        "-o",
        "json",
    ];
    let live: Json = serde_json::from_str(&kubectl(place)?)?;
    let target = |service: &Json| service["spec"]["ports"][0]["targetPort"].clone();
    ensure!(target(&live) == "ws-entrance", "{live}");
    for (key, wanted) in service["spec"].as_object().context("no spec")? {
        let mut wanted = wanted.clone();
        let mut found = live["spec"][key].clone();
        for port in [&mut wanted, &mut found] {
            for port in port.as_array_mut().into_iter().flatten() {
                let port = port.as_object_mut().context("no port")?;
                port.retain(|key, _| key == "port");
            }
        }
        ensure!(found == wanted, "{key}: {found}");
    }
    Ok(())
}

/// Something that adds an expression to every namespaceSelector, whenever it is missing.
pub(crate) async fn an_enforcer_of_selectors_is_not_fought(
    namespace: Arc<Namespace>,
) -> Result<()> {
    beside_an_enforcer(&namespace, "helm", &["--force-conflicts"]).await
}

/// It changes on the API server what its own manifests say otherwise, and has no conflicts.
pub(crate) async fn an_enforcer_of_selectors_is_not_fought_with_helm_3(
    namespace: Arc<Namespace>,
) -> Result<()> {
    let uninstall = |program| {
        let words = ["uninstall", "ws-operator", "--wait", "--namespace"];
        run(program, words.into_iter().chain([operator::NAMESPACE])).map(drop)
    };
    uninstall("helm")?;
    operator::install_with_helm("helm3", &[])?;
    let outcome = beside_an_enforcer(&namespace, "helm3", &[]).await;
    uninstall("helm3")?;
    operator::install()?;
    outcome
}

/// `upgrade`: what this Helm's next upgrade has to be told.
async fn beside_an_enforcer(namespace: &Namespace, helm: &str, upgrade: &[&str]) -> Result<()> {
    let other = Namespace::create("e2e-other").await?;
    let outcome = enforced(namespace, &other, helm, upgrade).await;
    other.delete().await?;
    // As the other tests want it.
    for name in CONFIGURATIONS {
        edit(name, remove)?;
    }
    outcome
}

async fn enforced(
    first: &Namespace,
    second: &Namespace,
    helm: &str,
    upgrade: &[&str],
) -> Result<()> {
    let small = Small::deployment("small");
    let routed = async |namespace: &Namespace| {
        let stanza = small.manifest(&json!({"expose": "entrance"}));
        apply(namespace, &[small.workload(), small.service(), stanza])?;
        manifest::wait_for(namespace, "small", "Ready", "True").await?;
        let entry = format!("{}.", namespace.name);
        until("an entry for the namespace", || async {
            let found = read(CONFIGURATIONS[1])?;
            let mut names = found["webhooks"].as_array().into_iter().flatten();
            let there = names.any(|one| {
                one["name"]
                    .as_str()
                    .is_some_and(|name| name.starts_with(&entry))
            });
            Ok(Look::when(there, (), format!("{found}")))
        })
        .await
    };
    routed(first).await?;
    for name in CONFIGURATIONS {
        ensure!(edit(name, add)? > 0, "nothing to enforce in {name}");
    }

    // Another entry is written beside those that are there already.
    routed(second).await?;
    ensure!(edit(CONFIGURATIONS[1], add)? == 1, "taken away again");
    // A caBundle that is lost is written again, and nothing else is.
    for name in CONFIGURATIONS {
        let pointer =
            "[{\"op\":\"replace\",\"path\":\"/webhooks/0/clientConfig/caBundle\",\"value\":\"\"}]";
        kubectl(["patch", KIND, name, "--type=json", "-p", pointer])?;
        until("the caBundle to be mended", || async {
            let found = read(name)?;
            let bundle = &found["webhooks"][0]["clientConfig"]["caBundle"];
            let whole = bundle.as_str().is_some_and(|bundle| !bundle.is_empty());
            Ok(Look::when(whole, (), format!("{found}")))
        })
        .await?;
        ensure!(edit(name, add)? == 0, "taken away again from {name}");
    }

    // The next upgrade, as docs/operator/install.md has it for where the enforcer was heard.
    operator::install_with_helm(helm, upgrade)?;
    edit(CONFIGURATIONS[0], add)?;
    ensure!(
        edit(CONFIGURATIONS[1], add)? == 0,
        "taken away by the upgrade"
    );
    for namespace in [first, second] {
        manifest::wait_for(namespace, "small", "Ready", "True").await?;
    }
    Ok(())
}

/// The CRD stays where it was, and belongs to the release that is gone.
pub(crate) async fn kept_crds_go_to_a_release_elsewhere(namespace: Arc<Namespace>) -> Result<()> {
    let uninstall = |place: &str| {
        let words = ["uninstall", "ws-operator", "--wait", "--namespace", place];
        helm(words).map(drop)
    };
    uninstall(operator::NAMESPACE)?;
    let there = format!("--namespace={}", namespace.name);
    let refused = operator::install_with(&[&there]).err();
    let words = refused.context("the CRD was taken unasked")?;
    let words = format!("{words:#}");
    ensure!(words.contains("cannot be imported"), "{words}");
    operator::install_with(&[&there, "--take-ownership"])?;
    let small = Small::deployment("small");
    let other = Namespace::create("e2e-other").await?;
    small.start(&other)?;
    small.ask(&other, &json!({}))?;
    manifest::wait_for(&other, "small", "Ready", "True").await?;
    other.delete().await?;
    uninstall(&namespace.name)?;
    // As the other tests want it.
    operator::install_with(&["--take-ownership"])
}

fn read(name: &str) -> Result<Json> {
    Ok(serde_json::from_str(&kubectl([
        "get", KIND, name, "-o", "json",
    ])?)?)
}

/// Changes the expressions of each webhook, and says of how many.
fn edit(name: &str, change: fn(&mut Vec<Json>) -> bool) -> Result<usize> {
    let mut found = read(name)?;
    let mut changed = 0;
    for webhook in found["webhooks"].as_array_mut().into_iter().flatten() {
        let selector = webhook["namespaceSelector"].as_object_mut();
        let selector = selector.context("no namespaceSelector")?;
        let all = selector.entry("matchExpressions").or_insert(json!([]));
        changed += usize::from(change(all.as_array_mut().context("no list")?));
        if all == &json!([]) {
            selector.remove("matchExpressions");
        }
    }
    if changed > 0 {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), found.to_string())?;
        let path = file.path().display().to_string();
        kubectl(["replace", ENFORCER, "-f", &path])?;
    }
    Ok(changed)
}

fn foreign() -> Json {
    json!({"key": "control-plane", "operator": "NotIn", "values": ["true"]})
}

fn add(all: &mut Vec<Json>) -> bool {
    let missing = !all.contains(&foreign());
    if missing {
        all.push(foreign());
    }
    missing
}

fn remove(all: &mut Vec<Json>) -> bool {
    let before = all.len();
    all.retain(|one| *one != foreign());
    all.len() < before
}

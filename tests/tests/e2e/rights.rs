//! The operator has the rights that it needs, under its own ServiceAccount, and no more.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use e2e::cluster::Namespace;
use e2e::command::kubectl;
use e2e::wait::{Look, until};
use e2e::{app, chart, manifest, operator};

pub(crate) async fn the_operator_is_no_admin(namespace: Arc<Namespace>) -> Result<()> {
    let account = operator::service_account()?;
    ensure!(
        account != "default",
        "it runs under the default ServiceAccount"
    );
    let who = format!(
        "--as=system:serviceaccount:{}:{account}",
        operator::NAMESPACE
    );
    for (verb, what) in [
        ("*", "*"),
        ("create", "pods"),
        ("create", "pods/exec"),
        ("update", "secrets"),
        ("delete", "namespaces"),
        ("create", "clusterrolebindings.rbac.authorization.k8s.io"),
        ("escalate", "clusterroles.rbac.authorization.k8s.io"),
    ] {
        // `can-i` exits with 1 for no.
        let answer = std::process::Command::new("kubectl")
            .args(["auth", "can-i", verb, what, "-n", &namespace.name, &who])
            .output()
            .context("kubectl")?;
        let answer = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
        ensure!(answer == "no", "may it {verb} {what}? {answer:?}");
    }
    let may = kubectl([
        "auth",
        "can-i",
        "patch",
        "deployments.apps",
        "-n",
        &namespace.name,
        &who,
    ])?;
    ensure!(
        may.trim() == "yes",
        "without this right nothing is ever rolled"
    );
    Ok(())
}

/// `sources.helm.namespaces`: the operator reads the releases of these and may read no other Secret.
pub(crate) async fn helm_releases_of_some_namespaces(namespace: Arc<Namespace>) -> Result<()> {
    let other = Namespace::create("e2e-other").await?;
    let outcome = limited(&namespace, &other).await;
    let restored = operator::install();
    outcome?;
    restored?;
    // And then of all again.
    manifest::wait_for(&other, app::APP, "Ready", "True").await?;
    other.delete().await
}

async fn limited(namespace: &Namespace, other: &Namespace) -> Result<()> {
    operator::install_with(&[&format!(
        "--set=sources.helm.namespaces={{{}}}",
        namespace.name
    )])?;
    let account = operator::service_account()?;
    let who = format!(
        "--as=system:serviceaccount:{}:{account}",
        operator::NAMESPACE
    );
    let may = |verb: &str, place: &str| {
        let words = ["auth", "can-i", verb, "secrets", "-n", place, &who];
        kubectl(words).is_ok_and(|answer| answer.trim() == "yes")
    };
    ensure!(
        may("watch", &namespace.name),
        "it may not read where it should"
    );
    for place in [&*other.name, "kube-system", "default"] {
        ensure!(
            !may("get", place) && !may("list", place),
            "it may read Secrets in {place}"
        );
    }
    chart::install(other, &chart::example())?;
    chart::install(namespace, &chart::example())?;
    manifest::wait_for(namespace, app::APP, "Ready", "True").await?;
    let pods = app::ready_pods(other).await?;
    ensure!(
        pods.iter().all(|pod| app::gateway(pod).is_none()),
        "a gateway in {}",
        other.name
    );
    ensure!(
        manifest::get(other, app::APP).await.is_err(),
        "an AppManifest in {}",
        other.name
    );
    // Uninstalled, its AppManifest goes.
    chart::uninstall(namespace)?;
    until("no AppManifest", || async {
        let left = manifest::get(namespace, app::APP).await.is_ok();
        Ok(Look::when(!left, (), "still there"))
    })
    .await
}

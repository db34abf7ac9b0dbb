//! The operator has the rights that it needs, under its own ServiceAccount, and no more.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use e2e::cluster::Namespace;
use e2e::command::kubectl;
use e2e::operator;

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

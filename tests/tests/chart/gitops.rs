//! What tools do with the chart that render it themselves.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::chart::copy;
use e2e::cluster::root;
use e2e::command::run;
use e2e::template::{find, object, objects, whole};
use serde_json::Value as Json;

/// Nothing random, no time: such a tool would see a difference for ever.
pub(crate) fn rendered_twice_it_is_the_same(helm: &Path) -> Result<()> {
    let chart = root().join("charts/ws-operator");
    for words in [
        &["--namespace=ws-operator"][..],
        &["--set=certificates.certManager.enabled=true,networkPolicy.enabled=true"],
    ] {
        let first = whole(helm, &chart, words)?;
        ensure!(first == whole(helm, &chart, words)?, "{words:?}");
    }
    Ok(())
}

pub(crate) fn within_another_chart(helm: &Path) -> Result<()> {
    let parent = tempfile::tempdir()?;
    let inner = copy(&root().join("charts/ws-operator"))?;
    let charts = parent.path().join("charts");
    std::fs::create_dir(&charts)?;
    std::os::unix::fs::symlink(inner.path(), charts.join("ws-operator"))?;
    std::fs::write(
        parent.path().join("Chart.yaml"),
        "apiVersion: v2\nname: platform\nversion: 1.0.0\ndependencies:\n\
         - {name: ws-operator, version: '*', condition: ws-operator.enabled}\n",
    )?;
    std::fs::write(
        parent.path().join("values.yaml"),
        "global: {registry: a}\nws-operator: {enabled: true, replicas: 1}\n",
    )?;
    let all = objects(&whole(helm, parent.path(), &["--no-hooks"])?)?;
    let deployment = object(&all, "Deployment", "")?;
    ensure!(deployment["spec"]["replicas"] == 1, "{deployment}");
    let off = ["--no-hooks", "--set=ws-operator.enabled=false"];
    ensure!(objects(&whole(helm, parent.path(), &off)?)?.is_empty());
    Ok(())
}

/// Every place that names the namespace names the one that was asked for.
pub(crate) fn in_another_namespace(helm: &Path) -> Result<()> {
    let chart = root().join("charts/ws-operator");
    let words = [
        "--namespace=platform",
        "--set=validatingAdmissionPolicy.enabled=true",
    ];
    let all = objects(&whole(helm, &chart, &words)?)?;
    for one in &all {
        let place = one["metadata"]["namespace"].as_str();
        let fits = place.is_none_or(|place| ["platform", "ws-operator-helm-test"].contains(&place));
        ensure!(fits, "{one}");
    }
    let webhooks = &object(&all, "MutatingWebhookConfiguration", "ws-operator")?["webhooks"];
    for webhook in webhooks.as_array().context("no webhooks")? {
        ensure!(webhook["clientConfig"]["service"]["namespace"] == "platform");
    }
    let excluded = &webhooks[0]["namespaceSelector"]["matchExpressions"][0]["values"];
    let excluded = excluded.as_array().context("nothing excluded")?;
    let has = |name: &str| excluded.iter().any(|one| one == name);
    ensure!(has("platform") && !has("ws-operator"), "{excluded:?}");
    Ok(())
}

/// kustomize's `namespace:` reaches no expression, and none of them names one. The operator leaves its
/// own namespace alone whatever the list of excluded ones says.
pub(crate) fn kustomize_moves_all(_: &Path) -> Result<()> {
    let kubectl = find("kubectl").context("no kubectl: tests/cluster/build makes one")?;
    let folder = tempfile::tempdir()?;
    let install = root().join("manifests/install.yaml");
    std::fs::copy(&install, folder.path().join("install.yaml"))?;
    std::fs::write(
        folder.path().join("kustomization.yaml"),
        "namespace: platform\nresources: [install.yaml]\n",
    )?;
    let folder = folder.path().display().to_string();
    let text = run(&kubectl.display().to_string(), ["kustomize", &folder])?;
    ensure!(!text.contains("namespace: ws-operator\n"), "{text}");
    let all = objects(&text)?;
    object(&all, "Namespace", "platform")?;
    let webhooks = &object(&all, "MutatingWebhookConfiguration", "ws-operator")?["webhooks"];
    for webhook in webhooks.as_array().context("no webhooks")? {
        ensure!(webhook["clientConfig"]["service"]["namespace"] == "platform");
    }
    let binding = object(&all, "ClusterRoleBinding", "ws-operator")?;
    ensure!(
        binding["subjects"][0]["namespace"] == "platform",
        "{binding}"
    );
    // The policies hold wherever they are: kustomize changes no more of them than line ends.
    let rendered = objects(&std::fs::read_to_string(&install)?)?;
    let policies = |all: &[Json]| -> Vec<Json> {
        let policies = all
            .iter()
            .filter(|one| one["kind"] == "ValidatingAdmissionPolicy");
        policies
            .map(|one| one["spec"]["matchConditions"].clone())
            .collect()
    };
    let (moved, rendered) = (policies(&all), policies(&rendered));
    ensure!(
        moved.len() == 4 && moved.iter().all(|one| rendered.contains(one)),
        "{moved:?}"
    );
    let names = ["serviceaccount:ws-operator", "serviceaccount:platform"];
    ensure!(!names.iter().any(|name| text.contains(name)), "{text}");
    Ok(())
}

/// Helm itself says no more than that a hook failed, so the Job stays and says it.
pub(crate) fn an_uninstall_that_fails_says_what_to_do(helm: &Path) -> Result<()> {
    let chart = root().join("charts/ws-operator");
    let all = objects(&whole(helm, &chart, &[])?)?;
    let job = object(&all, "Job", "ws-operator-stand-down")?;
    let says = |key: &str| {
        let value = &job["metadata"]["annotations"][key];
        value.as_str().unwrap_or_default().to_owned()
    };
    ensure!(says("helm.sh/hook") == "pre-delete");
    let policy = says("helm.sh/hook-delete-policy");
    ensure!(!policy.contains("hook-failed"), "{policy}");
    ensure!(policy.contains("before-hook-creation"), "{policy}");
    let told = says("ws.olares.com/help");
    ensure!(
        told.contains("docs/operator/install.md, \"Uninstall\""),
        "{told}"
    );
    let page = std::fs::read_to_string(root().join("docs/operator/install.md"))?;
    ensure!(page.contains("\n## Uninstall\n"));
    ensure!(job["spec"] != Json::Null);
    Ok(())
}

//! The chart's life: `helm test`, an upgrade that brings another CRD, and an end without a trace.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, ensure};
use e2e::cluster::{Namespace, root};
use e2e::command::{helm, kubectl, operator as program};
use e2e::wait::{Look, until};
use e2e::{app, chart, manifest, operator};

const CRD: &str = "appmanifests.ws.olares.com";

/// Every object there was before the operator was installed.
static BEFORE: OnceLock<BTreeSet<String>> = OnceLock::new();

pub(crate) fn prepare() -> Result<()> {
    let all = everything()?;
    BEFORE.set(all).ok().context("prepared twice")
}

pub(crate) async fn helm_test_opens_a_websocket(_: Arc<Namespace>) -> Result<()> {
    let test = |timeout: &'static str| {
        tokio::task::spawn_blocking(move || {
            let place = ["--namespace", operator::NAMESPACE, "--timeout", timeout];
            helm(["test", operator::NAMESPACE].into_iter().chain(place))
        })
    };
    // As where the images come from a registry of one's own.
    let make = ["create", "secret", "docker-registry", "registry"];
    let login = ["--docker-username=ann", "--docker-password=secret"];
    let place = ["-n", operator::NAMESPACE];
    kubectl(place.into_iter().chain(make).chain(login))?;
    operator::install_with(&["--set=imagePullSecrets[0].name=registry"])?;
    let hooks = helm(
        ["get", "hooks", operator::NAMESPACE]
            .into_iter()
            .chain(place),
    )?;
    ensure!(
        hooks.contains("type: kubernetes.io/dockerconfigjson"),
        "the test's pods could not be pulled: {hooks}"
    );
    let said = test("3m").await??;
    ensure!(said.contains("Succeeded"), "{said}");
    nothing_of_the_test()?;

    // Without an operator there is no WebSocket, and the test says so.
    operator::scale(0).await?;
    let outcome = test("15s").await?;
    operator::scale(2).await?;
    ensure!(outcome.is_err(), "{outcome:?}");
    nothing_of_the_test()?;
    operator::install()?;
    kubectl(place.into_iter().chain(["delete", "secret", "registry"])).map(drop)
}

fn nothing_of_the_test() -> Result<()> {
    let spaces = kubectl(["get", "namespaces", "-o", "name"])?;
    ensure!(!spaces.contains("helm-test"), "{spaces}");
    let pods = kubectl(["-n", operator::NAMESPACE, "get", "pods", "-o", "name"])?;
    ensure!(!pods.contains("helm-test"), "{pods}");
    Ok(())
}

pub(crate) async fn crds_upgrade_with_the_chart(namespace: Arc<Namespace>) -> Result<()> {
    // A CRD of before: without a count that the status has now, and without a column.
    let old = chart::copy(&root().join("charts/ws-operator"))?;
    let file = old
        .path()
        .join("files/crds/ws.olares.com_appmanifests.yaml");
    let text = std::fs::read_to_string(&file)?;
    let older = text
        .replace("outdated:", "elderly:")
        .replace("name: URL", "name: Uniform");
    ensure!(older != text, "the edit changed nothing");
    std::fs::write(&file, older)?;
    operator::install_chart(old.path(), &[])?;
    let path = "jsonpath={.spec.versions[0].schema.openAPIV3Schema.properties.status.properties.pods.properties}{.spec.versions[0].additionalPrinterColumns[*].name}";
    let fields = || kubectl(["get", "crd", CRD, "-o", path]);
    ensure!(
        fields()?.contains("elderly") && fields()?.contains("Uniform"),
        "{}",
        fields()?
    );
    // The operator is of today, so that it cannot write such a status; injecting goes on. Another
    // CRD interrupts watches: the first pods may come before a replica knows, and are repaired.
    namespace.apply(&chart::one_file()?)?;
    until("the app's pods to have the gateway", || async {
        let pods = app::pods(&namespace).await?;
        let all = !pods.is_empty() && pods.iter().all(|pod| app::gateway(pod).is_some());
        Ok(Look::when(all, (), format!("{} pods", pods.len())))
    })
    .await?;

    let (_, text) = program(&["doctor"])?;
    ensure!(text.contains("warning  crd"), "{text}");

    operator::install()?;
    ensure!(
        fields()?.contains("outdated") && !fields()?.contains("elderly"),
        "{}",
        fields()?
    );
    ensure!(fields()?.contains("URL"), "{}", fields()?);
    // The AppManifests are the ones of before.
    manifest::wait_for(&namespace, app::APP, "Ready", "True")
        .await
        .map(drop)
}

/// With the CRDs, and so with every AppManifest.
pub(crate) async fn uninstalling_everything_leaves_no_trace(
    namespace: Arc<Namespace>,
) -> Result<()> {
    operator::install_with(&["--set=crds.keep=false"])?;
    namespace.apply(&chart::one_file()?)?;
    manifest::wait_for(&namespace, app::APP, "Ready", "True").await?;
    tokio::task::spawn_blocking(|| {
        let place = ["--namespace", operator::NAMESPACE, "--wait"];
        helm(["uninstall", "ws-operator"].into_iter().chain(place))
    })
    .await??;
    // The app's pods run on; what was made for them is gone.
    app::ready_pods(&namespace).await?;
    until("nothing made for the app", || async {
        let services = kubectl(["-n", &namespace.name, "get", "services", "-o", "name"])?;
        Ok(Look::when(!services.contains("chat-ws"), (), services))
    })
    .await?;

    let before = BEFORE.get().context("nothing was noted before")?;
    // What every namespace has, and `helm --create-namespace` leaves.
    let space = operator::NAMESPACE;
    let of_namespace: BTreeSet<String> = [
        format!("namespaces//{space}"),
        format!("configmaps/{space}/kube-root-ca.crt"),
        format!("serviceaccounts/{space}/default"),
    ]
    .into();
    until("the API server as it was before", || async {
        let left: Vec<String> = everything()?
            .into_iter()
            .filter(|object| !before.contains(object) && !of_namespace.contains(object))
            .collect();
        Ok(Look::when(left.is_empty(), (), format!("{left:#?}")))
    })
    .await
}

/// An IPAddress is there for each Service of the tests' own namespaces, and does not say so in its
/// name.
const COME_AND_GO: [&str; 3] = ["events", "componentstatuses", "ipaddresses"];

/// Every object of every kind, as `<kind>/<namespace>/<name>`, but for what the tests' own
/// namespaces hold and what comes and goes by itself.
fn everything() -> Result<BTreeSet<String>> {
    let kinds = kubectl(["api-resources", "--verbs=list", "-o", "name"])?;
    let kinds: Vec<&str> = kinds
        .lines()
        .filter(|kind| !COME_AND_GO.iter().any(|one| kind.starts_with(one)))
        .collect();
    ensure!(kinds.len() > 40, "only {} kinds", kinds.len());
    let mut all = BTreeSet::new();
    for kind in kinds {
        let path = "jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}{'\\n'}{end}";
        // A kind that is just going is gone.
        let Ok(found) = kubectl(["get", kind, "-A", "-o", path]) else {
            continue;
        };
        let plural = kind.split('.').next().unwrap_or(kind);
        // A node's Lease is its kubelet's.
        let others = ["e2e-", "/e2e-", "kube-node-lease/"];
        let mine = |line: &&str| !others.iter().any(|one| line.starts_with(one));
        all.extend(
            found
                .lines()
                .filter(mine)
                .map(|line| format!("{plural}/{line}")),
        );
    }
    Ok(all)
}

/// The images of tests/images hold what the Dockerfiles' do.
pub(crate) async fn the_dockerfiles_make_what_is_tested(_: Arc<Namespace>) -> Result<()> {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml"))?;
    let oldest = manifest
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "))
        .context("no rust-version")?;
    for (folder, program) in [("operator", "ws-operator"), ("sidecar", "ws-gateway")] {
        let text = std::fs::read_to_string(root().join(folder).join("Dockerfile"))?;
        for line in [
            format!("--package {program} "),
            // The image begins with nothing: what the program names has to come along.
            "FROM scratch".to_owned(),
            format!("ldd /{program} | "),
            format!("cp /{program} /image/"),
            "COPY --from=build /image /".to_owned(),
            format!("ENTRYPOINT [\"/{program}\"]"),
            "USER 65532:65532".to_owned(),
            "--locked".to_owned(),
        ] {
            ensure!(text.contains(&line), "{folder}/Dockerfile has no {line:?}");
        }
        let rust = text.lines().find_map(|line| line.strip_prefix("ARG RUST="));
        ensure!(
            minor(rust.context("no ARG RUST")?) >= minor(oldest),
            "{folder}: {rust:?}"
        );
    }
    Ok(())
}

/// `"1.91"` -> 91.
fn minor(version: &str) -> u32 {
    let digits = version.trim_matches('"').split('.').nth(1);
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

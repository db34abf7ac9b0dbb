//! cert-manager, the real one, makes the webhook's certificates and writes its caBundle: whatever
//! it renews, no pod is admitted without its gateway.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use e2e::authority::{bundles, decode};
use e2e::cluster::{self, Namespace};
use e2e::command::{helm, kubectl, operator as program, run};
use e2e::small::Small;
use e2e::wait::{Look, until};
use e2e::{manifest, operator, scrape};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value as Json, json};
use tokio::task::spawn_blocking;

use crate::trust::Creating;

const LEAF: &str = "ws-operator";
/// Of the leaf.
const SECRET: &str = "ws-operator-tls";
const AUTHORITY: &str = "ws-operator-authority";
const CERTIFICATES: &str = "certificates.cert-manager.io";
const ISSUERS: &str = "issuers.cert-manager.io";
const REQUESTS: &str = "certificaterequests.cert-manager.io";

/// Why there is no cert-manager for the test.
pub(crate) fn missing() -> Option<String> {
    cluster::missing().or_else(|| {
        let there = cluster::in_its_network() || kubectl(["get", "crd", CERTIFICATES]).is_ok();
        (!there).then(|| "the existing cluster has no cert-manager".to_owned())
    })
}

pub(crate) async fn what_it_renews_is_served_without_a_missed_admission(
    namespace: Arc<Namespace>,
) -> Result<()> {
    let routed = Namespace::create("e2e-routed").await?;
    let outcome = beside_it(&namespace, &routed).await;
    // As long as it is installed with cert-manager: only then its Secrets go with it.
    let uninstalled = uninstalled().await;
    let restored = operator::install();
    cert_manager("remove").await?;
    outcome?;
    uninstalled?;
    restored?;
    routed.delete().await
}

/// In the tests' own cluster it is there for this test only.
async fn cert_manager(verb: &'static str) -> Result<()> {
    if !cluster::in_its_network() {
        return Ok(());
    }
    let program = cluster::root().join("tests/cluster/cert-manager");
    spawn_blocking(move || run(&program.display().to_string(), [verb]).map(drop)).await?
}

async fn beside_it(namespace: &Namespace, routed: &Namespace) -> Result<()> {
    let small = Small::deployment("small");
    let (installed, started) = tokio::join!(cert_manager("install"), async {
        start(namespace, &small, &json!({})).await?;
        start(routed, &small, &json!({"expose": "entrance"})).await
    });
    installed.and(started)?;
    let mut creating = Vec::new();
    for place in [namespace, routed] {
        creating.push((place, Creating::start(place, &small).await?));
    }
    let outcome = changes().await;
    let mut all = Vec::new();
    for (place, one) in creating {
        all.push((place, one.stop().await?));
    }
    outcome?;
    for (place, created) in all {
        let checked = created.all_with_a_gateway(100, "two changes of certificates");
        checked.with_context(|| place.name.clone())?;
    }
    Ok(())
}

async fn start(namespace: &Namespace, small: &Small, stanza: &Json) -> Result<()> {
    small.start(namespace)?;
    small.ask(namespace, stanza)?;
    let ready = manifest::wait_for(namespace, &small.name, "Ready", "True");
    ready.await.map(drop)
}

/// From the operator's own certificates to cert-manager's, and on to the next ones.
async fn changes() -> Result<()> {
    let given = "--set=certificates.certManager.enabled=true";
    spawn_blocking(move || operator::install_with(&[given])).await??;
    served().await.context("the first")?;
    is_healthy().await?;
    renewed().await?;
    is_healthy().await
}

/// The authority's certificate, its key with it; then the Secret that the replicas have mounted is
/// lost, and what they serve is signed by that other authority.
async fn renewed() -> Result<()> {
    let (authority, leaf) = (secret(AUTHORITY)?, secret(SECRET)?);
    renew(AUTHORITY)?;
    issued(AUTHORITY, "tls.crt", &authority).await?;
    let place = ["-n", operator::NAMESPACE, "delete", "secret", SECRET];
    kubectl(place)?;
    issued(SECRET, "ca.crt", &leaf).await?;
    served().await.context("the second")
}

/// As `cmctl renew` asks for it.
fn renew(certificate: &str) -> Result<()> {
    let condition = json!([{"op": "add", "path": "/status/conditions/-", "value": {
        "type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "by a test",
        "lastTransitionTime": "2020-01-01T00:00:00Z",
    }}]);
    let place = [
        "-n",
        operator::NAMESPACE,
        "patch",
        CERTIFICATES,
        certificate,
    ];
    let how = ["--subresource=status", "--type=json"];
    let patch = format!("--patch={condition}");
    let words = place.into_iter().chain(how).chain([patch.as_str()]);
    kubectl(words).map(drop)
}

/// Waits until that part of the Secret is another.
async fn issued(name: &str, part: &str, before: &Secret) -> Result<()> {
    until(&format!("another {part} in {name}"), || async {
        let now = secret(name)?;
        let other = now
            .get(part)
            .is_some_and(|now| Some(now) != before.get(part));
        Ok(Look::when(other, (), "that of before"))
    })
    .await
}

/// Waits until every replica serves what is in the Secret, and both configurations trust it: one is
/// cert-manager's to write, the other the operator's.
async fn served() -> Result<()> {
    until("the certificate to be served and trusted", || async {
        let certificate = get(CERTIFICATES, LEAF)?;
        let expires: Time = serde_json::from_value(certificate["status"]["notAfter"].clone())?;
        let expires = u32::try_from(expires.0.as_second())?;
        let leaf = r#"ws_operator_certificate_expiry_timestamp_seconds{certificate="leaf"}"#;
        let served: Vec<_> = spawn_blocking(scrape::operators)
            .await??
            .iter()
            .filter_map(|one| one.get(leaf).copied())
            .collect();
        let secret = secret(SECRET)?;
        let authority = secret.get("ca.crt").context("no ca.crt")?;
        let [installed, entrance] = [bundles("ws-operator")?, bundles("ws-operator-entrance")?];
        let trusted = |all: &[String], count| {
            all.len() == count && all.iter().all(|one| one.contains(authority.trim()))
        };
        let there =
            served == [f64::from(expires); 2] && trusted(&installed, 3) && trusted(&entrance, 1);
        let seen = format!("{expires:?}: {served:?}, {installed:?} and {entrance:?}");
        Ok(Look::when(there, (), seen))
    })
    .await
}

/// What the chart makes is there, and `doctor` finds nothing wrong with it.
async fn is_healthy() -> Result<()> {
    for (kind, name) in [
        (ISSUERS, "ws-operator-self"),
        (ISSUERS, AUTHORITY),
        (CERTIFICATES, AUTHORITY),
        (CERTIFICATES, LEAF),
    ] {
        let conditions = get(kind, name)?["status"]["conditions"].take();
        let all = conditions.as_array().context("no conditions")?;
        let ready = all.iter().find(|one| one["type"] == "Ready");
        ensure!(
            ready.is_some_and(|one| one["status"] == "True"),
            "{kind} {name}: {all:?}"
        );
    }
    until("a content doctor", || async {
        let (code, text) = spawn_blocking(|| program(&["doctor"])).await??;
        // The test's app has its callbacks where its Service leads, which is told and is no matter here.
        let trouble = |line: &str| {
            line.starts_with("broken")
                || line.starts_with("warning") && !line.starts_with("warning  callbacks:")
        };
        let content = code == 0 && !text.lines().any(trouble);
        Ok(Look::when(content, (), text))
    })
    .await
}

/// Not even the Secrets, which cert-manager keeps when their Certificates go.
async fn uninstalled() -> Result<()> {
    let place = ["--wait", "--namespace", operator::NAMESPACE];
    let words = ["uninstall", "ws-operator"].into_iter().chain(place);
    spawn_blocking(|| helm(words)).await??;
    until("nothing of the operator in its namespace", || async {
        let kinds =
            format!("all,secrets,roles,rolebindings,leases,{ISSUERS},{CERTIFICATES},{REQUESTS}");
        let left = kubectl(["-n", operator::NAMESPACE, "get", &kinds, "-o", "name"])?;
        Ok(Look::when(left.is_empty(), (), left))
    })
    .await
}

type Secret = BTreeMap<String, String>;

fn secret(name: &str) -> Result<Secret> {
    let data: Secret = serde_json::from_value(get("secrets", name)?["data"].take())?;
    let decoded = data
        .into_iter()
        .map(|(key, text)| Ok((key, decode(&text)?)));
    decoded.collect()
}

fn get(kind: &str, name: &str) -> Result<Json> {
    let text = kubectl(["-n", operator::NAMESPACE, "get", kind, name, "-o", "json"])?;
    serde_json::from_str(&text).context(text)
}

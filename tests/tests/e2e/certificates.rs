//! Certificates that somebody else makes, and replaces while the API server goes on asking.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::authority::{Authority, bundles, decode, encode, webhooks};
use e2e::cluster::Namespace;
use e2e::command::kubectl;
use e2e::small::Small;
use e2e::wait::{Look, until};
use e2e::{manifest, operator, scrape};
use kube::Api;
use kube::api::{DynamicObject, PostParams};
use serde_json::{Value as Json, json};
use tokio::task::JoinHandle;

const SECRET: &str = "webhook-tls";
const HOST: &str = "ws-operator.ws-operator.svc";
const PROBE: &str = "ws.olares.com/probe";
const PAUSE: Duration = Duration::from_millis(20);

pub(crate) async fn ones_own_are_replaced_without_a_failed_admission(
    namespace: Arc<Namespace>,
) -> Result<()> {
    let (first, second) = (Authority::new("first")?, Authority::new("second")?);
    put(&first, 2040)?;
    // From the operator's own certificates to these; then to those of another authority.
    let client = Asker::start(&namespace);
    let led = paths()?;
    let given = ["--set=certificates.existingSecret=webhook-tls"];
    tokio::task::spawn_blocking(move || operator::install_with(&given)).await??;
    serves(2040).await.context("the first")?;
    ensure!(bundle()?.contains(&first.certificate()), "{}", bundle()?);
    let before = operator::pods()?;
    ensure!(paths()? == led, "the paths are others: {:?}", paths()?);

    put(&second, 2050)?;
    serves(2050).await.context("the second")?;
    ensure!(
        [&first, &second]
            .iter()
            .all(|one| bundle().is_ok_and(|all| all.contains(&one.certificate()))),
        "replicas change one after the other, so both are trusted: {}",
        bundle()?
    );
    ensure!(operator::pods()? == before, "a pod was restarted");

    // One for another name is not served.
    let (certificate, key) = second.sign("other.svc", 2060)?;
    write(&second.certificate(), &certificate, &key)?;
    until("a word about the wrong name", || async {
        let log = kubectl([
            "-n",
            operator::NAMESPACE,
            "logs",
            "-l",
            operator::LABELS,
            "--tail=20",
        ])?;
        let there =
            log.contains("ca.crt does not vouch for tls.crt as the certificate of ws-operator");
        Ok(Look::when(there, (), log))
    })
    .await?;
    serves(2050).await.context("the second, still")?;

    // And back.
    tokio::task::spawn_blocking(|| operator::install_with(&[])).await??;
    kubectl(["-n", operator::NAMESPACE, "delete", "secret", SECRET])?;
    let (asked, failures) = client.stop().await?;
    ensure!(
        failures.is_empty(),
        "{} of {asked}: {failures:#?}",
        failures.len()
    );
    ensure!(asked > 300, "only {asked} were asked");
    eprintln!("e2e: {asked} admissions over three changes of certificates");
    Ok(())
}

/// As a replica with other certificates adds its authority, before the others know of it.
pub(crate) async fn an_authority_that_another_added_is_kept(
    namespace: Arc<Namespace>,
) -> Result<()> {
    const ENTRANCES: &str = "ws-operator-entrance";
    let small = Small::deployment("small");
    small.start(&namespace)?;
    small.ask(&namespace, &json!({"expose": "entrance"}))?;
    manifest::wait_for(&namespace, &small.name, "Ready", "True").await?;
    let own = format!("{}.entrance.pods.ws.olares.com", namespace.name);
    let find = || -> Result<Option<(usize, String)>> {
        let all = webhooks(ENTRANCES)?;
        let mut all = all.iter().enumerate();
        let found = all.find(|(_, one)| one["name"] == own.as_str());
        let bundle = |one: &Json| Some(one["clientConfig"]["caBundle"].as_str()?.to_owned());
        Ok(found.and_then(|(index, one)| Some((index, bundle(one)?))))
    };
    let other = Authority::new("another replica's")?.certificate();
    until("a word put in", || async {
        let Some((index, present)) = find()? else {
            return Ok(Look::NotYet("no entry for the namespace".to_owned()));
        };
        let both = encode(&format!("{}{other}", decode(&present)?));
        let place = format!("/webhooks/{index}/clientConfig/caBundle");
        let patch = json!([
            {"op": "test", "path": place, "value": present},
            {"op": "replace", "path": place, "value": both},
        ]);
        let patch = format!("--patch={patch}");
        let kind = "mutatingwebhookconfiguration";
        kubectl(["patch", kind, ENTRANCES, "--type=json", &patch]).map(Look::Found)
    })
    .await?;
    let trusted = |all: &[String]| all.iter().all(|one| one.contains(other.trim()));
    until("the operator to have taken it over", || async {
        let installed = bundles("ws-operator")?;
        let (_, entrance) = find()?.context("the entry is gone")?;
        let entrance = decode(&entrance)?;
        ensure!(entrance.contains(other.trim()), "taken away: {entrance}");
        Ok(Look::when(
            trusted(&installed),
            (),
            format!("{installed:?}"),
        ))
    })
    .await
}

fn put(authority: &Authority, year: i32) -> Result<()> {
    let (certificate, key) = authority.sign(HOST, year)?;
    write(&authority.certificate(), &certificate, &key)
}

fn write(authority: &str, certificate: &str, key: &str) -> Result<()> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": SECRET, "namespace": operator::NAMESPACE},
        "stringData": {"tls.crt": certificate, "tls.key": key, "ca.crt": authority},
    });
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), secret.to_string())?;
    let path = file.path().display().to_string();
    kubectl(["apply", "--server-side", "--force-conflicts", "-f", &path]).map(drop)
}

/// Waits until every replica serves the certificate that expires at the end of that year.
async fn serves(year: i32) -> Result<()> {
    let expires = f64::from(year - 1970) * 365.2425 * 86400.0;
    until("the certificate to be served", || async {
        let leaf = r#"ws_operator_certificate_expiry_timestamp_seconds{certificate="leaf"}"#;
        let found: Vec<_> = scrape::operators()?
            .iter()
            .map(|one| one.get(leaf).copied())
            .collect();
        let near = |at: &Option<f64>| {
            at.is_some_and(|at| (expires..expires + 400.0 * 86400.0).contains(&at))
        };
        let all = found.len() == 2 && found.iter().all(near);
        Ok(Look::when(all, (), format!("{found:?}")))
    })
    .await
}

/// Where the API server asks.
fn paths() -> Result<Vec<Json>> {
    let path = |webhook: Json| webhook["clientConfig"]["service"]["path"].clone();
    Ok(webhooks("ws-operator")?.into_iter().map(path).collect())
}

/// The caBundle as PEM.
fn bundle() -> Result<String> {
    let all = bundles("ws-operator")?;
    all.into_iter().next().context("no webhooks")
}

/// Has the API server ask the webhook every few milliseconds.
struct Asker {
    stop: Arc<AtomicBool>,
    task: JoinHandle<(usize, Vec<String>)>,
}

impl Asker {
    fn start(namespace: &Namespace) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, api) = (Arc::clone(&stop), manifest::api(namespace));
        let task = tokio::spawn(async move {
            let (mut asked, mut failures) = (0, Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                asked += 1;
                if let Err(error) = ask(&api).await {
                    failures.push(format!("{asked}: {error:#}"));
                }
                tokio::time::sleep(PAUSE).await;
            }
            (asked, failures)
        });
        Self { stop, task }
    }

    async fn stop(self) -> Result<(usize, Vec<String>)> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.task.await?)
    }
}

/// A dry run that only the webhook can mark.
async fn ask(api: &Api<DynamicObject>) -> Result<()> {
    let object: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "ws.olares.com/v1alpha1", "kind": "AppManifest",
        "metadata": {"generateName": "asked-", "annotations": {PROBE: "asked"}},
        "spec": {},
    }))?;
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let answer = api.create(&params, &object).await?;
    let mark = answer
        .metadata
        .annotations
        .and_then(|mut all| all.remove(PROBE));
    ensure!(mark.as_deref() == Some("answered"), "{mark:?}");
    Ok(())
}

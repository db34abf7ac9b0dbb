//! Everything at once: apps come, change and go, other people edit what is ours, replicas are
//! killed, the certificate authority expires. In the end every app is as it was last asked to be,
//! and no pod was refused on the way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::cluster::Namespace;
use e2e::command::kubectl;
use e2e::small::Small;
use e2e::wait::{Look, until};
use e2e::{app, chart, events, manifest, operator};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt;
use serde_json::json;
use stanza::env;

use crate::alone::{kill, leader, operator_ready};
use crate::trust::{self, Created, Creating};

const APPS: usize = 5;
const LASTS: Duration = Duration::from_mins(1);
/// What no actor asks for, and everybody in the end.
const LAST_WORD: &str = "11m";

pub(crate) async fn everything_at_once(namespace: Arc<Namespace>) -> Result<()> {
    trust::of_seconds()?;
    let apps: Vec<Small> = (0..APPS)
        .map(|index| Small::deployment(&format!("small-{index}")))
        .collect();
    for small in &apps {
        small.start(&namespace)?;
        small.ask(&namespace, &json!({}))?;
    }
    let helm = Arc::new(Namespace::create("e2e-chaos").await?);
    let creating = Creating::start(&namespace, &apps[0]).await?;

    let end = Instant::now() + LASTS;
    let act = |mut actor: Box<dyn FnMut(usize) + Send>| {
        tokio::task::spawn_blocking(move || {
            let mut turn = 0;
            while Instant::now() < end {
                actor(turn);
                turn += 1;
            }
            turn
        })
    };
    let (place, all) = (Arc::clone(&namespace), apps.clone());
    let authors = act(Box::new(move |turn| write(&place, &all, turn)));
    let (place, all) = (Arc::clone(&namespace), apps.clone());
    let others = act(Box::new(move |turn| interfere(&place.name, &all, turn)));
    let place = Arc::clone(&helm);
    let helms = act(Box::new(move |turn| install(&place, turn)));
    let killers = act(Box::new(strike));
    let mut turns = Vec::new();
    for actor in [authors, others, helms, killers] {
        turns.push(actor.await?);
    }
    eprintln!("\ne2e: turns of authors, others, Helm and killers: {turns:?}");

    // The last word of everybody.
    let (gone, stay) = apps.split_first().context("no apps")?;
    for small in stay {
        small.start(&namespace)?;
        small.ask(&namespace, &json!({"heartbeat": {"timeout": LAST_WORD}}))?;
    }
    gone.start(&namespace)?;
    let place = ["-n", &namespace.name, "delete", "--ignore-not-found"];
    kubectl(place.into_iter().chain(["appmanifest", &gone.name]))?;
    chart::put(&helm, &chart::example())?;

    for small in stay {
        is_as_asked(&namespace, small).await?;
    }
    is_bare(&namespace, gone).await?;
    manifest::wait_for(&helm, app::APP, "Ready", "True").await?;
    let pods = app::ready_pods(&helm).await?;
    ensure!(
        pods.iter().all(|pod| app::gateway(pod).is_some()),
        "the Helm release has no gateway"
    );

    let Created { asked, bare } = creating.stop().await?;
    let refused: Vec<_> = bare
        .iter()
        .filter(|words| words.contains("refused"))
        .collect();
    ensure!(
        refused.is_empty(),
        "of {asked} pods {} were refused: {refused:#?}",
        refused.len()
    );
    eprintln!(
        "\ne2e: none of {asked} pods was refused; {} came in without a gateway",
        bare.len()
    );
    for place in [&namespace, &helm] {
        none_failed(place).await?;
    }
    helm.delete().await?;
    operator::install()?;
    operator_ready()?;
    never_crashed()
}

/// The apps' own authors: another stanza, a wrong one, none; the app removed and made again.
fn write(namespace: &Namespace, apps: &[Small], turn: usize) {
    let small = &apps[turn % apps.len()];
    let delete = |kind: &str| {
        let place = ["-n", &namespace.name, "delete", "--ignore-not-found"];
        kubectl(place.into_iter().chain([kind, &small.name, "--wait=false"])).map(drop)
    };
    // An edit that meets another is refused, and made again a turn later.
    let _ = match turn / apps.len() % 5 {
        0 => small.ask(
            namespace,
            &json!({"heartbeat": {"timeout": format!("{turn}m")}}),
        ),
        1 => small.ask(namespace, &json!({"port": 70000})),
        2 => small.ask(namespace, &json!({"rollout": "notify"})),
        3 => delete("appmanifest").and_then(|()| small.ask(namespace, &json!({}))),
        _ => delete("deployment").and_then(|()| small.start(namespace)),
    };
}

/// Others, who edit what the operator wrote or is about to write.
fn interfere(place: &str, apps: &[Small], turn: usize) {
    let name = apps[turn % apps.len()].name.as_str();
    let companion = format!("{name}-ws");
    let patch = |kind: &str, name: &str, more: &[&str]| {
        let words = ["-n", place, "patch", kind, name, "--type=merge"];
        kubectl(words.iter().chain(more))
    };
    let rollout = r#"-p={"spec":{"template":{"metadata":{"annotations":{"ws.olares.com/rolled-for":"mine"}}}}}"#;
    let two = r#"-p={"spec":{"replicas":2}}"#;
    let elsewhere = r#"-p={"spec":{"ports":[{"name":"other","port":40010,"targetPort":1}]}}"#;
    let status = r#"-p={"status":{"conditions":[],"pods":{"wanted":99}}}"#;
    // What is to be edited may not be there this moment.
    let _ = match turn / apps.len() % 5 {
        0 => patch("deployment", name, &[rollout]),
        1 => patch("service", &companion, &[elsewhere]),
        2 => patch("appmanifest", name, &["--subresource=status", status]),
        3 => patch("deployment", name, &[two]),
        _ => kubectl(["-n", place, "delete", "service", &companion]),
    };
}

fn install(namespace: &Namespace, turn: usize) {
    // Helm refuses what comes too early after the release before.
    let _ = if turn.is_multiple_of(2) {
        chart::install(namespace, &chart::example())
    } else {
        chart::uninstall(namespace)
    };
}

/// The leader goes, or all go, or what they are trusted by; and there is time to recover.
fn strike(turn: usize) {
    let configuration = ["patch", "mutatingwebhookconfiguration", "ws-operator"];
    let junk = r#"-p=[{"op":"remove","path":"/webhooks/0/clientConfig/caBundle"}]"#;
    let secret = [
        "-n",
        operator::NAMESPACE,
        "patch",
        "secret",
        "ws-operator-ca",
    ];
    // It expired in 1970.
    let expired = r#"-p={"data":{"signing.expires":"MQ=="}}"#;
    let _ = match turn % 4 {
        0 => leader().and_then(|leader| kill(&leader)),
        1 => kubectl(secret.into_iter().chain(["--type=merge", expired])).map(drop),
        2 => operator::pods().and_then(|all| all.iter().try_for_each(|one| kill(one))),
        _ => kubectl(configuration.into_iter().chain(["--type=json", junk])).map(drop),
    };
    // What was struck is to come back in between, or every strike would be the same.
    std::thread::sleep(LASTS / 12);
}

async fn is_as_asked(namespace: &Namespace, small: &Small) -> Result<()> {
    until(&format!("the pods of {} as asked", small.name), || async {
        let pods = small.pods(namespace).await?;
        let fits = |pod: &Pod| {
            let options =
                app::gateway(pod).and_then(|gateway| app::variable(gateway, env::OPTIONS));
            app::is_ready(pod) && options.is_some_and(|options| options.contains(LAST_WORD))
        };
        let all = !pods.is_empty() && pods.iter().all(fits);
        let seen: Vec<_> = pods
            .iter()
            .map(|pod| {
                (
                    pod.name_any(),
                    app::gateway(pod).map(|gateway| &gateway.env),
                )
            })
            .collect();
        Ok(Look::when(all, (), format!("{seen:?}")))
    })
    .await?;
    manifest::wait_for(namespace, &small.name, "Ready", "True").await?;
    let companion = format!("{}-ws", small.name);
    until(&format!("the Service {companion}"), || async {
        let service = namespace.api::<Service>().get(&companion).await?;
        let spec = serde_json::to_value(service.spec)?;
        let port = &spec["ports"][0];
        let right = spec["ports"]
            .as_array()
            .is_some_and(|ports| ports.len() == 1)
            && port["port"] == 40010
            && port["targetPort"] == "olares-ws";
        Ok(Look::when(right, (), spec))
    })
    .await
}

async fn is_bare(namespace: &Namespace, small: &Small) -> Result<()> {
    until(
        &format!("the pods of {} without a gateway", small.name),
        || async {
            let pods = small.pods(namespace).await?;
            let bare = |pod: &Pod| app::is_ready(pod) && app::gateway(pod).is_none();
            let all = !pods.is_empty() && pods.iter().all(bare);
            let companion = format!("{}-ws", small.name);
            let left = namespace.api::<Service>().get_opt(&companion).await?;
            let seen = format!("{} pods, Service {}", pods.len(), left.is_some());
            Ok(Look::when(all && left.is_none(), (), seen))
        },
    )
    .await
}

/// A pod that admission refuses is an Event of whatever wanted to create it.
async fn none_failed(namespace: &Namespace) -> Result<()> {
    let events = events::all(namespace).await?;
    let failed: Vec<_> = events
        .iter()
        .filter(|event| event.reason.as_deref() == Some("FailedCreate"))
        .map(|event| event.message.clone().unwrap_or_default())
        .collect();
    ensure!(failed.is_empty(), "pods were refused: {failed:#?}");
    Ok(())
}

fn never_crashed() -> Result<()> {
    let path = "jsonpath={.items[*].status.containerStatuses[*].restartCount}";
    let place = [
        "-n",
        operator::NAMESPACE,
        "get",
        "pods",
        "-l",
        operator::LABELS,
    ];
    let counts = kubectl(place.into_iter().chain(["-o", path]))?;
    ensure!(
        counts.split_whitespace().all(|count| count == "0"),
        "restarts: {counts}"
    );
    Ok(())
}

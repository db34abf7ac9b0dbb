//! `ws-operator explain`: the operator's decision about one object, and what it means.

use std::fmt::Write;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use kube::Client;
use serde_json::{Value as Json, json};
use stanza::choice::Expose;

use super::snapshot;
use super::target::Target;
use crate::api::Condition;
use crate::app::{App, Stanza};
use crate::cluster::Cluster;
use crate::injection::{Decision, ExposeRule, Rules, desired};
use crate::platform::Platform;
use crate::reason::Reason;
use crate::settings::{ExposeDefault, GatewaySettings};
use crate::shape::{Gateway, Owner, Shape};

/// Say why an object has a gateway, or none
///
/// Reads the object's namespace and decides as the operator does. The reason codes are those of
/// Events, metrics and the status (docs/reasons.md).
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  ws-operator explain deploy/chat -n chat\n  ws-operator explain pod/chat-5d8f9-x2x4p -n chat -o json\n  ws-operator explain app/chat -n chat"
)]
pub(super) struct Arguments {
    /// pod/NAME, deploy/NAME, sts/NAME, ds/NAME or app/NAME (an AppManifest)
    object: Target,
    /// By default the kubeconfig's
    #[arg(long, short)]
    namespace: Option<String>,
    #[arg(long, short, default_value = "text")]
    output: Format,
    #[command(flatten)]
    gateway: GatewaySettings,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// What is to be said of one object.
struct Finding {
    object: String,
    reason: Reason,
    message: String,
    /// The app that it is a matter of.
    app: Option<String>,
    /// Its pods, or its status' conditions.
    parts: Vec<Part>,
}

struct Part {
    name: String,
    reason: String,
    message: String,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<String> {
    let client = Client::try_default()
        .await
        .context("no way to an API server")?;
    let namespace = match &arguments.namespace {
        Some(namespace) => namespace.clone(),
        None => client.default_namespace().to_owned(),
    };
    let cluster = snapshot::read(&client, Some(&namespace)).await?;
    let platform = Platform::find(client)
        .await
        .context("the API server does not answer")?;
    // Any cluster is taken to be new enough.
    let mut rules = arguments.gateway.rules(true, platform.is_olares());
    if let (ExposeDefault::Auto, Some(found)) = (arguments.gateway.expose, default_expose(&cluster))
    {
        rules.expose = ExposeRule::Always(found);
    }
    let finding = explain(&cluster, &rules, &namespace, &arguments.object)?;
    Ok(match arguments.output {
        Format::Text => finding.text(),
        Format::Json => format!("{:#}\n", finding.json()),
    })
}

// === the decision (pure) ===

/// The operator's default, as it shows in what the operator says of apps that leave it open.
fn default_expose(cluster: &Cluster) -> Option<Expose> {
    cluster.apps.all().iter().find_map(|app| {
        let Stanza::Valid { websocket, .. } = &app.stanza else {
            return None;
        };
        let said = app.status.expose.as_deref()?;
        let all = [Expose::Entrance, Expose::Service, Expose::None];
        let found = all.into_iter().find(|expose| expose.as_str() == said)?;
        // None may be the platform's doing in these pods alone.
        (websocket.operator.expose.is_none() && found != Expose::None).then_some(found)
    })
}

fn explain(
    cluster: &Cluster,
    rules: &Rules,
    namespace: &str,
    target: &Target,
) -> anyhow::Result<Finding> {
    match target {
        Target::Pod(name) => {
            let Some(pod) = cluster.pods.get(namespace, name) else {
                bail!("no pod {name} in {namespace}");
            };
            let (reason, message, app) = of_pod(cluster, rules, namespace, &pod.shape);
            let object = format!("pod/{name}");
            let parts = Vec::new();
            Ok(Finding {
                object,
                reason,
                message,
                app,
                parts,
            })
        }
        Target::Workload(workload) => {
            let Some(facts) = cluster.workload(namespace, workload) else {
                bail!("no {workload} in {namespace}");
            };
            let mut pods = cluster.pods.in_namespace(namespace);
            pods.retain(|pod| pod.shape.owner == Owner::Workload(workload.clone()));
            let parts = pods
                .iter()
                .map(|pod| {
                    let (reason, message, _) = of_pod(cluster, rules, namespace, &pod.shape);
                    let name = format!("pod/{}", pod.name);
                    Part {
                        name,
                        reason: reason.to_string(),
                        message,
                    }
                })
                .collect();
            let claims = cluster.claims(namespace);
            let (reason, message, app) = match desired(&facts.shape, &claims.borrow(), rules) {
                Decision::Inject(injection) | Decision::AlreadyCurrent(injection) => {
                    // The template does not show what the platform puts into its pods.
                    let theirs = pods
                        .iter()
                        .any(|pod| pod.shape.gateway == Gateway::Platform);
                    let (reason, message) = if theirs {
                        let message = "the platform injected a gateway of its own";
                        (Reason::PlatformInjected, message)
                    } else {
                        (Reason::Injected, "new pods get the gateway")
                    };
                    (reason, message.to_owned(), Some(injection.app.to_owned()))
                }
                Decision::Skip(skip) => (skip.reason, skip.message, skip.app),
            };
            let object = workload.to_string();
            Ok(Finding {
                object,
                reason,
                message,
                app,
                parts,
            })
        }
        Target::App(name) => {
            let Some(app) = cluster.apps.get(namespace, name) else {
                bail!("no AppManifest {name} in {namespace}");
            };
            Ok(of_app(cluster, &app))
        }
    }
}

fn of_pod(
    cluster: &Cluster,
    rules: &Rules,
    namespace: &str,
    shape: &Shape,
) -> (Reason, String, Option<String>) {
    let claims = cluster.claims(namespace);
    let claims = claims.borrow();
    match desired(shape, &claims, rules) {
        Decision::AlreadyCurrent(injection) => {
            let message = "it has the gateway".to_owned();
            (
                Reason::AlreadyCurrent,
                message,
                Some(injection.app.to_owned()),
            )
        }
        Decision::Inject(injection) => {
            let app = Some(injection.app.to_owned());
            match &shape.gateway {
                Gateway::Bare => (
                    Reason::RollBare,
                    "it came up without the gateway".to_owned(),
                    app,
                ),
                _ => (
                    Reason::RollStale,
                    "its gateway has settings of before".to_owned(),
                    app,
                ),
            }
        }
        Decision::Skip(skip) => (skip.reason, skip.message, skip.app),
    }
}

fn of_app(cluster: &Cluster, app: &App) -> Finding {
    let found = |service: &str| cluster.services.get(&app.id.namespace, service);
    let claims = cluster.claims(&app.id.namespace);
    let overruling = claims.overruling(&app.id);
    let (reason, message) = match &app.stanza {
        _ if overruling.is_some() => {
            let by = overruling.map_or("", |by| &by.id.name);
            let message = format!("the AppManifest {by} has the same pods and comes first");
            (Reason::Superseded, message)
        }
        Stanza::Absent => (Reason::NoStanza, "no options.websocket".to_owned()),
        Stanza::Invalid { problems, .. } => (Reason::InvalidStanza, problems.errors()),
        Stanza::Valid {
            service: Err(reason),
            ..
        } => (*reason, String::new()),
        Stanza::Valid {
            service: Ok(service),
            ..
        } => match found(service) {
            None => (Reason::NoService, format!("no Service {service}")),
            Some(facts) if facts.selector.is_empty() => (
                Reason::NoSelector,
                format!("the Service {service} selects nothing"),
            ),
            Some(_) => (
                Reason::Accepted,
                format!("the pods behind the Service {service}"),
            ),
        },
    };
    let condition = |condition: &Condition| Part {
        name: format!("{}={}", condition.kind, condition.status),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
    };
    let workloads = app.status.workloads.iter().map(|workload| Part {
        name: format!("{}/{}", workload.kind, workload.name),
        reason: workload.reason.clone(),
        message: workload.message.clone(),
    });
    let conditions = app.status.conditions.iter().map(condition);
    Finding {
        object: format!("AppManifest/{}", app.id.name),
        reason,
        message,
        app: Some(app.id.name.clone()),
        parts: conditions.chain(workloads).collect(),
    }
}

// === impl Finding ===

impl Finding {
    fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |words: String| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{}", words.trim_end_matches([' ', ':']));
        };
        line(format!(
            "{}: {}: {}",
            self.object, self.reason, self.message
        ));
        if let Some(app) = &self.app {
            line(format!("  app: {app}"));
        }
        line(format!("  {}", self.reason.about().trim()));
        for part in &self.parts {
            line(format!(
                "  {}: {}: {}",
                part.name, part.reason, part.message
            ));
        }
        text
    }

    fn json(&self) -> Json {
        let parts = self
            .parts
            .iter()
            .map(|part| json!({"name": part.name, "reason": part.reason, "message": part.message}));
        json!({
            "object": self.object,
            "reason": self.reason.code(),
            "message": self.message,
            "about": self.reason.about().trim(),
            "app": self.app,
            "parts": parts.collect::<Json>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use kube::ResourceExt;

    use super::*;
    use crate::cluster::{Facts, Store};

    #[derive(Parser)]
    struct Defaults {
        #[command(flatten)]
        gateway: GatewaySettings,
    }

    fn put<T: Facts>(store: &Store<T>, object: Json) {
        let object: T::Object = serde_json::from_value(object).unwrap();
        let name = object.name_any();
        store.put("chat", &name, T::read(object));
    }

    fn cluster(port: u32) -> Cluster {
        let cluster = Cluster::default();
        put(
            &cluster.apps,
            json!({
                "metadata": {"name": "chat", "namespace": "chat"},
                "spec": {
                    "entrances": [{"name": "chat", "host": "chat-svc", "port": 80}],
                    "options": {"websocket": {"url": "/ws", "port": port}},
                },
            }),
        );
        put(
            &cluster.services,
            json!({
                "metadata": {"name": "chat-svc", "namespace": "chat"},
                "spec": {"selector": {"app": "chat"}, "ports": [{"port": 80, "targetPort": 8080}]},
            }),
        );
        let template = json!({
            "metadata": {"labels": {"app": "chat"}},
            "spec": {"containers": [{"name": "chat"}]},
        });
        put(
            &cluster.deployments,
            json!({
                "metadata": {"name": "chat", "namespace": "chat"},
                "spec": {"selector": {"matchLabels": {"app": "chat"}}, "template": template},
            }),
        );
        for (name, owner, app) in [
            ("chat-5d8f-a", "ReplicaSet", "chat"),
            ("job-b", "Job", "chat"),
            ("db-0", "StatefulSet", "db"),
        ] {
            put(
                &cluster.pods,
                json!({
                    "metadata": {
                        "name": name, "namespace": "chat",
                        "labels": {"app": app, "pod-template-hash": "5d8f"},
                        "ownerReferences": [{
                            "apiVersion": "v1", "kind": owner, "name": "chat-5d8f", "uid": "1",
                            "controller": true,
                        }],
                    },
                    "spec": {"containers": [{"name": "chat"}]},
                }),
            );
        }
        cluster
    }

    #[track_caller]
    fn check(cluster: &Cluster, target: &str, expected: Reason) -> Finding {
        let rules = Defaults::parse_from(["x"])
            .gateway
            .rules(true, tokio::sync::watch::channel(false).1);
        let target = target.parse().unwrap();
        let finding = explain(cluster, &rules, "chat", &target).unwrap();
        assert_eq!(finding.reason, expected, "{}", finding.text());
        finding
    }

    #[test]
    fn each_kind_of_object_has_its_reason() {
        let cluster = cluster(8888);
        check(&cluster, "pod/chat-5d8f-a", Reason::RollBare);
        check(&cluster, "pod/job-b", Reason::Job);
        check(&cluster, "po/db-0", Reason::NotEntrance);
        check(&cluster, "app/chat", Reason::Accepted);
        let finding = check(&cluster, "deploy/chat", Reason::Injected);
        assert_eq!(
            finding.text(),
            "Deployment/chat: injected: new pods get the gateway\n  app: chat\n  The pod got the \
             gateway.\n  pod/chat-5d8f-a: roll-bare: it came up without the gateway\n"
        );
        assert_eq!(finding.json()["parts"][0]["reason"], "roll-bare");
    }

    /// The workload's template shows nothing of it.
    #[test]
    fn pods_with_the_platforms_gateway_tell_of_their_workload() {
        let cluster = cluster(8888);
        put(
            &cluster.pods,
            json!({
                "metadata": {
                    "name": "chat-5d8f-a", "namespace": "chat",
                    "labels": {"app": "chat", "pod-template-hash": "5d8f"},
                    "ownerReferences": [{
                        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "chat-5d8f", "uid": "1",
                        "controller": true,
                    }],
                },
                "spec": {"containers": [{"name": "chat"}, {"name": "olares-ws-sidecar"}]},
            }),
        );
        check(&cluster, "pod/chat-5d8f-a", Reason::PlatformInjected);
        check(&cluster, "deploy/chat", Reason::PlatformInjected);
    }

    #[test]
    fn what_is_wrong_with_a_stanza_is_said() {
        let cluster = cluster(70000);
        let finding = check(&cluster, "app/chat", Reason::InvalidStanza);
        assert!(
            finding.message.contains("70000 is not allowed here"),
            "{}",
            finding.message
        );
        check(&cluster, "deployment/chat", Reason::InvalidStanza);
    }

    /// Nobody has to say with which default the operator was installed.
    #[test]
    fn the_operators_default_is_seen_in_the_status() {
        let cluster = cluster(8888);
        assert_eq!(default_expose(&cluster), None);
        let said = |name: &str, stated: Json, said: &str| {
            let mut websocket = json!({"url": "/ws", "port": 80});
            websocket["expose"] = stated;
            put(
                &cluster.apps,
                json!({
                    "metadata": {"name": name, "namespace": "chat"},
                    "spec": {"entrances": [{"host": name}], "options": {"websocket": websocket}},
                    "status": {"expose": said},
                }),
            );
        };
        said("stated", json!("service"), "service");
        said("captured", Json::Null, "none");
        assert_eq!(default_expose(&cluster), None);
        said("open", Json::Null, "entrance");
        assert_eq!(default_expose(&cluster), Some(Expose::Entrance));
    }
}

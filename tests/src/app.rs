//! The example app in a namespace: its pods, what it heard, and what it asks of the gateway.

use anyhow::{Context, Result, ensure};
use futures_util::{AsyncBufRead, AsyncBufReadExt, StreamExt};
use k8s_openapi::api::core::v1::{Container, Pod, Service};
use kube::ResourceExt;
use kube::api::LogParams;
use serde_json::Value as Json;

use crate::client::Client;
use crate::cluster::{Namespace, in_its_network};
use crate::command::kubectl;
use crate::wait::{Look, PATIENCE, until};

/// The app's name, and that of everything it is made of.
pub const APP: &str = "chat";

/// The pods of the app, those that are going left out.
pub async fn pods(namespace: &Namespace) -> Result<Vec<Pod>> {
    namespace.pods(&format!("app={APP}")).await
}

/// Waits until the app has pods and all of them are ready.
pub async fn ready_pods(namespace: &Namespace) -> Result<Vec<Pod>> {
    until("the app's pods to be ready", || async {
        let pods = pods(namespace).await?;
        let ready = !pods.is_empty() && pods.iter().all(is_ready);
        let seen: Vec<_> = pods
            .iter()
            .map(|pod| (pod.name_any(), pod.status.clone()))
            .collect();
        Ok(Look::when(ready, pods, format!("{seen:?}")))
    })
    .await
}

pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| {
        all.iter()
            .any(|one| one.type_ == "Ready" && one.status == "True")
    })
}

/// The pod's gateway, if it has one.
pub fn gateway(pod: &Pod) -> Option<&Container> {
    let spec = pod.spec.as_ref()?;
    spec.containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .find(|container| container.name == stanza::env::CONTAINER)
}

/// The value of a container's variable.
pub fn variable<'a>(container: &'a Container, name: &str) -> Option<&'a str> {
    let variables = container.env.as_ref()?;
    variables
        .iter()
        .find(|variable| variable.name == name)?
        .value
        .as_deref()
}

/// One pod of the app as the tests talk to it.
pub struct Talk<'a> {
    namespace: &'a Namespace,
    pod: String,
}

impl<'a> Talk<'a> {
    pub fn to(namespace: &'a Namespace, pod: &Pod) -> Self {
        Self {
            namespace,
            pod: pod.name_any(),
        }
    }

    /// The callbacks that the app heard of one connection, in order, as it logged them.
    pub async fn heard(&self, connection: &str) -> Result<Vec<Json>> {
        let params = LogParams {
            container: Some(APP.to_owned()),
            ..LogParams::default()
        };
        let log = self.namespace.api::<Pod>().logs(&self.pod, &params).await?;
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Json>(line).ok());
        Ok(lines
            .filter(|line| line["conn_id"] == connection && line["action"].is_string())
            .collect())
    }

    /// Waits until the last callback of that connection is `action`.
    pub async fn hears(&self, connection: &str, action: &str) -> Result<Vec<Json>> {
        until(&format!("the app to hear {action}"), || async {
            let heard = self.heard(connection).await?;
            let there = heard.last().is_some_and(|last| last["action"] == action);
            let seen = format!("{heard:?}");
            Ok(Look::when(there, heard, seen))
        })
        .await
    }

    /// The admin API, called from the app's container: it is for the pod only.
    pub fn admin(&self, call: &str, body: Option<&Json>) -> Result<Json> {
        let port = stanza::env::CLIENT_PORT;
        let url = format!("http://localhost:{port}/tapr/ws/conn/{call}");
        let body = body.map(|body| format!("--post-data={body}"));
        let place = [
            "-n",
            &self.namespace.name,
            "exec",
            &self.pod,
            "-c",
            APP,
            "--",
            "wget",
            "-qO-",
        ];
        let answer = kubectl(
            place
                .into_iter()
                .chain(body.as_deref())
                .chain([url.as_str()]),
        )?;
        serde_json::from_str(&answer).with_context(|| format!("{call} answered {answer:?}"))
    }
}

/// What the app logs from now on.
pub struct Log<R>(R);

/// Follows the log of the pod's app.
pub async fn follow(namespace: &Namespace, pod: &Pod) -> Result<Log<impl AsyncBufRead + Unpin>> {
    let params = LogParams {
        container: Some(APP.to_owned()),
        follow: true,
        ..LogParams::default()
    };
    let name = pod.name_any();
    let log = namespace
        .api::<Pod>()
        .log_stream(&name, &params)
        .await
        .with_context(|| format!("the log of {name}"))?;
    Ok(Log(Box::pin(log)))
}

impl<R: AsyncBufRead + Unpin> Log<R> {
    /// Every callback in it, once the container has ended.
    pub async fn to_end(self) -> Result<Vec<Json>> {
        let mut lines = self.0.lines();
        let mut heard = Vec::new();
        while let Some(line) = tokio::time::timeout(PATIENCE, lines.next())
            .await
            .context("the log does not end")?
        {
            heard.extend(serde_json::from_str(&line?));
        }
        Ok(heard)
    }
}

/// Where the URL leads from here. In the cluster's own network names resolve as in a pod; from
/// elsewhere a Service answers by its address alone.
pub async fn reachable(namespace: &Namespace, url: &str) -> Result<String> {
    if in_its_network() {
        return Ok(url.to_owned());
    }
    let (scheme, rest) = url.split_once("://").context("a URL without a scheme")?;
    let (host, port_and_path) = rest.split_once(':').context("a URL without a port")?;
    let (service, _) = host.split_once('.').context("a host without a namespace")?;
    let service = namespace.api::<Service>().get(service).await?;
    let address = service
        .spec
        .and_then(|spec| spec.cluster_ip)
        .context("no ClusterIP")?;
    Ok(format!("{scheme}://{address}:{port_and_path}"))
}

/// Waits until the pods that are going are gone: one that is still there may get a connection, and
/// closes it.
async fn alone(namespace: &Namespace) -> Result<()> {
    until("the pods of before to be gone", || async {
        let all = namespace.all_pods(&format!("app={APP}")).await?;
        let seen: Vec<_> = all.iter().map(ResourceExt::name_any).collect();
        Ok(Look::when(all.len() == 1, (), format!("{seen:?}")))
    })
    .await
}

/// The whole conversation of a client and the app through `url`: what an app author relies on.
pub async fn converse(namespace: &Namespace, url: &str) -> Result<()> {
    let pods = ready_pods(namespace).await?;
    ensure!(
        pods.len() == 1,
        "the conversation needs an app with one pod, found {}",
        pods.len()
    );
    let app = Talk::to(namespace, &pods[0]);
    alone(namespace).await?;

    let url = reachable(namespace, url).await?;
    let mut ann = Client::connect(&url, "ann", "nick=Annie; auth_token=t0ken").await?;
    ensure!(ann.event("hello").await?["data"] == "hello, Annie");
    // Beyond 2^53: a gateway that read the number would round it.
    let message =
        serde_json::json!({"event": "question", "data": {"n": 12_345_678_901_234_567_890_u64}});
    ann.send(&message).await?;
    let echo = ann.event("echo").await?;
    ensure!(echo["data"] == message, "the data of {echo}");
    ensure!(echo["user_name"] == "ann", "the user_name of {echo}");
    ensure!(
        echo["nick"] == "Annie",
        "the Cookie header did not arrive: {echo}"
    );
    let connection = echo["conn_id"].as_str().context("no conn_id")?.to_owned();

    let list = app.admin("list", None)?;
    let user = list["data"]
        .as_array()
        .and_then(|users| users.iter().find(|user| user["name"] == "ann"));
    let ids = user
        .and_then(|user| user["conns"].as_array())
        .context("ann is not listed")?;
    ensure!(
        ids.iter().any(|one| one["id"] == connection.as_str()),
        "{connection} is not in {list}"
    );

    let close = serde_json::json!({"conns": [connection], "code": 4001, "reason": "enough"});
    ensure!(app.admin("close", Some(&close))?["code"] == 0);
    ensure!(ann.closed().await? == (4001, "enough".to_owned()));

    let heard = app.hears(&connection, "close").await?;
    let actions: Vec<_> = heard
        .iter()
        .filter_map(|line| line["action"].as_str())
        .collect();
    ensure!(
        actions == ["open", "message", "close"],
        "the app heard {actions:?}"
    );
    ensure!(
        heard.iter().all(|line| line["user_name"] == "ann"),
        "{heard:?}"
    );
    Ok(())
}

//! The Secrets that a stanza names: mounted as files, changed without a restart, and shown nowhere.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::client::Client;
use e2e::cluster::{Namespace, root};
use e2e::command::{kubectl, run};
use e2e::small::{Small, apply};
use e2e::wait::{Look, until, within};
use e2e::{app, chart, events, manifest, operator};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value as Json, json};
use tokio::sync::Mutex;

const OLD: &str = "whsec_b2xkLXNpZ25pbmcta2V5LW9mLXRoaXMtdGVzdC0=";
const NEW: &str = "new-signing-key-as-plain-text-of-many-bytes";
const FIRST: &str = "first-admin-token-of-this-test";
const SECOND: &str = "second-admin-token-of-this-test";
/// Kubelet looks at the Secrets of a pod once a minute or so.
const BROUGHT: Duration = Duration::from_mins(4);

/// Around the page's `verify`: tells each client which of the known keys signed its callback. It
/// knows them from a Secret of its own.
const APP: &str = r#"
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KNOWN = json.load(open("/known/keys"))

class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        signed = [name for name, key in KNOWN.items() if verify(self.headers, body, [key])]
        event = json.loads(body)
        told = {"event": "told", "conn_id": event["conn_id"], "action": event["action"], "signed": signed}
        print(json.dumps(told), flush=True)
        answer = json.dumps({"reply": told} if event["action"] != "close" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.olares.ws+json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass

ThreadingHTTPServer(("", 8888), App).serve_forever()
"#;

/// Another pod's call of the admin API: status and body.
const CALL: &str = r#"
import sys, urllib.error, urllib.request

request = urllib.request.Request(sys.argv[1])
if sys.argv[2:]:
    request.add_header("Authorization", "Bearer " + sys.argv[2])
try:
    answer = urllib.request.urlopen(request, timeout=10)
except urllib.error.HTTPError as error:
    answer = error
print(answer.status, answer.read().decode())
"#;

pub(crate) async fn they_change_without_a_restart_and_show_nowhere(
    namespace: Arc<Namespace>,
) -> Result<()> {
    let known = json!({"old": OLD, "new": NEW}).to_string();
    let known = secret("known", &json!({"keys": known}));
    apply(&namespace, &[known, of_the_gateway(OLD, FIRST)])?;
    let small = app_that_verifies()?;
    small.start(&namespace)?;
    let caller = Small::deployment("caller");
    apply(&namespace, &[caller.workload()])?;
    let from = |key: &str| json!({"secretFrom": {"name": "gateway", "key": key}});
    let stanza = json!({"callback": {"signing": from("keys")}, "admin": {"token": from("token")}});
    small.ask(&namespace, &stanza)?;
    let object = manifest::wait_for(&namespace, &small.name, "Ready", "True").await?;
    let url = object.data.pointer("/status/url").and_then(Json::as_str);
    let url = app::reachable(&namespace, url.context("no url")?).await?;
    let pod = only(&namespace, &small).await?;
    mounted_for_the_gateway_alone(&pod)?;
    let before = lives(&pod)?;

    let mut ann = Client::connect(&url, "ann", "a=b").await?;
    let told = ann.event("told").await?;
    ensure!(
        told["action"] == "open" && told["signed"] == json!(["old"]),
        "{told}"
    );
    let connection = told["conn_id"].as_str().context("no conn_id")?.to_owned();
    ensure!(signer(&mut ann).await? == json!(["old"]));

    let address = pod.status.as_ref().and_then(|status| status.pod_ip.clone());
    let address = address.context("no address")?;
    let ask = |token: Option<&str>| ask(&namespace, &address, token);
    until("another pod to reach the admin API", || async {
        let said = ask(Some(FIRST))?;
        Ok(Look::when(said.starts_with("200 "), (), said))
    })
    .await?;
    let said = ask(Some(FIRST))?;
    ensure!(said.contains(&connection), "{said}");
    for wrong in [None, Some(SECOND), Some("")] {
        let said = ask(wrong)?;
        ensure!(said.starts_with("401 "), "{wrong:?}: {said}");
    }

    // A line more, which is the first: it signs. And another token in the old one's place.
    apply(
        &namespace,
        &[of_the_gateway(&format!("{NEW}\n{OLD}\n"), SECOND)],
    )?;
    let client = Mutex::new(ann);
    within(BROUGHT, "the new key to sign", || async {
        let signed = signer(&mut *client.lock().await).await?;
        Ok(Look::when(signed == json!(["new"]), (), signed))
    })
    .await?;
    within(BROUGHT, "the new token to open", || async {
        let said = ask(Some(SECOND))?;
        Ok(Look::when(said.starts_with("200 "), said.clone(), said))
    })
    .await?;
    for wrong in [None, Some(FIRST)] {
        let said = ask(wrong)?;
        ensure!(said.starts_with("401 "), "{wrong:?}: {said}");
    }
    let after = only(&namespace, &small).await?;
    ensure!(
        lives(&after)? == before,
        "restarted: {before:?}, {:?}",
        lives(&after)?
    );
    drop(client);
    let heard = app::Talk::to(&namespace, &after)
        .hears(&connection, "close")
        .await?;
    let close = heard.last().context("heard nothing")?;
    ensure!(close["signed"] == json!(["new"]), "{close}");
    nowhere(&namespace, &small).await
}

/// As README and docs/signing.md tell people to do it.
pub(crate) async fn the_example_takes_signed_callbacks_only(
    namespace: Arc<Namespace>,
) -> Result<()> {
    apply(&namespace, &[secret("chat-signing", &json!({"keys": OLD}))])?;
    let chart = chart::edited(|manifest| {
        manifest
            .replace("    # callback:", "    callback:")
            .replace("    #   signing:", "      signing:")
            .replace("    #     secretFrom:", "        secretFrom:")
    })?;
    let values = chart.path().join("values.yaml");
    let before = std::fs::read_to_string(&values)?;
    let after = before.replace("secret: \"\"", "secret: chat-signing");
    ensure!(after != before, "{before}");
    std::fs::write(values, after)?;
    chart::install(&namespace, chart.path())?;
    let object = manifest::wait_for(&namespace, app::APP, "Ready", "True").await?;
    let url = object.data.pointer("/status/url").and_then(Json::as_str);
    app::converse(&namespace, url.context("no url")?).await?;

    // The Service of this exposure leads to the app itself: there a stranger is told 401.
    let url = format!("http://chat.{}:80/ws/message", namespace.name);
    let url = app::reachable(&namespace, &url).await?;
    let forged = json!({"action": "open", "conn_id": "forged", "user_name": "admin", "data": {}});
    let said = run(
        "curl",
        ["-s", "-w", " %{http_code}", "-d", &forged.to_string(), &url],
    )?;
    ensure!(said.ends_with("not signed by the gateway\n 401"), "{said}");
    Ok(())
}

fn secret(name: &str, data: &Json) -> Json {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data})
}

fn of_the_gateway(keys: &str, token: &str) -> Json {
    secret("gateway", &json!({"keys": keys, "token": token}))
}

/// With the code that docs/signing.md tells people to copy.
fn app_that_verifies() -> Result<Small> {
    let page = std::fs::read_to_string(root().join("docs/signing.md"))?;
    let (_, rest) = page.split_once("```python\n").context("no Python")?;
    let (verify, _) = rest.split_once("```").context("no end of it")?;
    let container = json!({
        "name": app::APP,
        "command": ["python3", "-B", "-c", format!("{verify}{APP}")],
        "volumeMounts": [{"name": "known", "mountPath": "/known", "readOnly": true}],
        "readinessProbe": {"tcpSocket": {"port": 8888}, "periodSeconds": 1},
    });
    let pod = json!({"volumes": [{"name": "known", "secret": {"secretName": "known"}}]});
    Ok(Small::deployment("small").container(container).pod(pod))
}

/// Its one pod, once it is ready and the one of before is gone.
async fn only(namespace: &Namespace, small: &Small) -> Result<Pod> {
    until("one ready pod with a gateway", || async {
        let mut pods = namespace.all_pods(&format!("small={}", small.name)).await?;
        let seen: Vec<_> = pods.iter().map(ResourceExt::name_any).collect();
        let fine = |pod: &Pod| app::is_ready(pod) && app::gateway(pod).is_some();
        Ok(
            match pods.pop().filter(|pod| pods.is_empty() && fine(pod)) {
                Some(pod) => Look::Found(pod),
                None => Look::NotYet(format!("{seen:?}")),
            },
        )
    })
    .await
}

fn mounted_for_the_gateway_alone(pod: &Pod) -> Result<()> {
    let spec = pod.spec.as_ref().context("no spec")?;
    let has = |container: &&k8s_openapi::api::core::v1::Container| {
        let mounts = container.volume_mounts.iter().flatten();
        mounts
            .into_iter()
            .any(|one| one.mount_path == stanza::env::SECRETS_DIR)
    };
    let all = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten());
    let names: Vec<_> = all.filter(has).map(|one| one.name.as_str()).collect();
    ensure!(names == [stanza::env::CONTAINER], "{names:?}");
    Ok(())
}

/// The pod, and how often each of its containers was started again.
fn lives(pod: &Pod) -> Result<(String, Vec<(String, i32)>)> {
    let status = pod.status.as_ref().context("no status")?;
    let restarts = status.container_statuses.iter().flatten();
    let restarts = restarts.map(|one| (one.name.clone(), one.restart_count));
    Ok((pod.uid().context("no uid")?, restarts.collect()))
}

/// Which keys the app finds that the callback of a message is signed with.
async fn signer(client: &mut Client) -> Result<Json> {
    client.send(&json!({"event": "who signs?"})).await?;
    Ok(client.event("told").await?["signed"].take())
}

fn ask(namespace: &Namespace, address: &str, token: Option<&str>) -> Result<String> {
    let port = stanza::env::REMOTE_ADMIN_PORT;
    let url = format!("http://{address}:{port}/tapr/ws/conn/list");
    let place = ["-n", &namespace.name, "exec", "deployment/caller", "--"];
    let call = ["python3", "-c", CALL, &url];
    kubectl(place.into_iter().chain(call).chain(token))
}

/// What the two Secrets hold is in nothing that people read, and nothing that is kept.
async fn nowhere(namespace: &Namespace, small: &Small) -> Result<()> {
    let place = ["-n", namespace.name.as_str()];
    let see = |words: &[&str]| kubectl(place.iter().chain(words));
    let label = format!("small={}", small.name);
    let objects = "pods,deployments,replicasets,services,endpointslices,appmanifests";
    let logs = [
        "-n",
        operator::NAMESPACE,
        "logs",
        "-l",
        operator::LABELS,
        "--tail=-1",
    ];
    let gateway = [
        "logs",
        "-l",
        &label,
        "-c",
        stanza::env::CONTAINER,
        "--tail=-1",
    ];
    let read = see(&gateway)?;
    ensure!(
        read.matches("secret read").count() >= 4,
        "the gateway's log: {read}"
    );
    for (what, text) in [
        (
            "objects",
            see(&["get", objects, "-o", "json", "--show-managed-fields"])?,
        ),
        ("Events", format!("{:?}", events::all(namespace).await?)),
        (
            "explain",
            operator::explain(&namespace.name, "deployment/small")?.to_string(),
        ),
        ("operator's log", kubectl(logs)?),
        ("gateway's log", read),
    ] {
        ensure!(!text.is_empty(), "no {what}");
        for secret in [OLD, NEW, FIRST, SECOND] {
            let encoded = STANDARD.encode(secret);
            let found = text.contains(secret) || text.contains(&encoded);
            ensure!(!found, "{secret} is in the {what}: {text}");
        }
    }
    Ok(())
}

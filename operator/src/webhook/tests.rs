//! The webhook over real TLS, asked what the API server asks it, and what nobody should.

use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value as Json, json};
use stanza::choice::Expose;
use telemetry::exposition::Format;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::app::App;
use crate::certificate::authority::Authorities;
use crate::certificate::leaf::Leaf;
use crate::cluster::{Facts, ServiceFacts};
use crate::injection::ExposeRule;
use door::Key;

const PODS: About<'_> = About::Pods;
const SERVICES: About<'_> = About::Services;
const MANIFESTS: About<'_> = About::Manifests;
/// No test waits for it.
const FOR_EVER: Duration = Duration::from_hours(1);
const NAME: &str = "ws-operator.ws-operator.svc";

/// The webhook behind its own TLS server, and the certificate authority that vouches for it.
struct Server {
    address: std::net::SocketAddr,
    webhook: Arc<Webhook>,
    key: Key,
    bundle: String,
    /// What would become Events.
    told: tokio::sync::mpsc::Receiver<Notice>,
    _task: AbortOnDropHandle<()>,
}

impl Server {
    /// With one app in its stores, whose Service selects pods labelled `app: chat`.
    async fn start() -> Self {
        Self::patient(FOR_EVER).await
    }

    async fn patient(patience: Duration) -> Self {
        let server = Self::ignorant(patience).await;
        server.knows_chat();
        server
    }

    fn knows_chat(&self) {
        let cluster = &self.webhook.cluster;
        let app = json!({
            "metadata": {"name": "chat", "namespace": "chat"},
            "spec": {
                "entrances": [{"name": "chat", "host": "chat"}],
                "options": {"websocket": {"url": "/ws/message", "port": 8888}},
            },
        });
        let app = App::read(serde_json::from_value(app).unwrap());
        let service = json!({"metadata": {"name": "chat"}, "spec": {"selector": {"app": "chat"}}});
        let service = ServiceFacts::read(serde_json::from_value(service).unwrap());
        cluster.apps.put("chat", "chat", Some(app));
        cluster.services.put("chat", "chat", service);
        cluster.apps.complete();
        cluster.services.complete();
    }

    /// Before its watches have told it anything.
    async fn ignorant(patience: Duration) -> Self {
        Self::pulling(patience, Vec::new()).await
    }

    /// The gateway's image by these Secrets.
    async fn pulling(patience: Duration, pull_secrets: Vec<String>) -> Self {
        let (notices, told) = Notices::kept();
        let (key, door) = (Key::generate().unwrap(), Door::default());
        door.answer_to(&key, []);
        let metrics = Metrics::default();
        let webhook = Arc::new(Webhook {
            cluster: Arc::new(Cluster::default()),
            rules: Rules {
                image: "ws-gateway:test".to_owned(),
                pull_policy: "Never".to_owned(),
                pull_secrets,
                resources: k8s_openapi::api::core::v1::ResourceRequirements::default(),
                trusted_proxies: Vec::new(),
                olares: tokio::sync::watch::channel(false).1,
                native: true,
                expose: ExposeRule::Always(Expose::Service),
                app_protocol: None,
            },
            notices,
            metrics: metrics.clone(),
            by_label: true,
            door: Arc::new(door),
            strangers: Arc::new(Strangers::new(metrics)),
            patience,
            bodies: Bodies::default(),
        });
        let day = Duration::from_hours(24);
        let now = OffsetDateTime::now_utc();
        let authorities = Authorities::new(day, now).unwrap();
        let leaf = Arc::new(Leaf::default());
        let signed = authorities.signing.sign(&[NAME.to_owned()], day, now);
        leaf.set(signed.unwrap().key);
        let tls = TlsAcceptor::from(Arc::new(leaf.server_config().unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = Limits::new(patience);
        let server = Arc::clone(&webhook).server(tls, limits, Ending::default());
        Self {
            address,
            webhook,
            key,
            bundle: authorities.bundle(),
            told,
            _task: AbortOnDropHandle::new(tokio::spawn(server.serve(listener))),
        }
    }

    /// The only notice there is.
    #[track_caller]
    fn told(&mut self, kind: &str, name: &str, reason: Reason) {
        let notice = self.told.try_recv().unwrap();
        let regarding = notice.regarding;
        assert_eq!(regarding.kind.as_deref(), Some(kind));
        assert_eq!(regarding.name.as_deref(), Some(name));
        assert_eq!(regarding.namespace.as_deref(), Some("chat"));
        assert_eq!(notice.reason, reason);
        assert!(!notice.message.is_empty());
        self.told_nothing();
    }

    #[track_caller]
    fn told_nothing(&mut self) {
        let notice = self.told.try_recv();
        assert!(notice.is_err(), "{notice:?}");
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.bundle.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from(NAME).unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, stream).await.unwrap()
    }

    /// Some bytes on a connection of their own.
    async fn send(&self, bytes: &[u8]) -> TlsStream<TcpStream> {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// The head of a post whose body is to follow.
    fn head(&self, about: About<'_>, length: usize) -> Vec<u8> {
        let path = self.key.path(about);
        format!("POST {path} HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: {length}\r\n\r\n").into()
    }

    async fn try_post(&self, path: &str, body: Vec<u8>) -> hyper::Result<(StatusCode, Bytes)> {
        let stream = self.connect().await;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let request = Request::post(path)
            .header(http::header::HOST, NAME)
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let response = sender.send_request(request).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }

    /// The `response` of the answer, which is to be a whole one.
    async fn review(&self, about: About<'_>, review: &Json) -> Json {
        let (status, body) = self
            .try_post(&self.key.path(about), review.to_string().into_bytes())
            .await
            .unwrap();
        assert_eq!(status, StatusCode::OK, "{body:?}");
        let mut answer: Json = serde_json::from_slice(&body).unwrap();
        assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
        assert_eq!(answer["response"]["uid"], "7");
        assert_eq!(answer["response"]["allowed"], true);
        answer["response"].take()
    }
}

fn review(object: &Json) -> Json {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {"uid": "7", "namespace": "chat", "operation": "CREATE", "object": object},
    })
}

fn pod() -> Json {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "generateName": "chat-5d8f-", "labels": {"app": "chat", "pod-template-hash": "5d8f"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "chat-5d8f", "uid": "1", "controller": true}],
        },
        "spec": {"containers": [{"name": "chat", "image": "chat:1"}]},
    })
}

#[track_caller]
fn warns(response: &Json, code: &str) {
    let warnings = response["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{response}");
    let warning = warnings[0].as_str().unwrap();
    assert!(
        warning.starts_with(&format!("ws-operator: {code}: ")),
        "{warning}"
    );
    assert!(response.get("patch").is_none(), "{response}");
}

#[tokio::test]
async fn a_pod_of_the_app_is_patched() {
    let server = Server::start().await;
    let response = server.review(PODS, &review(&pod())).await;
    assert_eq!(response["patchType"], "JSONPatch");
    assert!(response.get("warnings").is_none());
}

#[tokio::test]
async fn before_the_cluster_is_known_a_pod_starts_with_a_warning() {
    let mut server = Server::ignorant(FOR_EVER).await;
    warns(&server.review(PODS, &review(&pod())).await, "NotReady");
    server.told("ReplicaSet", "chat-5d8f", Reason::NotReady);
}

#[tokio::test]
async fn an_object_of_another_kind_starts_with_a_warning() {
    let mut server = Server::start().await;
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let response = server.review(PODS, &review(&object)).await;
    warns(&response, "InternalError");
    server.told("ConfigMap", "a", Reason::InternalError);
}

#[tokio::test]
async fn a_pod_that_cannot_be_read_starts_with_a_warning() {
    let mut server = Server::start().await;
    let mut pod = pod();
    pod["spec"]["containers"] = json!("none");
    warns(&server.review(PODS, &review(&pod)).await, "InternalError");
    server.told("ReplicaSet", "chat-5d8f", Reason::InternalError);
    let nothing = review(&Json::Null);
    warns(&server.review(PODS, &nothing).await, "InternalError");
    let mut rehearsal = review(&pod);
    rehearsal["request"]["dryRun"] = json!(true);
    warns(&server.review(PODS, &rehearsal).await, "InternalError");
    server.told_nothing();
}

#[tokio::test]
async fn a_strange_envelope_is_allowed_with_a_warning() {
    let mut server = Server::start().await;
    let mut strange = review(&pod());
    strange["request"]["dryRun"] = json!("perhaps");
    for path in [PODS, SERVICES, MANIFESTS] {
        warns(&server.review(path, &strange).await, "InternalError");
    }
    let counted = server.webhook.metrics.write(Format::Text);
    let line = r#"admissions_total{decision="skip",reason="internal-error"} 3"#;
    assert!(counted.contains(line), "{counted}");
    server.told_nothing();
}

/// What has no uid cannot be answered: an error is an answer too, and `failurePolicy: Ignore`
/// lets the pod in.
#[tokio::test]
async fn what_is_no_review_is_an_error_and_nothing_worse() {
    let server = Server::start().await;
    let pods = server.key.path(PODS);
    for body in ["", "no JSON", "{}", r#"{"request": {}}"#, "[1, 2"] {
        let (status, _) = server.try_post(&pods, body.into()).await.unwrap();
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body:?}");
    }
    // Who sends more than is read may see the answer, or the end of the connection.
    if let Ok((status, _)) = server.try_post(&pods, vec![b' '; LONGEST + 1]).await {
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    }
    let response = server.review(PODS, &review(&pod())).await;
    assert!(response.get("patch").is_some(), "it goes on: {response}");
}

#[tokio::test]
async fn a_panic_lets_the_pod_in_with_a_warning() {
    let mut server = Server::start().await;
    let body = review(&pod()).to_string();
    let bug = async { panic!("a bug, provoked by a test") };
    let reply = server.webhook.whatever_happens(body.as_bytes(), bug).await;
    let body = reply.into_body().collect().await.unwrap().to_bytes();
    let answer: Json = serde_json::from_slice(&body).unwrap();
    assert_eq!(answer["response"]["allowed"], true);
    warns(&answer["response"], "InternalError");
    server.told("ReplicaSet", "chat-5d8f", Reason::InternalError);
}

#[tokio::test]
async fn whose_like_was_refused_is_let_in_without_the_gateway() {
    let server = Server::start().await;
    let refused = json!({
        "metadata": {"name": "chat.1", "namespace": "chat"}, "reason": "FailedCreate",
        "involvedObject": {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "chat-5d8f", "uid": "1"},
        "source": {"component": "replicaset-controller"}, "lastTimestamp": Timestamp::now().to_string(),
        "message": "Error creating: pods \"chat-x\" is forbidden: no sidecars here",
    });
    let cluster = &server.webhook.cluster;
    cluster.refusals.put_object(refused);
    let deployment = |conditions: &Json| {
        json!({
            "metadata": {"name": "chat", "namespace": "chat"},
            "spec": {"selector": {}, "template": {}}, "status": {"conditions": conditions},
        })
    };
    cluster.deployments.put_object(deployment(&json!([])));
    let response = server.review(PODS, &review(&pod())).await;
    assert!(
        response.get("warnings").is_none(),
        "anybody may write Events: {response}"
    );
    let failure = json!({
        "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "any",
    });
    cluster
        .deployments
        .put_object(deployment(&json!([failure])));
    let response = server.review(PODS, &review(&pod())).await;
    let warning = response["warnings"][0].as_str().unwrap();
    assert!(
        warning.starts_with("ws-operator: PodsRefused: "),
        "{warning}"
    );
    let patch = response["patch"].as_str().unwrap();
    let patch = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, patch).unwrap();
    let patch = String::from_utf8(patch).unwrap();
    assert!(!patch.contains("/spec"), "{patch}");
    assert!(patch.contains("no sidecars here"), "{patch}");

    let mut others = pod();
    others["metadata"]["ownerReferences"][0]["uid"] = json!("2");
    let response = server.review(PODS, &review(&others)).await;
    assert!(response.get("warnings").is_none(), "{response}");
}

fn labelled() -> Json {
    let mut pod = pod();
    pod["metadata"]["labels"] =
        json!({"app": "new", "pod-template-hash": "5d8f", "ws.olares.com/inject": "true"});
    pod["metadata"]["ownerReferences"][0]["name"] = json!("new-5d8f");
    pod
}

/// The workload and its pods come with one `apply`: the pod may be quicker than the source.
#[tokio::test]
async fn a_pod_that_asks_by_label_waits_for_its_manifest() {
    let server = Server::start().await;
    let pod = review(&labelled());
    let asked = server.review(PODS, &pod);
    let told = async {
        // Later than the first look, and well before patience ends.
        tokio::time::sleep(PATIENCE / 4).await;
        let app = json!({
            "metadata": {"name": "new", "namespace": "chat", "labels": {"ws.olares.com/source": "label"}},
            "spec": {"entrances": [{"host": "new"}], "options": {"websocket": {"url": "/ws", "port": 80}}},
        });
        let app = App::read(serde_json::from_value(app).unwrap());
        let service = json!({"metadata": {"name": "new"}, "spec": {"selector": {"app": "new"}}});
        let service = ServiceFacts::read(serde_json::from_value(service).unwrap());
        let cluster = &server.webhook.cluster;
        cluster.services.put("chat", "new", service);
        cluster.apps.put("chat", "new", Some(app));
    };
    let (response, ()) = tokio::join!(asked, told);
    assert_eq!(response["patchType"], "JSONPatch", "{response}");
}

#[tokio::test]
async fn a_label_that_nobody_reads_keeps_no_pod_for_long() {
    let server = Server::start().await;
    let started = Instant::now();
    let response = server.review(PODS, &review(&labelled())).await;
    assert!(response.get("patch").is_none(), "{response}");
    assert!(started.elapsed() < PATIENCE * 2, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_pod_is_told_that_another_kind_of_workload_has_its_name() {
    let mut server = Server::start().await;
    let app = json!({
        "metadata": {
            "name": "new", "namespace": "chat", "labels": {"ws.olares.com/source": "label"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "new", "uid": "2"}],
        },
        "spec": {"entrances": [{"host": "stateful"}], "options": {"websocket": {"url": "/ws", "port": 80}}},
    });
    let app = App::read(serde_json::from_value(app).unwrap());
    let service = json!({"metadata": {"name": "stateful"}, "spec": {"selector": {"app": "other"}}});
    let service = ServiceFacts::read(serde_json::from_value(service).unwrap());
    let cluster = &server.webhook.cluster;
    cluster.services.put("chat", "stateful", service);
    cluster.apps.put("chat", "new", Some(app));
    let response = server.review(PODS, &review(&labelled())).await;
    warns(&response, "NameTaken");
    server.told("ReplicaSet", "new-5d8f", Reason::NameTaken);
}

fn edit(source: &str, port: u16, manager: &str) -> Json {
    let object = |source: &str, port| {
        json!({
            "apiVersion": "ws.olares.com/v1alpha1", "kind": "AppManifest",
            "metadata": {"name": "a", "namespace": "chat", "labels": {"ws.olares.com/source": source}},
            "spec": {"entrances": [{"host": "a"}], "options": {"websocket": {"url": "/ws", "port": port}}},
        })
    };
    let mut review = review(&object(source, port));
    review["request"]["operation"] = json!("UPDATE");
    review["request"]["oldObject"] = object("helm", 80);
    review["request"]["options"] = json!({"kind": "PatchOptions", "fieldManager": manager});
    review
}

#[tokio::test]
async fn whoever_edits_what_a_source_writes_is_told() {
    let mut server = Server::start().await;
    let response = server
        .review(MANIFESTS, &edit("helm", 81, "kubectl-edit"))
        .await;
    warns(&response, "SourceOwned");
    server.told("AppManifest", "a", Reason::SourceOwned);
    for other in [
        edit("helm", 80, "kubectl-edit"),
        edit("helm", 81, "ws-operator"),
        // Taken over.
        edit("", 81, "kubectl-edit"),
    ] {
        let response = server.review(MANIFESTS, &other).await;
        assert!(response.get("warnings").is_none(), "{response}");
        server.told_nothing();
    }
}

#[tokio::test]
async fn a_bare_pod_that_asks_by_label_is_told_that_it_asks_in_vain() {
    let server = Server::start().await;
    let mut pod = labelled();
    pod["metadata"]["ownerReferences"] = json!([]);
    warns(&server.review(PODS, &review(&pod)).await, "BarePod");
}

/// The status line that comes, whatever was sent of the request.
async fn answered(stream: &mut TlsStream<TcpStream>) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let byte = stream.read_u8().await.unwrap();
        line.push(byte);
    }
    String::from_utf8(line).unwrap().trim_end().to_owned()
}

async fn closed(stream: &mut TlsStream<TcpStream>) {
    let mut rest = Vec::new();
    // An end without TLS' own word is one too.
    let _ = stream.read_to_end(&mut rest).await;
}

/// As any pod in the cluster can.
#[tokio::test]
async fn who_does_not_know_the_path_is_told_nothing() {
    let mut server = Server::start().await;
    let [pod, other] = [pod(), {
        let mut pod = pod();
        pod["metadata"]["ownerReferences"][0]["kind"] = json!("Job");
        pod
    }];
    let known = server.key.path(PODS);
    let (tag, _) = known[1..].split_once('/').unwrap();
    let guesses = [
        "/",
        "/pods",
        "/services",
        "/appmanifests",
        "/elsewhere",
        &format!("/{tag}"),
        &format!("/{tag}/services"),
        &format!("/{tag}/entrance/chat"),
        &format!("{known}/"),
        &format!("/{}/pods", "0".repeat(64)),
    ]
    .map(str::to_owned);
    for path in &guesses {
        for object in [&pod, &other] {
            let review = review(object).to_string().into_bytes();
            let (status, body) = server.try_post(path, review).await.unwrap();
            assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
            assert!(body.is_empty(), "{body:?}");
        }
        // Before there is any body.
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n");
        let mut stream = server.send(head.as_bytes()).await;
        assert_eq!(answered(&mut stream).await, "HTTP/1.1 404 Not Found");
        closed(&mut stream).await;
    }
    let mut get = server
        .send(format!("GET {known} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
        .await;
    assert_eq!(answered(&mut get).await, "HTTP/1.1 404 Not Found");
    server.told_nothing();
    let counted = server.webhook.metrics.write(Format::Text);
    let count = guesses.len() * 3 + 1;
    let line = format!(r#"webhook_turned_away_total{{reason="unknown-path"}} {count}"#);
    assert!(counted.contains(&line), "{counted}");
    assert!(!counted.contains("admissions_total{"), "{counted}");
}

/// Whoever makes a pod reads the path in the error where we did not answer.
#[tokio::test]
async fn the_path_of_a_namespace_answers_for_no_other() {
    let mut server = Server::start().await;
    let review = review(&pod());
    for about in [About::Entrance(Some("chat")), About::Entrance(None)] {
        let response = server.review(about, &review).await;
        assert_eq!(response["patchType"], "JSONPatch");
        assert!(server.told.try_recv().is_ok());
    }
    let foreign = server.key.path(About::Entrance(Some("mallory")));
    let body = review.to_string().into_bytes();
    let (status, body) = server.try_post(&foreign, body).await.unwrap();
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(body.is_empty(), "{body:?}");
    server.told_nothing();
}

/// Deadlines have no part in it: nobody here waits for one.
#[tokio::test]
async fn a_crowd_that_says_nothing_keeps_no_review_waiting() {
    let server = Server::start().await;
    let mut silent = Vec::new();
    for _ in 0..256 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    server.review(PODS, &review(&pod())).await;
    let mut halves = Vec::new();
    for _ in 0..256 {
        halves.push(server.send(b"POST /pods HTTP/1.1\r\n").await);
    }
    for _ in 0..5 {
        server.review(PODS, &review(&pod())).await;
    }
}

#[tokio::test]
async fn a_handshake_a_head_and_a_body_have_a_deadline_each() {
    let server = Server::patient(Duration::from_millis(200)).await;
    let mut no_tls = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(no_tls.read(&mut [0]).await.unwrap_or(0), 0);
    let mut half = server.send(b"POST / HTTP/1.1\r\nHos").await;
    closed(&mut half).await;
    let mut body = server.head(PODS, 100);
    body.extend(b"{\"request\": ");
    let mut body = server.send(&body).await;
    assert_eq!(answered(&mut body).await, "HTTP/1.1 408 Request Timeout");
    closed(&mut body).await;
    let counted = server.webhook.metrics.write(Format::Text);
    let line = r#"webhook_turned_away_total{reason="late"} 3"#;
    assert!(counted.contains(line), "{counted}");
}

/// Even of those who know the path, as the API server does.
#[tokio::test]
async fn what_is_read_at_once_is_bounded() {
    let server = Server::patient(Duration::from_millis(500)).await;
    let mut large = server.send(&server.head(PODS, LONGEST + 1)).await;
    assert_eq!(answered(&mut large).await, "HTTP/1.1 413 Payload Too Large");
    // One that is being read has taken its room.
    let bodies = &server.webhook.bodies;
    let mut reading = server.send(&server.head(PODS, LONGEST)).await;
    while bodies.installed.available_permits() > 2 * LONGEST / UNIT {
        tokio::task::yield_now().await;
    }
    assert_eq!(answered(&mut reading).await, "HTTP/1.1 408 Request Timeout");
    // All of it is taken.
    let others = bodies.room(PODS, 3 * LONGEST).await.unwrap();
    let mut beyond = server.send(&server.head(PODS, 100)).await;
    let said = answered(&mut beyond).await;
    assert_eq!(said, "HTTP/1.1 503 Service Unavailable");
    // Routed namespaces have a share of their own.
    let entrance = About::Entrance(Some("chat"));
    server.review(entrance, &review(&pod())).await;
    drop(others);
    server.review(PODS, &review(&pod())).await;
}

fn patched(pod: &Json, response: &Json) -> Json {
    let patch = response["patch"].as_str().unwrap();
    let patch = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, patch).unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    let mut pod = pod.clone();
    json_patch::patch(&mut pod, &patch).unwrap();
    pod
}

/// OpenShift says so on the namespace; any other user than one of those would be refused.
#[tokio::test]
async fn where_the_platform_gives_the_user_the_gateway_asks_for_none() {
    let server = Server::start().await;
    let asked = |pod: &Json| {
        let security = &pod["spec"]["containers"][1]["securityContext"];
        assert_eq!(security["runAsNonRoot"], true);
        (
            security["runAsUser"].clone(),
            security["runAsGroup"].clone(),
        )
    };
    let response = server.review(PODS, &review(&pod())).await;
    assert_eq!(
        asked(&patched(&pod(), &response)),
        (json!(65532), json!(65532))
    );
    let namespaces = &server.webhook.cluster.namespaces;
    let annotations = json!({"openshift.io/sa.scc.uid-range": "1000680000/10000"});
    let object = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "chat", "annotations": annotations},
    });
    namespaces.put_object(object);
    let response = server.review(PODS, &review(&pod())).await;
    assert_eq!(asked(&patched(&pod(), &response)), (Json::Null, Json::Null));
}

#[tokio::test]
async fn pull_secrets_join_those_of_the_pod() {
    let names = ["hub", "mirror"].map(str::to_owned);
    let server = Server::pulling(FOR_EVER, names.to_vec()).await;
    server.knows_chat();
    let mut pod = pod();
    pod["spec"]["imagePullSecrets"] = json!([{"name": "own"}, {"name": "hub"}]);
    let response = server.review(PODS, &review(&pod)).await;
    let all = json!([{"name": "own"}, {"name": "hub"}, {"name": "mirror"}]);
    assert_eq!(patched(&pod, &response)["spec"]["imagePullSecrets"], all);
}

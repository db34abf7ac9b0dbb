//! What the operator's own token is good for, and what the webhook tells whoever asks it.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use e2e::app;
use e2e::authority::webhooks;
use e2e::chart;
use e2e::cluster::{self, Namespace, Skipped};
use e2e::command::{kubectl, run};
use e2e::small::{Small, apply};
use e2e::wait::{Look, until};
use e2e::{events, manifest, operator};
use k8s_openapi::api::core::v1::Event;
use serde_json::{Value as Json, json};

const CONFIGURATION: &str = "mutatingwebhookconfiguration/ws-operator";
const ENTRANCES: &str = "mutatingwebhookconfiguration/ws-operator-entrance";

/// kubectl with the operator's token and no other credential.
struct Thief {
    kubeconfig: tempfile::NamedTempFile,
}

impl Thief {
    fn new() -> Result<Self> {
        let text = kubectl(["config", "view", "--raw", "--minify", "-o", "json"])?;
        let mut config: Json = serde_json::from_str(&text)?;
        let account = operator::service_account()?;
        let token = kubectl(["-n", operator::NAMESPACE, "create", "token", &account])?;
        let users = config["users"].as_array_mut().context("no users")?;
        for user in users {
            user["user"] = json!({"token": token.trim()});
        }
        let kubeconfig = tempfile::NamedTempFile::new()?;
        std::fs::write(kubeconfig.path(), config.to_string())?;
        Ok(Self { kubeconfig })
    }

    fn kubectl(&self, words: &[&str]) -> Result<String> {
        let config = format!("--kubeconfig={}", self.kubeconfig.path().display());
        run("kubectl", [config.as_str()].iter().chain(words))
    }

    /// On the API server, and for the show only.
    fn patch(&self, place: &str, object: &str, patch: &Json) -> Result<String> {
        let how = if patch.is_array() { "json" } else { "merge" };
        let (how, patch) = (format!("--type={how}"), format!("--patch={patch}"));
        let show = "--dry-run=server";
        self.kubectl(&["-n", place, "patch", object, &how, &patch, show])
    }

    fn create(&self, object: &Json) -> Result<String> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), object.to_string())?;
        let path = file.path().display().to_string();
        self.kubectl(&["create", "--dry-run=server", "-f", &path])
    }
}

/// In another namespace, as by kustomize's `namespace:`, the operator's account is narrowed likewise; of
/// somebody who has no more than its name nothing is taken.
fn wherever_it_is(namespace: &Namespace) -> Result<()> {
    let place = namespace.name.as_str();
    let account = operator::service_account()?;
    let bind = |kind: &str, role: &str| {
        let role = format!("--clusterrole={role}");
        let whose = format!("--serviceaccount={place}:{account}");
        kubectl(["-n", place, "create", kind, "e2e-namesake", &role, &whose])
    };
    let create = |name: &str| {
        let who = format!("--as=system:serviceaccount:{place}:{account}");
        let image = format!("--image={}", chart::image());
        let words = ["-n", place, "create", "deployment", name, &image, &who];
        kubectl(words.into_iter().chain(["--dry-run=server"]))
    };
    kubectl(["-n", place, "create", "serviceaccount", &account])?;
    bind("rolebinding", "admin")?;
    create("mine").context("a namesake is narrowed")?;
    bind("clusterrolebinding", "ws-operator")?;
    let outcome = create("mine");
    kubectl(["delete", "clusterrolebinding", "e2e-namesake"])?;
    refused(&outcome, "workloads", &json!("create a Deployment"))
}

/// By that policy, and not for want of a right or for bad form.
fn refused(outcome: &Result<String>, policy: &str, what: &Json) -> Result<()> {
    let words = match outcome {
        Ok(said) => anyhow::bail!("the operator may {what}: {said}"),
        Err(error) => format!("{error:#}"),
    };
    let by = format!("ValidatingAdmissionPolicy 'ws-operator-{policy}'");
    ensure!(
        words.contains(&by) && words.contains("denied request: "),
        "{what}: {words}"
    );
    Ok(())
}

pub(crate) async fn beyond_its_work_the_operator_is_refused(
    namespace: Arc<Namespace>,
) -> Result<()> {
    if kubectl(["get", "validatingadmissionpolicy", "ws-operator-workloads"]).is_err() {
        return Err(Skipped("the API server has no ValidatingAdmissionPolicies").into());
    }
    let thief = Thief::new()?;
    ensure!(thief.kubectl(&["get", "pods", "-n", "kube-system"]).is_ok());
    for small in [
        Small::deployment("small"),
        Small::new("StatefulSet", "stateful"),
        Small::new("DaemonSet", "everywhere"),
    ] {
        small.start(&namespace)?;
    }
    may_look(&thief, &namespace.name).await?;
    let outcome = tries(&thief, &namespace).and_then(|()| wherever_it_is(&namespace));
    for object in ["clusterrole", "clusterrolebinding"] {
        kubectl(["delete", object, "e2e-look"])?;
    }
    outcome
}

/// kubectl looks at an object before it changes it, which the operator does not: for that alone
/// the right is lent.
async fn may_look(thief: &Thief, place: &str) -> Result<()> {
    let resources = "--resource=deployments.apps,statefulsets.apps,daemonsets.apps,services,mutatingwebhookconfigurations.admissionregistration.k8s.io";
    kubectl(["create", "clusterrole", "e2e-look", "--verb=get", resources])?;
    let account = format!(
        "--serviceaccount={}:{}",
        operator::NAMESPACE,
        operator::service_account()?
    );
    kubectl([
        "create",
        "clusterrolebinding",
        "e2e-look",
        "--clusterrole=e2e-look",
        &account,
    ])?;
    until("the right to look", || async {
        let looked = thief.kubectl(&["-n", place, "get", "deployment/small"]);
        Ok(Look::when(looked.is_ok(), (), format!("{looked:?}")))
    })
    .await
}

fn tries(thief: &Thief, namespace: &Namespace) -> Result<()> {
    for workload in [
        "deployment/small",
        "statefulset/stateful",
        "daemonset/everywhere",
    ] {
        workloads(thief, &namespace.name, workload)?;
    }
    services(thief, namespace)?;
    configurations(thief)?;
    own(thief, &namespace.name)
}

fn workloads(thief: &Thief, place: &str, workload: &str) -> Result<()> {
    let template = |change: Json| json!({"spec": {"template": change}});
    let annotated = |key: &str| template(json!({"metadata": {"annotations": {key: "x"}}}));
    thief.patch(place, workload, &annotated("ws.olares.com/rolled-for"))?;
    let both = json!({"ws.olares.com/rolled-for": "x", "a": "b"});
    let privileged =
        json!({"name": "other", "image": "mallory", "securityContext": {"privileged": true}});
    for change in [
        annotated("a"),
        template(json!({"metadata": {"annotations": both}})),
        template(json!({"metadata": {"labels": {"a": "b"}}})),
        template(json!({"spec": {"serviceAccountName": "root"}})),
        template(json!({"spec": {"hostNetwork": true}})),
        template(json!({"spec": {"nodeName": "somewhere"}})),
        json!({"spec": {"minReadySeconds": 7}}),
        json!({"metadata": {"labels": {"a": "b"}}}),
        json!({"metadata": {"annotations": {"ws.olares.com/rolled-for": "x"}}}),
        json!({"metadata": {"finalizers": ["a.example/b"]}}),
        json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "mallory"}]),
        json!([{"op": "add", "path": "/spec/template/spec/containers/0/command", "value": ["sh"]}]),
        json!([{"op": "add", "path": "/spec/template/spec/containers/-", "value": privileged}]),
        json!([{"op": "add", "path": "/spec/template/spec/volumes", "value": [{"name": "a", "hostPath": {"path": "/"}}]}]),
    ] {
        let outcome = thief.patch(place, workload, &change);
        refused(&outcome, "workloads", &change).with_context(|| workload.to_owned())?;
    }
    Ok(())
}

fn services(thief: &Thief, namespace: &Namespace) -> Result<()> {
    let place = &namespace.name;
    let target =
        |to: Json| json!([{"op": "replace", "path": "/spec/ports/0/targetPort", "value": to}]);
    let marks = json!({
        "labels": {"ws.olares.com/routed": "true"},
        "annotations": {"ws.olares.com/app": "small", "ws.olares.com/own-target": "80=8888"},
    });
    for change in [
        target(json!("ws-entrance")),
        target(json!(40010)),
        json!({"metadata": marks}),
    ] {
        thief.patch(place, "service/small", &change)?;
    }
    for change in [
        target(json!(9999)),
        target(json!("ssh")),
        json!([{"op": "replace", "path": "/spec/ports/0/port", "value": 81}]),
        json!({"spec": {"ports": [{"name": "a", "port": 80, "targetPort": 8888}, {"name": "b", "port": 22, "targetPort": 40010}]}}),
        json!({"spec": {"selector": {"small": "mallory"}}}),
        json!({"spec": {"externalIPs": ["192.0.2.1"]}}),
        json!({"spec": {"type": "NodePort"}}),
        json!({"metadata": {"labels": {"a": "b"}}}),
        json!({"metadata": {"labels": {"ws.olares.com/entrance": "small"}}}),
        json!({"metadata": {"annotations": {"a": "b"}}}),
        json!({"metadata": {"ownerReferences": [{"apiVersion": "ws.olares.com/v1alpha1", "kind": "AppManifest", "name": "a", "uid": "1"}]}}),
    ] {
        let outcome = thief.patch(place, "service/small", &change);
        refused(&outcome, "services", &change)?;
    }
    // Led to the gateway, it is led back, and nowhere else.
    let led = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "led", "labels": {"ws.olares.com/routed": "true"}},
        "spec": {"selector": {"a": "b"}, "ports": [{"port": 80, "targetPort": "ws-entrance"}]},
    });
    apply(namespace, &[led])?;
    thief.patch(place, "service/led", &target(json!(8888)))?;

    let show = "--dry-run=server";
    for object in ["service/small", "service/led"] {
        let outcome = thief.kubectl(&["-n", place, "delete", show, object]);
        refused(&outcome, "services", &json!(object))?;
    }
    let service = |spec: Json, owner: &str| {
        let mut object = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": "small-ws", "namespace": place, "labels": {"ws.olares.com/entrance": "small"},
                "ownerReferences": [{"apiVersion": "ws.olares.com/v1alpha1", "kind": owner, "name": "a", "uid": "1"}],
            },
            "spec": {"selector": {"small": "small"}, "ports": [{"port": 40010}]},
        });
        for (key, value) in spec.as_object().into_iter().flatten() {
            object["spec"][key] = value.clone();
        }
        object
    };
    thief.create(&service(json!({}), "AppManifest"))?;
    for other in [
        service(json!({}), "Deployment"),
        service(json!({"externalIPs": ["192.0.2.1"]}), "AppManifest"),
        service(json!({"type": "LoadBalancer"}), "AppManifest"),
        service(
            json!({"type": "ExternalName", "externalName": "example.com"}),
            "AppManifest",
        ),
    ] {
        refused(&thief.create(&other), "services", &other)?;
    }
    Ok(())
}

fn configurations(thief: &Thief) -> Result<()> {
    let replace = |path: &str, value: Json| json!([{"op": "replace", "path": format!("/webhooks/0/{path}"), "value": value}]);
    for change in [
        replace("clientConfig/service/path", json!("/a")),
        replace("clientConfig/caBundle", json!("")),
    ] {
        thief.patch("default", CONFIGURATION, &change)?;
    }
    let secrets = json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["secrets"]}]);
    let all = json!({});
    for change in [
        replace("rules", secrets.clone()),
        replace("failurePolicy", json!("Fail")),
        replace("namespaceSelector", all.clone()),
        replace("timeoutSeconds", json!(30)),
        replace("clientConfig/service/name", json!("mallory")),
        replace("clientConfig", json!({"url": "https://mallory.example"})),
        json!([{"op": "remove", "path": "/webhooks/0"}]),
        json!([{"op": "replace", "path": "/webhooks", "value": []}]),
        json!({"metadata": {"labels": {"a": "b"}}}),
    ] {
        let outcome = thief.patch("default", CONFIGURATION, &change);
        refused(&outcome, "webhooks", &change)?;
    }
    // An entry for one more namespace is the operator's work; whatever else it would be is not.
    let whole = entry();
    let with = |entry: &Json| json!({"webhooks": [entry]});
    thief.patch("default", ENTRANCES, &with(&whole))?;
    // Nor is it any harm to write again what a cloud has put beside it.
    let mut narrower = whole.clone();
    narrower["objectSelector"] = json!({"matchLabels": {"a": "b"}});
    let expressions = narrower.pointer_mut("/namespaceSelector/matchExpressions");
    let expressions = expressions.and_then(Json::as_array_mut);
    let foreign = json!({"key": "control-plane", "operator": "NotIn", "values": ["true"]});
    expressions.context("no expressions")?.push(foreign);
    thief.patch("default", ENTRANCES, &with(&narrower))?;
    let changed = |path: &str, value: Json| {
        let mut other = whole.clone();
        *other.pointer_mut(path).context("no such place")? = value;
        let outcome = thief.patch("default", ENTRANCES, &with(&other));
        refused(&outcome, "webhooks", &other)
    };
    changed("/rules/0/resources", json!(["secrets"]))?;
    changed("/rules/0/operations", json!(["CREATE", "UPDATE"]))?;
    changed("/rules/0/scope", json!("*"))?;
    changed("/clientConfig/service/name", json!("mallory"))?;
    changed("/clientConfig/service/namespace", json!("default"))?;
    changed("/clientConfig", json!({"url": "https://mallory.example"}))?;
    changed("/namespaceSelector", all)?;
    let excluded = "/namespaceSelector/matchExpressions/0/operator";
    changed(excluded, json!("NotIn"))?;
    let others = "/namespaceSelector/matchExpressions/0/values";
    changed(others, json!(["kube-system"]))?;
    changed("/name", json!("mallory.ws.olares.com"))?;
    let outcome = thief.patch(
        "default",
        ENTRANCES,
        &json!({"metadata": {"finalizers": ["a.example/b"]}}),
    );
    refused(&outcome, "webhooks", &json!("finalizers"))
}

fn entry() -> Json {
    json!({
        "name": "shop.entrance.pods.ws.olares.com",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"service": {"name": "ws-operator", "namespace": operator::NAMESPACE, "path": "/a", "port": 443}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"], "scope": "Namespaced"}],
        "failurePolicy": "Fail", "timeoutSeconds": 3, "reinvocationPolicy": "IfNeeded",
        "sideEffects": "NoneOnDryRun", "matchPolicy": "Equivalent",
        "namespaceSelector": {"matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["shop"]},
        ]},
    })
}

/// Its Secret and its Lease, and no token of another.
fn own(thief: &Thief, other: &str) -> Result<()> {
    let home = operator::NAMESPACE;
    let secret = |name: &str, kind: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": kind,
            "metadata": {"name": name, "namespace": home, "annotations": {"kubernetes.io/service-account.name": "default"}},
        })
    };
    let token = "kubernetes.io/service-account-token";
    for object in [
        secret("mine", "Opaque"),
        secret("mine", token),
        secret("ws-operator-ca", token),
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "mine", "namespace": home}}),
    ] {
        refused(&thief.create(&object), "own", &object)?;
    }
    // Beyond that there is no right at all.
    for words in [
        &["-n", other, "create", "secret", "generic", "a"][..],
        &["-n", other, "create", "serviceaccount", "a"],
        &["-n", home, "delete", "secret", "ws-operator-ca"],
        &["-n", home, "delete", "deployment", "ws-operator"],
        &[
            "-n",
            home,
            "exec",
            "deployment/ws-operator",
            "--",
            "/ws-operator",
        ],
        &["delete", CONFIGURATION],
        &[
            "create",
            "clusterrolebinding",
            "a",
            "--clusterrole=cluster-admin",
            "--user=mallory",
        ],
        &[
            "delete",
            "validatingadmissionpolicy",
            "ws-operator-workloads",
        ],
        &[
            "delete",
            "validatingadmissionpolicybinding",
            "ws-operator-workloads",
        ],
    ] {
        let words = [words, &["--dry-run=server"][..]].concat();
        let words: Vec<&str> = words
            .iter()
            .copied()
            .filter(|word| *word != "--dry-run=server" || !words.contains(&"exec"))
            .collect();
        let said = thief.kubectl(&words).map_err(|error| format!("{error:#}"));
        let refused = said
            .as_ref()
            .is_err_and(|said| said.contains("forbidden") || said.contains("Forbidden"));
        ensure!(refused, "{words:?}: {said:?}");
    }
    Ok(())
}

/// As a pod of another tenant asks: it knows the Service, and the form of a review.
pub(crate) async fn strangers_are_told_nothing(namespace: Arc<Namespace>) -> Result<()> {
    if !cluster::in_its_network() {
        return Err(Skipped("the webhook's Service is not reachable from here").into());
    }
    let small = Small::deployment("small");
    small.start(&namespace)?;
    let secret = json!({"identity": {"jwt": {"secret": "top-secret-of-a-tenant-0123456789"}}});
    small.ask(&namespace, &secret)?;
    manifest::wait_for(&namespace, "small", "Ready", "True").await?;

    let path = "jsonpath={.spec.clusterIP}";
    let place = [
        "-n",
        operator::NAMESPACE,
        "get",
        "service",
        "ws-operator",
        "-o",
        path,
    ];
    let address = kubectl(place)?;
    let review = |job: &str| {
        let mut pod = small.template();
        pod["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": "1", "controller": true,
        }]);
        json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {"uid": "1", "namespace": namespace.name, "operation": "CREATE", "object": pod},
        })
        .to_string()
    };
    let ask = |path: &str, review: &str| {
        let url = format!("https://{address}{path}");
        run("curl", ["-sk", "-w", "%{http_code}", "-d", review, &url])
    };
    for path in ["/pods", "/entrance", "/services", "/appmanifests", "/"] {
        let said = ask(path, &review("forged"))?;
        ensure!(said == "404", "{path}: {said}");
    }
    // By the path that it gave to the API server, which nobody else knows, it answers.
    let installed = webhooks("ws-operator")?;
    let path = installed.first().context("no webhooks")?["clientConfig"]["service"]["path"].clone();
    let path = path.as_str().context("no path")?;
    let said = ask(path, &review("honest"))?;
    ensure!(said.ends_with("200"), "{said}");

    // Events are written in the order of what was asked.
    let named = |event: &Event, name: &str| event.involved_object.name.as_deref() == Some(name);
    events::wait_until(&namespace, "on the Job of the API server's path", |event| {
        named(event, "honest")
    })
    .await?;
    let all = events::all(&namespace).await?;
    ensure!(!all.iter().any(|event| named(event, "forged")), "{all:#?}");
    // Neither secret is in anything that people read.
    let status = "jsonpath={.status}";
    let status = kubectl([
        "-n",
        &namespace.name,
        "get",
        "appmanifest",
        "small",
        "-o",
        status,
    ])?;
    let log = [
        "-n",
        operator::NAMESPACE,
        "logs",
        "-l",
        operator::LABELS,
        "--tail=-1",
    ];
    for (place, text) in [
        ("status", status),
        ("log", kubectl(log)?),
        ("Events", format!("{all:?}")),
    ] {
        ensure!(!text.contains("top-secret"), "in the {place}: {text}");
        ensure!(!text.contains(path), "the path is in the {place}");
    }
    Ok(())
}

/// The operator asks the API server for Helm's Secrets alone, whatever labels others have.
pub(crate) async fn secrets_of_other_types_are_not_read(namespace: Arc<Namespace>) -> Result<()> {
    chart::install(&namespace, &chart::example())?;
    manifest::wait_for(&namespace, app::APP, "Ready", "True").await?;
    let all = [
        "-n",
        &namespace.name,
        "get",
        "secrets",
        "-l",
        "owner=helm",
        "-o",
        "json",
    ];
    let mut found: Json = serde_json::from_str(&kubectl(all)?)?;
    let mut copy = found["items"][0].take();
    ensure!(copy["type"] == "helm.sh/release.v1", "{copy}");
    let other = Namespace::create("e2e-other").await?;
    copy["type"] = json!("Opaque");
    copy["metadata"] = json!({
        "name": "sh.helm.release.v1.copy.v1",
        "labels": {"owner": "helm", "name": "copy", "status": "deployed", "version": "1"},
    });
    let mut same = copy.clone();
    same["type"] = json!("helm.sh/release.v1");
    same["metadata"]["name"] = json!("sh.helm.release.v1.same.v1");
    same["metadata"]["labels"]["name"] = json!("same");
    // In this order, so that with the second the first would have been read too.
    apply(&other, &[copy])?;
    apply(&other, &[same])?;
    // Of the right type it is read, and found to tell of another namespace.
    let same = ("Secret", "sh.helm.release.v1.same.v1");
    events::wait_for(&other, same, "ReleaseElsewhere", "Warning").await?;
    let told = format!("{:?}", events::all(&other).await?);
    ensure!(!told.contains("release.v1.copy.v1"), "it was read: {told}");
    other.delete().await
}

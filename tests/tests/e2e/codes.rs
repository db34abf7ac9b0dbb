//! One reason everywhere: in the Event, the metric, the admission warning, the AppManifest's
//! status and `explain`. And each of these pods starts as if the operator were not there.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use e2e::cluster::Namespace;
use e2e::command::kubectl;
use e2e::small::{Small, apply};
use e2e::wait::{Look, until};
use e2e::{admission, app, events, manifest, operator};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value as Json, json};

/// What the entrance's Service selects all of them by.
const ENTRANCE: (&str, &str) = ("entrance", "codes");

struct Case {
    reason: &'static str,
    /// The reason's label in metrics, and the name of the objects.
    label: &'static str,
    small: Small,
    /// What makes the pods.
    kind: &'static str,
    /// Whoever creates it is told: the Event is a Warning, and admission warns.
    warns: bool,
}

impl Case {
    fn new(
        (reason, label): (&'static str, &'static str),
        kind: &'static str,
        warns: bool,
        edit: impl FnOnce(Small) -> Small,
    ) -> Self {
        let (key, value) = ENTRANCE;
        let small = edit(Small::deployment(label).labels(json!({key: value})));
        Self {
            reason,
            label,
            small,
            kind,
            warns,
        }
    }

    fn object(&self) -> Json {
        let template = self.small.template();
        let mut metadata = template["metadata"].clone();
        metadata["name"] = json!(self.label);
        match self.kind {
            "Pod" => {
                json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
            }
            "Job" => {
                let mut template = template;
                template["spec"]["restartPolicy"] = json!("Never");
                let metadata = json!({"name": self.label});
                json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": template}})
            }
            _ => self.small.workload(),
        }
    }
}

fn cases() -> Vec<Case> {
    vec![
        Case::new(("BarePod", "bare-pod"), "Pod", true, |small| small),
        Case::new(("Job", "job"), "Job", false, |small| small),
        Case::new(
            ("HostNetwork", "host-network"),
            "Deployment",
            true,
            |small| small.pod(json!({"hostNetwork": true})),
        ),
        Case::new(("OptedOut", "opted-out"), "Deployment", false, |small| {
            small.annotations(json!({"ws.olares.com/inject": "false"}))
        }),
        Case::new(
            ("PortConflict", "port-conflict"),
            "Deployment",
            true,
            |small| small.container(json!({"ports": [{"containerPort": 40011}]})),
        ),
        Case::new(
            ("PlatformInjected", "platform-injected"),
            "Deployment",
            false,
            |small| small.container(json!({"name": "olares-ws-sidecar"})),
        ),
    ]
}

pub(crate) async fn the_same_reason_everywhere(namespace: Arc<Namespace>) -> Result<()> {
    // A pod in the node's network is nothing that PodSecurity's restricted admits.
    let label = "pod-security.kubernetes.io/enforce=privileged";
    kubectl(["label", "namespace", &namespace.name, label, "--overwrite"])?;
    let (key, value) = ENTRANCE;
    let main = Small::deployment("main").labels(json!({key: value}));
    let mut service = main.service();
    service["spec"]["selector"] = json!({key: value});
    let cases = cases();
    let mut objects = vec![service, main.manifest(&json!({})), main.workload()];
    objects.extend(cases.iter().map(Case::object));
    apply(&namespace, &objects)?;

    for case in &cases {
        is_told(&namespace, case)
            .await
            .with_context(|| format!("the case {}", case.reason))?;
    }
    until("the app's own pods to be injected", || async {
        let pods = main.pods(&namespace).await?;
        let all = !pods.is_empty() && pods.iter().all(|pod| app::gateway(pod).is_some());
        Ok(Look::when(all, (), format!("{} pods", pods.len())))
    })
    .await?;
    events::wait_for(&namespace, ("Deployment", "main"), "Injected", "Normal").await?;
    ensure!(operator::admissions("inject", "injected")? > 0.0);
    Ok(())
}

async fn is_told(namespace: &Namespace, case: &Case) -> Result<()> {
    let Case {
        reason,
        label,
        kind,
        ..
    } = *case;
    // It runs, and has nothing of ours.
    let pod = until("it to run", || async {
        let pods = namespace.all_pods(&format!("small={label}")).await?;
        let runs = |pod: &&Pod| {
            pod.status
                .as_ref()
                .is_some_and(|status| status.phase.as_deref() == Some("Running"))
        };
        let found = pods.iter().find(runs).cloned();
        let seen = format!("{pods:?}");
        Ok(found.map_or(Look::NotYet(seen), Look::Found))
    })
    .await?;
    ensure!(
        !pod.annotations().contains_key("ws.olares.com/injected"),
        "injected all the same"
    );

    let weight = if case.warns { "Warning" } else { "Normal" };
    events::wait_for(namespace, (kind, label), reason, weight).await?;

    ensure!(
        operator::admissions("skip", label)? > 0.0,
        "no metric with this reason"
    );

    let warnings = admission::warnings(namespace, &admission::anew(&pod)).await?;
    let ours: Vec<_> = warnings
        .iter()
        .filter(|warning| warning.contains("ws-operator"))
        .collect();
    let told = ours
        .iter()
        .any(|warning| warning.contains(&format!("ws-operator: {reason}:")));
    ensure!(
        told == case.warns && ours.len() == usize::from(told),
        "admission warns {warnings:?}"
    );

    let (kind, name) = match kind {
        "Deployment" => (kind, label.to_owned()),
        _ => ("Pod", pod.name_any()),
    };
    until("the status to say so", || async {
        let object = manifest::get(namespace, "main").await?;
        let workloads = object.data.pointer("/status/workloads").cloned();
        let workloads = workloads.unwrap_or_default();
        let told = workloads
            .as_array()
            .into_iter()
            .flatten()
            .any(|one| one["kind"] == kind && one["name"] == name && one["reason"] == reason);
        Ok(Look::when(told, (), workloads))
    })
    .await?;

    for target in [format!("pod/{}", pod.name_any()), format!("deploy/{label}")] {
        if target.starts_with("deploy/") && case.kind != "Deployment" {
            continue;
        }
        let explained = operator::explain(&namespace.name, &target)?;
        ensure!(
            explained["reason"] == reason,
            "explain {target}: {explained}"
        );
    }
    Ok(())
}

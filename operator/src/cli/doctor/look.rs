//! Asks the API server and the replicas; what the answers mean is decided in the files beside.

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps,
};
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client, CustomResourceExt, ResourceExt};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;

use super::super::installed::Installed;
use super::served::{self, Served};
use super::sources::{self, Elsewhere};
use super::{Finding, apps, callbacks, operator, policies, rights, webhook};
use crate::api::AppManifest;
use crate::app::{App, Stanza};
use crate::certificate::bundle;
use crate::cluster::{Facts, ServiceFacts, chain};
use crate::probe::Probe;

/// Pods of a Service that are looked at: one is enough to know a port's name by.
const SOME: u32 = 5;

pub(super) async fn examine(client: &Client, namespace: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    match client.apiserver_version().await {
        Ok(version) => findings.push(operator::of_server(&version.major, &version.minor)),
        Err(error) => return vec![operator::no_server(&error)],
    }
    let manifests: Api<AppManifest> = Api::all(client.clone());
    let apps = manifests.list(&ListParams::default()).await;
    findings.push(match &apps {
        Ok(_) => operator::of_crd(has_other_schema(client).await),
        Err(error) => operator::no_crd(&chain(error)),
    });

    let installed = match Installed::find(client, namespace).await {
        Ok(installed) => installed,
        Err(error) => {
            findings.push(operator::unseen(namespace, &chain(&error)));
            None
        }
    };
    if let Some(installed) = &installed {
        findings.extend(of_operator(client, namespace, installed).await);
    } else if !findings.iter().any(|found| found.check == "operator") {
        findings.push(operator::absent(namespace));
    }
    findings.push(operator::of_reach(
        Probe::new(client.clone(), namespace).ask().await,
    ));
    if let Some(installed) = &installed {
        findings.push(operator::of_rights(
            &rights::missing(client, namespace, installed).await,
        ));
        let elsewhere = of_elsewhere(client).await;
        findings.extend(sources::of_sources(&installed.sources(), &elsewhere));
    }
    if let Ok(list) = apps {
        let apps: Vec<App> = list.into_iter().map(App::read).collect();
        findings.extend(apps::of_apps(&apps));
        findings.extend(of_network(client, &apps).await);
        findings.extend(of_callbacks(client, &apps).await);
    }
    findings
}

/// Who may not read ConfigMaps or CRDs is told nothing of them.
async fn of_elsewhere(client: &Client) -> Elsewhere {
    let maps: Api<ConfigMap> = Api::all(client.clone());
    let helms = ListParams::default().labels("owner=helm");
    let maps = maps.list_metadata(&helms).await.into_iter().flatten();
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let argo_cd = crds.get_metadata_opt("applications.argoproj.io").await;
    Elsewhere {
        config_maps: maps.filter_map(|map| map.namespace()).collect(),
        argo_cd: matches!(argo_cd, Ok(Some(_))),
    }
}

/// Who may not read policies, as the operator itself, is told nothing of them.
async fn of_network(client: &Client, apps: &[App]) -> Vec<Finding> {
    let all: Api<NetworkPolicy> = Api::all(client.clone());
    let all = all.list(&ListParams::default()).await;
    let all = all.map(|list| list.items).unwrap_or_default();
    let closable = all.iter().filter_map(ResourceExt::namespace);
    let asking: BTreeSet<&str> = apps.iter().map(|app| app.id.namespace.as_str()).collect();
    let closable: BTreeSet<String> = closable.filter(|one| asking.contains(&**one)).collect();
    let mut pods = Vec::new();
    for namespace in closable {
        let there: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        pods.extend(
            there
                .list(&ListParams::default())
                .await
                .into_iter()
                .flatten(),
        );
    }
    policies::of_policies(&all, &pods)
}

/// Who may not read Services, pods or Secrets is told nothing of them.
async fn of_callbacks(client: &Client, apps: &[App]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for app in apps {
        let Stanza::Valid { websocket, .. } = &app.stanza else {
            continue;
        };
        let namespace = &app.id.namespace;
        let services: Api<Service> = Api::namespaced(client.clone(), namespace);
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        if let Some(name) = app.service()
            && let Ok(Some(service)) = services.get_opt(name).await
            && let Some(service) = ServiceFacts::read(service)
        {
            let wanted = service.selector.iter();
            let wanted: Vec<String> = wanted
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            let some = ListParams::default().labels(&wanted.join(",")).limit(SOME);
            let pods = pods.list(&some).await.map(|list| list.items);
            findings.extend(callbacks::of_service(
                app,
                &service,
                &pods.unwrap_or_default(),
            ));
        }
        for (what, from) in websocket.secrets.iter() {
            if let Ok(found) = secrets.get_opt(&from.name).await {
                findings.extend(callbacks::of_secret(app, what, from, found.as_ref()));
            }
        }
    }
    findings
}

/// Whether the CRD that is installed is of another version than this program. Who may not read
/// it is not told.
async fn has_other_schema(client: &Client) -> bool {
    let own = AppManifest::crd();
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    match crds.get_opt(&own.name_any()).await {
        Ok(Some(found)) => schema(&found) != schema(&own),
        _ => false,
    }
}

fn schema(crd: &CustomResourceDefinition) -> Option<&JSONSchemaProps> {
    let validation = crd.spec.versions.first()?.schema.as_ref()?;
    validation.open_api_v3_schema.as_ref()
}

async fn of_operator(client: &Client, namespace: &str, installed: &Installed) -> Vec<Finding> {
    let mut findings = vec![
        operator::of_replicas(installed),
        operator::of_version(installed),
    ];
    let pods = replicas(client, namespace, installed).await;
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let lease = leases.get_opt(installed.named("WS_OPERATOR_LEASE")).await;
    findings.push(match &lease {
        Ok(lease) => {
            let names: Vec<String> = pods.iter().map(ResourceExt::name_any).collect();
            operator::of_lease(lease.as_ref(), &names, Timestamp::now())
        }
        Err(error) => operator::unseen_lease(&chain(error)),
    });

    // Who may not read it is told nothing of it.
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = installed.named("WS_OPERATOR_CA_SECRET");
    if let Ok(found) = secrets.get_metadata_opt(secret).await {
        findings.push(operator::of_secret(secret, found.is_some()));
    }

    let name = installed.named("WS_OPERATOR_WEBHOOK_CONFIGURATION");
    let service = installed.named("WS_OPERATOR_WEBHOOK_SERVICE");
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let found = match configurations.get_opt(name).await {
        Ok(found) => found,
        Err(error) => {
            findings.push(webhook::unseen(name, &chain(&error)));
            return findings;
        }
    };
    findings.push(webhook::of_configuration(
        name,
        found.as_ref(),
        namespace,
        service,
    ));
    let Some(found) = found else {
        return findings;
    };
    let now = OffsetDateTime::now_utc();
    let webhooks = found.webhooks.as_deref().unwrap_or_default();
    let bundle = webhooks
        .first()
        .and_then(|webhook| webhook.client_config.ca_bundle.as_ref())
        .map(|bytes| bundle::parse(&bytes.0))
        .unwrap_or_default();
    findings.push(webhook::of_bundle(&bundle, installed, now));
    let host = format!("{service}.{namespace}.svc");
    let served = certificates(client, namespace, installed, &pods, &host, &bundle).await;
    findings.extend(webhook::of_certificates(
        &served,
        pods.len(),
        installed,
        now,
    ));
    findings
}

async fn replicas(client: &Client, namespace: &str, installed: &Installed) -> Vec<Pod> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let labels: Vec<String> = installed
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let ours = ListParams::default().labels(&labels.join(","));
    let found = pods.list(&ours).await.map(|list| list.items);
    found
        .unwrap_or_default()
        .into_iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .collect()
}

async fn certificates(
    client: &Client,
    namespace: &str,
    installed: &Installed,
    pods: &[Pod],
    host: &str,
    bundle: &[CertificateDer<'static>],
) -> Vec<Served> {
    let looks = pods.iter().map(|pod| async move {
        let name = pod.name_any();
        let address = pod.status.as_ref()?.pod_ip.as_ref()?;
        let address = if address.contains(':') {
            format!("[{address}]:{}", installed.webhook_port)
        } else {
            format!("{address}:{}", installed.webhook_port)
        };
        match served::by_handshake(&name, &address, host, bundle).await {
            Some(served) => Some(served),
            None => served::by_its_word(client, namespace, &name).await,
        }
    });
    let all = futures_util::future::join_all(looks).await;
    all.into_iter().flatten().collect()
}

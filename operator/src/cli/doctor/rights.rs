//! What the operator's ServiceAccount must be allowed to do, as the chart grants it.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};

use super::super::installed::Installed;
use crate::cluster::chain;

/// One right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Right {
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
    /// Of the operator's own objects only.
    name: Option<String>,
    /// In that namespace only.
    namespace: Option<String>,
}

/// Whose rights were looked at, and what is missing.
pub(super) struct Missing {
    /// `None`: whoever asks.
    pub(super) account: Option<String>,
    pub(super) rights: Vec<String>,
}

const ANYWHERE: [(&str, &str, &str, &[&str]); 13] = [
    ("ws.olares.com", "appmanifests", "", &["list", "watch"]),
    ("ws.olares.com", "appmanifests", "status", &["patch"]),
    ("", "pods", "", &["list", "watch"]),
    ("", "namespaces", "", &["list", "watch"]),
    ("", "limitranges", "", &["list", "watch"]),
    ("", "resourcequotas", "", &["list", "watch"]),
    ("", "events", "", &["list", "watch"]),
    ("policy", "poddisruptionbudgets", "", &["list", "watch"]),
    ("apps", "deployments", "", &["list", "watch", "patch"]),
    ("apps", "statefulsets", "", &["list", "watch", "patch"]),
    ("apps", "daemonsets", "", &["list", "watch", "patch"]),
    (
        "",
        "services",
        "",
        &["get", "list", "watch", "create", "patch", "delete"],
    ),
    ("events.k8s.io", "events", "", &["create", "patch"]),
];

pub(super) fn needed(installed: &Installed, namespace: &str) -> Vec<Right> {
    let mut rights: Vec<Right> = ANYWHERE
        .iter()
        .flat_map(|(group, resource, subresource, verbs)| {
            verbs.iter().map(|verb| Right {
                verb,
                group,
                resource,
                subresource,
                name: None,
                namespace: None,
            })
        })
        .collect();
    let mut named = |group, resource, name: &str, place: Option<&str>, verbs: &[&'static str]| {
        rights.extend(verbs.iter().map(|verb| Right {
            verb,
            group,
            resource,
            subresource: "",
            name: (!name.is_empty()).then(|| name.to_owned()),
            namespace: place.map(str::to_owned),
        }));
    };
    let (ours, own) = ("ws.olares.com", Some(namespace));
    let configurations = "mutatingwebhookconfigurations";
    let group = "admissionregistration.k8s.io";
    let configuration = installed.named("WS_OPERATOR_WEBHOOK_CONFIGURATION");
    named(
        group,
        configurations,
        configuration,
        None,
        &["get", "patch"],
    );
    let entrance = installed.named("WS_OPERATOR_ENTRANCE_CONFIGURATION");
    named(group, configurations, entrance, None, &["get", "patch"]);
    let (lease, secret) = (
        installed.named("WS_OPERATOR_LEASE"),
        installed.named("WS_OPERATOR_CA_SECRET"),
    );
    for (group, resource, name) in [
        ("coordination.k8s.io", "leases", lease),
        ("", "secrets", secret),
    ] {
        named(group, resource, name, own, &["get", "update"]);
        // Where it is missing; before there is one, no name can be asked about.
        named(group, resource, "", own, &["create"]);
    }
    // The self-probe.
    named(ours, "appmanifests", "", own, &["create"]);
    let (reads, writes) = (&["get", "list", "watch"], &["create", "patch", "delete"]);
    let sources = installed.sources();
    if sources.application_managers {
        let verbs = &["list", "watch"];
        named("app.bytetrade.io", "applicationmanagers", "", None, verbs);
    }
    if sources.helm_everywhere() {
        named("", "secrets", "", None, reads);
    }
    for namespace in sources.helm_namespaces.iter().filter(|_| sources.helm) {
        named("", "secrets", "", Some(namespace), reads);
        named(ours, "appmanifests", "", Some(namespace), writes);
    }
    if sources.write_everywhere() {
        named(ours, "appmanifests", "", None, writes);
    }
    rights
}

/// Asks about the operator's ServiceAccount; who may not ask that is asked about themselves.
pub(super) async fn missing(client: &Client, namespace: &str, installed: &Installed) -> Missing {
    let account = format!("system:serviceaccount:{namespace}:{}", installed.account);
    let mut missing = Missing {
        account: Some(account.clone()),
        rights: Vec::new(),
    };
    for right in needed(installed, namespace) {
        let attributes = right.attributes();
        let mut answer = None;
        if missing.account.is_some() {
            answer = of_account(client, &account, attributes.clone()).await;
            if answer.is_none() {
                missing.account = None;
            }
        }
        let answer = match answer {
            Some(allowed) => Ok(allowed),
            None => of_myself(client, attributes).await,
        };
        match answer {
            Ok(true) => {}
            Ok(false) => missing.rights.push(right.to_string()),
            Err(error) => missing.rights.push(format!("{right} ({})", chain(&error))),
        }
    }
    missing
}

/// `None`: whoever asks may not ask.
async fn of_account(
    client: &Client,
    account: &str,
    attributes: ResourceAttributes,
) -> Option<bool> {
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(account.to_owned()),
            groups: Some(vec![
                "system:serviceaccounts".to_owned(),
                "system:authenticated".to_owned(),
            ]),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let answer = reviews.create(&PostParams::default(), &review).await.ok()?;
    Some(answer.status.is_some_and(|status| status.allowed))
}

async fn of_myself(client: &Client, attributes: ResourceAttributes) -> kube::Result<bool> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let answer = reviews.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

// === impl Right ===

impl Right {
    fn attributes(&self) -> ResourceAttributes {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        ResourceAttributes {
            group: Some(self.group.to_owned()),
            resource: some(self.resource),
            subresource: some(self.subresource),
            verb: some(self.verb),
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            ..ResourceAttributes::default()
        }
    }
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.subresource.is_empty() {
            write!(f, "/{}", self.subresource)?;
        }
        match &self.name {
            Some(name) => write!(f, " {name}"),
            None => Ok(()),
        }
    }
}

//! Every name that this operator writes into other people's objects, once.

use std::collections::BTreeMap;

/// The API group, and the prefix of all keys below.
pub const GROUP: &str = "ws.olares.com";

/// The field manager of every write, and the name of the webhook configuration: it sorts after
/// Olares' `sandbox-webhook`, so that we see what that one added.
pub const MANAGER: &str = "ws-operator";

/// The label on what we make beside other people's objects.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// The labels of such an object.
pub fn managed() -> BTreeMap<String, String> {
    BTreeMap::from([(MANAGED_BY.to_owned(), MANAGER.to_owned())])
}

/// On a pod: the hash of the settings its gateway was injected with.
pub const INJECTED: &str = "ws.olares.com/injected";
/// On a pod: the AppManifest that the gateway was injected for.
pub const APP: &str = "ws.olares.com/app";
/// On a pod: the containers of the app that `drain.holdApp` gave a preStop sleep, with commas.
pub const HELD: &str = "ws.olares.com/held";
/// On a pod: the Secrets that it pulls images with for the gateway alone, with commas.
pub const PULLS: &str = "ws.olares.com/pull-secrets";
/// On a pod: every annotation of the gateway's.
pub const ON_PODS: [&str; 4] = [INJECTED, APP, HELD, PULLS];
/// On a pod without the gateway: with what its like was tried, and the API server's words of
/// refusal.
pub const REFUSED: &str = "ws.olares.com/refused";
/// On a workload's pod template: a new value rolls the workload. (`ws.olares.com/rollout` is the
/// setting `rollout`, beside the label below.)
pub const ROLLOUT: &str = "ws.olares.com/rolled-for";
/// On a pod (template), as label, `"true"`: inject here, as the annotations beside it say.
/// `"false"`, as label or annotation: never inject here.
pub const INJECT: &str = "ws.olares.com/inject";
/// Beside that label, as annotation: the app's port and path, `8888/ws/message`.
pub const CALLBACK: &str = "ws.olares.com/callback";
/// Beside that label, as annotation: the Service that leads to the app, `chat` or `chat:80`.
pub const SERVICE: &str = "ws.olares.com/service";
/// On a namespace, as label, [`DISABLED`]: its pods are none of ours. The chart's webhook
/// configuration says the same.
pub const INJECTION: &str = "ws.olares.com/injection";
/// On a namespace, as annotation, by OpenShift: the users that its pods may be.
pub const GIVES_USER: &str = "openshift.io/sa.scc.uid-range";
pub const DISABLED: &str = "disabled";
/// On an AppManifest, as label: which source wrote it and will remove it.
pub const SOURCE: &str = "ws.olares.com/source";
/// On an AppManifest: its source is in the middle of a change, so nothing is rolled yet.
pub const HOLD: &str = "ws.olares.com/hold";
/// On an AppManifest: what its source could not read of the stanza, one problem to a line.
pub const PROBLEM: &str = "ws.olares.com/problem";
/// On an AppManifest: the namespace of the Helm release's Secret, where that is another one. On a
/// Service, as annotation: releases whose Secrets are in that namespace may tell of it.
pub const RELEASE_NAMESPACE: &str = "ws.olares.com/release-namespace";
/// The same on a Service, as label, by Flux, which puts it on all that a HelmRelease makes.
pub const FLUX_NAMESPACE: &str = "helm.toolkit.fluxcd.io/namespace";
/// On a companion Service, as label: the entrance Service it stands beside.
pub const ENTRANCE: &str = "ws.olares.com/entrance";

/// On an entrance's Service, as label: its port leads to the gateway by our doing. Admission is
/// asked about Services with this label and no others.
pub const ROUTED: &str = "ws.olares.com/routed";
/// On such a Service, as annotation: `<port>=<targetPort>`, where the app itself listens.
pub const OWN_TARGET: &str = "ws.olares.com/own-target";

/// The container of Olares' own Envoy, which its `sandbox-webhook` puts into pods up to 1.12.6.
pub const PLATFORM_ENVOY: &str = "olares-envoy-sidecar";

/// The gateway's client port by name where it stands in front of the app (`expose: entrance`).
/// A gateway that only serves WebSockets has the other name, so no request for the app gets there.
pub const ENTRANCE_PORT_NAME: &str = "ws-entrance";
/// The gateway's client port by name. Only the gateway declares it, so a Service that targets
/// the name never leads to a pod without one.
pub const CLIENT_PORT_NAME: &str = "olares-ws";
/// The gateway's operations port by name.
pub const OPS_PORT_NAME: &str = "olares-ws-ops";
/// The volume that holds the gateway's crash journal.
pub const JOURNAL_VOLUME: &str = "olares-ws-journal";
/// The volume with the Secrets that the stanza names, as files.
pub const SECRETS_VOLUME: &str = "olares-ws-secrets";
/// Every volume that we add to a pod.
pub const VOLUMES: [&str; 2] = [JOURNAL_VOLUME, SECRETS_VOLUME];

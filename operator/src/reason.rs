//! Every reason there is. Its name, in CamelCase as Kubernetes has it, stands in Events, status
//! conditions, admission warnings and `explain`; its label, in kebab-case, in metrics.
//! docs/reasons.md has a paragraph on each.

use std::fmt;

/// How loudly a reason is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The normal course of things: no Event, no admission warning.
    Quiet,
    /// An Event of type Normal.
    Notice,
    /// An Event of type Warning, and an admission warning.
    Warning,
}

macro_rules! reasons {
    ($( $(#[doc = $about:literal])+ $variant:ident = $label:literal, $weight:ident; )+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $( $(#[doc = $about])+ $variant, )+ }

        impl Reason {
            pub const ALL: &'static [Self] = &[$( Self::$variant, )+];

            /// As conditions and Events have it.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => stringify!($variant), )+ }
            }

            /// The one of that name.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.name() == name)
            }

            /// As metrics have it.
            pub const fn label(self) -> &'static str {
                match self { $( Self::$variant => $label, )+ }
            }

            pub const fn weight(self) -> Weight {
                match self { $( Self::$variant => Weight::$weight, )+ }
            }

            /// What it means and what to do about it, as in docs/reasons.md.
            pub const fn about(self) -> &'static str {
                match self { $( Self::$variant => concat!($($about),+), )+ }
            }
        }
    };
}

reasons! {
    // === the decision about one pod ===

    /// The pod got the gateway.
    Injected = "injected", Notice;
    /// The pod has the gateway with the app's present settings.
    AlreadyCurrent = "already-current", Quiet;
    /// No AppManifest in the pod's namespace: nothing to do with WebSockets.
    NoApp = "no-app", Quiet;
    /// The pod belongs to no entrance of an app: the entrance's Service does not select it.
    /// Only the pods behind the entrance get the gateway; workers and databases do not.
    NotEntrance = "not-entrance", Quiet;
    /// The app asks by label (`ws.olares.com/inject: "true"`), and this pod of its entrance has
    /// no such label.
    NotLabelled = "not-labelled", Quiet;
    /// The app's manifest has no `options.websocket`, so its pods are left as they are.
    NoStanza = "no-stanza", Quiet;
    /// The app's `options.websocket` has errors. Nothing is injected, running pods are left as
    /// they are; the AppManifest's status says which value is wrong and what is allowed.
    InvalidStanza = "invalid-stanza", Warning;
    /// The pod belongs to a Job: a gateway beside it would keep it from ever completing.
    Job = "job", Notice;
    /// The pod has no owner, so nothing would bring it back with another gateway later.
    /// Create it through a Deployment, StatefulSet or DaemonSet.
    BarePod = "bare-pod", Warning;
    /// The pod's owner is no Deployment, StatefulSet, DaemonSet or ReplicaSet of apps/v1, so it gets no
    /// gateway: the operator could not replace it later.
    OtherOwner = "other-owner", Warning;
    /// The pod shares the node's network: the gateway's ports would be open on the node.
    HostNetwork = "host-network", Warning;
    /// The pod already has an `olares-ws-sidecar` that this operator did not add: Olares
    /// (up to 1.12.6) injected its own gateway. The operator leaves the pod unchanged.
    PlatformInjected = "platform-injected", Notice;
    /// The pod is for nodes that run Windows; the gateway runs on Linux.
    Windows = "windows", Warning;
    /// A ResourceQuota requires a value that the gateway does not set, or has no room for it: the pods
    /// stay as they are. Set `resources` in the stanza or `gateway.resources` of the chart, or change the
    /// quota: the gateway is then injected automatically.
    Quota = "quota", Warning;
    /// The API server refused the pod with the gateway (a quota, a LimitRange, a policy), so the app
    /// runs on without it. The message has its error. The gateway is tried again when quotas, LimitRanges
    /// or the gateway's settings change, and in new pods; or restart the workload. `rollouts.retryRefused` of
    /// the chart does so after a while.
    PodsRefused = "pods-refused", Warning;
    /// The node does not get the gateway's image, so the pod waits and is not ready. The message has the
    /// kubelet's words, and names the Secrets for it and their namespace. Make the Secret there, or
    /// correct `gateway.image` and `gateway.image.pullSecrets` of the chart and run `ws-operator roll`.
    GatewayImage = "gateway-image", Warning;
    /// A container of the pod declares one of the gateway's ports (40010 to 40012).
    PortConflict = "port-conflict", Warning;
    /// The pod's workload has the label, and the AppManifest with its name belongs to a workload of
    /// another kind. Give one of the two another name.
    NameTaken = "name-taken", Warning;
    /// The pod has the label or annotation `ws.olares.com/inject: "false"`. Other workloads of the
    /// same entrance get the gateway all the same.
    OptedOut = "opted-out", Notice;
    /// The stanza asks for `sidecar: native`, which needs Kubernetes 1.29 or later.
    NativeUnsupported = "native-unsupported", Warning;
    /// An error of the operator: the pod was admitted unchanged. It is repaired as soon as possible.
    InternalError = "internal-error", Warning;
    /// The webhook was called before it had read the cluster's state: the pod was admitted unchanged and
    /// will be repaired.
    NotReady = "not-ready", Warning;

    // === the app as a whole ===

    /// The stanza is valid.
    Accepted = "accepted", Quiet;
    /// The manifest has a stanza but no `entrances`, so the operator cannot tell which pods need the gateway.
    NoEntrance = "no-entrance", Warning;
    /// The Service that the entrance names is not there (yet).
    NoService = "no-service", Warning;
    /// The entrance's host names a Service of another namespace. An app reaches its own
    /// namespace only.
    ForeignService = "foreign-service", Warning;
    /// The entrance's Service selects no pods by labels (an ExternalName or manually created endpoints).
    NoSelector = "no-selector", Warning;
    /// No pod of the entrance exists: nothing to inject until one is created.
    NoPods = "no-pods", Quiet;
    /// Every pod of the entrance has the gateway with the current settings.
    AllInjected = "all-injected", Quiet;
    /// Another AppManifest selects the same pods and has precedence. The order is: user-created,
    /// label, Helm release, Olares' ApplicationManager; within one source the older wins. The message
    /// names the winner.
    Superseded = "superseded", Notice;
    /// An AppManifest that a source writes was changed (its label `ws.olares.com/source` says which
    /// source): the source reverts it. Change the chart or the workload that it comes
    /// from; or remove that label, and the AppManifest is yours.
    SourceOwned = "source-owned", Warning;
    /// A Helm release is not valid, unpacks to more than 8 MiB, or makes its reader use too much.
    /// It is skipped until it changes, and its existing AppManifest stays. The Event on
    /// the release's Secret says why. Write the AppManifest yourself instead.
    ReleaseUnreadable = "release-unreadable", Warning;
    /// A Helm release's Secret is in another namespace than its objects, and the entrance's Service
    /// does not name that namespace. A Secret gives no rights over another namespace. Set Flux' label
    /// `helm.toolkit.fluxcd.io/namespace` on the Service, or the annotation
    /// `ws.olares.com/release-namespace`, to the namespace of the Secret.
    ReleaseElsewhere = "release-elsewhere", Warning;
    /// Some pods of the entrance are not ready yet.
    PodsNotReady = "pods-not-ready", Quiet;
    /// No pod of the entrance may have the gateway; the pods' own reasons are in the message.
    AllSkipped = "all-skipped", Quiet;
    /// Several pods serve WebSockets, and each gateway knows the clients of its own pod alone: `send`,
    /// `close` and `list` reach no other pod's. Run one replica, or have each pod send to its own
    /// clients only.
    ReplicasApart = "replicas-apart", Notice;
    /// Everything that the stanza asks for is in place.
    Ready = "ready", Quiet;

    // === changing running pods ===

    /// Pods started without the gateway; their workload is restarted to inject it.
    RollBare = "roll-bare", Notice;
    /// Pods have the gateway with outdated settings; their workload is restarted.
    RollStale = "roll-stale", Notice;
    /// Pods have a gateway that no AppManifest asks for any more; their workload is restarted.
    RollUnwanted = "roll-unwanted", Notice;
    /// Pods run another gateway image than new ones get. The operator restarts nothing for that:
    /// run `ws-operator roll`, which restarts one workload after the other.
    RollOutdated = "roll-outdated", Quiet;
    /// Pods without the gateway, or with outdated settings, that the operator cannot restart: a
    /// ReplicaSet without a Deployment made them (Argo Rollouts, Spinnaker). Delete the pods that the
    /// message names, and their owner creates them again with the gateway.
    ReplaceByHand = "replace-by-hand", Warning;
    /// A restart is under way.
    Rolling = "rolling", Quiet;
    /// A restart is due, but the stanza says `rollout: notify`. Restart the workload at a time of your choice.
    RolloutNotify = "rollout-notify", Notice;
    /// A restart is due, but the Deployment is paused.
    RolloutPaused = "rollout-paused", Notice;
    /// A restart is due, but the workload's update strategy is OnDelete (or a partition keeps
    /// pods back): delete the pods at a time of your choice.
    RolloutOnDelete = "rollout-on-delete", Notice;
    /// A restart is due, but the app's PodDisruptionBudget allows no disruption now, or never does.
    /// It does not block a Deployment that removes no pod before another is ready, nor a restart
    /// while the pods that are not ready are those to be replaced.
    DisruptionBudget = "disruption-budget", Notice;
    /// A restart is due, but the namespace has the label `ws.olares.com/injection: disabled` or is
    /// one of the chart's `webhook.excludedNamespaces`, so new pods would start without the
    /// gateway.
    NamespaceDisabled = "namespace-disabled", Notice;
    /// A restart is due, but the app's Helm release is in the middle of a change.
    ReleasePending = "release-pending", Quiet;
    /// The last restart did not finish within the Deployment's progress deadline. Nothing more
    /// is restarted until it does.
    RolloutFailed = "rollout-failed", Warning;
    /// A restart is due, but the last one did not fix the pods; the operator retries with back-off.
    RepairBackoff = "repair-backoff", Warning;
    /// A restart is due, but the API server does not reach the webhook, so new pods would
    /// start as the old ones did. `ws-operator doctor` finds out why.
    WebhookUnreachable = "webhook-unreachable", Warning;
    /// A restart is due, but the limit of concurrent restarts is reached.
    RateLimited = "rate-limited", Quiet;

    // === how clients get there ===

    /// The companion Service leads to the gateway.
    ServiceApplied = "service-applied", Quiet;
    /// A Service with the companion's name exists and was not created by the operator; it is not changed.
    ServiceNameTaken = "service-name-taken", Warning;
    /// The stanza says `expose: none`, or the platform's own Envoy or gateway is in the pods (Olares
    /// up to 1.12.6): Olares routes.
    ExposeNone = "expose-none", Quiet;
    /// The entrance's Service leads to the gateway, which passes everything but WebSockets on to
    /// the app (`expose: entrance`).
    EntranceRouted = "entrance-routed", Quiet;
    /// `expose: entrance`: the entrance's Service still leads to the app itself. It is set to the
    /// gateway once every ready pod has one, so that no request fails meanwhile.
    EntranceWaiting = "entrance-waiting", Quiet;
    /// The routing that the stanza asks for is impossible. `expose: entrance` needs a Service with an
    /// address of its own, and the port that the entrance names. A `targetPort` by name has to be
    /// declared by the pods.
    ExposeUnsupported = "expose-unsupported", Warning;
    /// Writing an object failed; the message has the API server's error. The operator retries.
    ApiError = "api-error", Warning;
}

impl Reason {
    /// What to do where a pod with the gateway is not taken; `words`: what was said of it.
    pub fn remedy(self, words: &str) -> Option<&'static str> {
        let says = |word| words.contains(word);
        Some(match self {
            Self::Quota if says("no room") => {
                "raise the ResourceQuota, or ask for less by resources in the stanza"
            }
            Self::PodsRefused if says("exceeded quota") => {
                "raise the ResourceQuota, or ask for less by resources in the stanza"
            }
            Self::Quota => {
                "set it by resources in the stanza, or by gateway.resources of the chart"
            }
            Self::PodsRefused if says("must specify") => {
                "set it by resources in the stanza, or by gateway.resources of the chart"
            }
            Self::PodsRefused if says(" usage per ") || says("limit to request ratio") => {
                "change the LimitRange, or resources in the stanza"
            }
            Self::PodsRefused => {
                "allow the container olares-ws-sidecar there, then restart the workload"
            }
            Self::GatewayImage if says("ErrImageNeverPull") => {
                "load the image onto the node, or correct gateway.image.pullPolicy of the chart"
            }
            Self::GatewayImage => {
                "make that Secret in that namespace (kubectl create secret docker-registry), or correct gateway.image and gateway.image.pullSecrets of the chart"
            }
            _ => return None,
        })
    }

    /// What was found, and what to do about it.
    pub fn advise(self, words: &str) -> String {
        match self.remedy(words) {
            Some(remedy) => format!("{words}; {remedy}"),
            None => words.to_owned(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// docs/reasons.md, whole.
pub fn document() -> String {
    let paragraphs = Reason::ALL.iter().map(|reason| {
        let kind = match reason.weight() {
            Weight::Quiet => "status only",
            Weight::Notice => "Normal Event",
            Weight::Warning => "Warning Event",
        };
        let (label, about) = (reason.label(), reason.about().trim());
        format!("\n## {reason}\n\n*{kind}; in metrics `{label}`.* {about}\n")
    });
    let head = "# Reasons\n\nGenerated by `ws-operator reasons`. The same name appears in the AppManifest's status \
                conditions, in Events, in admission warnings and in `ws-operator explain`. The metrics' \
                label `reason` has it in kebab-case.\n";
    std::iter::once(head.to_owned()).chain(paragraphs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_the_names_in_kebab_case() {
        for reason in Reason::ALL {
            let mut kebab = String::new();
            for letter in reason.name().chars() {
                if letter.is_ascii_uppercase() && !kebab.is_empty() {
                    kebab.push('-');
                }
                kebab.push(letter.to_ascii_lowercase());
            }
            assert_eq!(reason.label(), kebab);
            assert_eq!(Reason::named(reason.name()), Some(*reason));
        }
    }

    #[test]
    fn each_refusal_has_its_remedy() {
        let remedy = |reason: Reason, words| reason.remedy(words).unwrap_or_default();
        let refused = |words| remedy(Reason::PodsRefused, words);
        assert!(refused("failed quota: q: must specify limits.cpu").contains("gateway.resources"));
        assert!(refused("exceeded quota: q").contains("raise the ResourceQuota"));
        assert!(refused("minimum memory usage per Pod is 1Gi").contains("LimitRange"));
        assert!(refused("no gateways here").contains("olares-ws-sidecar"));
        assert!(remedy(Reason::Quota, "the ResourceQuota q has no room").contains("raise"));
        assert!(remedy(Reason::GatewayImage, "unauthorized").contains("gateway.image.pullSecrets"));
        assert_eq!(Reason::Ready.remedy(""), None);
    }

    #[test]
    fn the_documentation_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reasons.md");
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            found == document(),
            "docs/reasons.md is stale: run `ws-operator reasons > docs/reasons.md`"
        );
    }
}

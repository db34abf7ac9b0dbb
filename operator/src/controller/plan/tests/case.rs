//! One workload of one app in some state, and what is planned for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use serde_json::json;
use stanza::choice::{Expose, Rollout};

use super::super::*;
use crate::app::AppId;
use crate::cluster::{Budget, Progress, Reach};
use crate::names;
use crate::shape::{Owner, Shape, Workload, WorkloadKind};

pub(super) const WANTED: &str = "aaaa";
pub(super) const BEFORE: &str = "bbbb";

/// One Deployment `chat` of an app `chat`.
pub(super) struct Case {
    pub(super) pods: Vec<PodFacts>,
    pub(super) progress: Progress,
    /// The template's rollout annotation.
    pub(super) rollout: Option<&'static str>,
    pub(super) wish: Wish,
    pub(super) budgets: Vec<Budget>,
    pub(super) held: bool,
    pub(super) webhook_up: bool,
    pub(super) disabled: bool,
    pub(super) surges: bool,
    pub(super) unpulled: Option<&'static str>,
    /// The first wait before what was refused is tried again.
    pub(super) retry: Duration,
    /// In seconds.
    pub(super) now: i64,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            pods: Vec::new(),
            progress: Progress::Settled,
            rollout: None,
            wish: Wish::Gateway {
                hash: WANTED.to_owned(),
                rollout: Rollout::Auto,
                attempt: "1".to_owned(),
            },
            budgets: Vec::new(),
            held: false,
            webhook_up: true,
            disabled: false,
            surges: false,
            unpulled: None,
            retry: Duration::ZERO,
            now: 0,
        }
    }
}

pub(super) fn shape(gateway: Gateway) -> Shape {
    Shape {
        labels: BTreeMap::from([("app".to_owned(), "chat".to_owned())]),
        owner: Owner::Workload(workload()),
        gateway,
        opted_out: false,
        host_network: false,
        clash: None,
        envoy: false,
        mesh: None,
        windows: false,
        shares: false,
        fronted: false,
    }
}

pub(super) fn workload() -> Workload {
    Workload {
        kind: WorkloadKind::Deployment,
        name: "chat".to_owned(),
    }
}

pub(super) fn bare() -> PodFacts {
    PodFacts {
        name: "chat-1".to_owned(),
        shape: shape(Gateway::Bare),
        refused: None,
        unpulled: None,
        created: None,
        rollout: None,
        ready: true,
        leaving: false,
    }
}

pub(super) fn injected(hash: &str) -> PodFacts {
    let gateway = Gateway::Ours {
        app: "chat".to_owned(),
        hash: hash.to_owned(),
        image: "ws-gateway:1".to_owned(),
    };
    PodFacts {
        shape: shape(gateway),
        ..bare()
    }
}

pub(super) fn no_stanza() -> Wish {
    Wish::None(Verdict::new(Reason::NoStanza, "no stanza"))
}

impl Case {
    pub(super) fn validated(self) -> Validated {
        let app: crate::api::AppManifest = serde_json::from_value(json!({
            "metadata": {
                "name": "chat", "namespace": "a", "uid": "1",
                "annotations": if self.held { json!({names::HOLD: "true"}) } else { json!({}) },
            },
            "spec": {
                "entrances": [{"host": "chat"}],
                "options": {"websocket": {"url": "/ws", "port": 80}},
            },
        }))
        .unwrap();
        Validated {
            id: AppId::new("a", "chat"),
            app: Some(Arc::new(App::read(app))),
            accepted: Verdict::new(Reason::Accepted, ""),
            entrance: Some(Arc::new(entrance())),
            members: vec![Assessed {
                workload: WorkloadFacts {
                    workload: workload(),
                    uid: "2".to_owned(),
                    shape: shape(Gateway::Bare),
                    ask: None,
                    rollout: self.rollout.map(str::to_owned),
                    progress: self.progress,
                    surges: self.surges,
                    pods: 1,
                    failure: None,
                },
                pods: self.pods.into_iter().map(Arc::new).collect(),
                wish: self.wish,
                asks: None,
                unpulled: self.unpulled.map(str::to_owned),
            }],
            strays: Vec::new(),
            services: Vec::new(),
            overruled: Vec::new(),
            budgets: self.budgets.into_iter().map(Arc::new).collect(),
            ground: crate::cluster::Ground::default(),
            disabled: self.disabled,
            identity: None,
            image: "ws-gateway:1".to_owned(),
        }
    }

    pub(super) fn planned(self, repairs: &Repairs) -> Plan {
        let means = Means {
            expose: Expose::Service,
            repairs,
            retry: Retry {
                first: self.retry,
                now: Timestamp::from_second(self.now).unwrap(),
            },
            webhook_up: self.webhook_up,
            app_protocol: Some("kubernetes.io/ws"),
        };
        plan(self.validated(), &means)
    }

    #[track_caller]
    pub(super) fn rolls(self, reason: Reason, annotation: &str) {
        self.check(reason, Some(&Trigger::Annotate(annotation.to_owned())));
    }

    #[track_caller]
    pub(super) fn waits(self, reason: Reason) {
        self.check(reason, None);
    }

    #[track_caller]
    pub(super) fn check(self, reason: Reason, roll: Option<&Trigger>) {
        let plan = self.planned(&Repairs::default());
        let step = &plan.steps[0];
        let trigger = step.roll.as_ref().map(|roll| &roll.trigger);
        assert_eq!((step.verdict.reason, trigger), (reason, roll));
    }
}

pub(super) fn entrance() -> ServiceFacts {
    ServiceFacts {
        name: "chat".to_owned(),
        selector: BTreeMap::from([("app".to_owned(), "chat".to_owned())]),
        ports: Vec::new(),
        entrance: None,
        owners: Vec::new(),
        headless: false,
        held: false,
        release_namespace: None,
        routed: None,
        reach: Reach::default(),
    }
}

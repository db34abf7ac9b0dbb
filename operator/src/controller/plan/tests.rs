//! Workloads in every state, and what is done with each.

use std::collections::BTreeMap;

use kube::core::Selector;
use serde_json::json;

use stanza::choice::Rollout;

use super::*;
use crate::app::AppId;
use crate::cluster::{Budget, Facts, Progress};
use crate::names;
use crate::shape::{Owner, Shape, Workload, WorkloadKind};

const WANTED: &str = "aaaa";
const BEFORE: &str = "bbbb";

/// One Deployment `chat` of an app `chat`.
struct Case {
    pods: Vec<PodFacts>,
    progress: Progress,
    /// The template's rollout annotation.
    rollout: Option<&'static str>,
    wish: Wish,
    budgets: Vec<Budget>,
    held: bool,
    webhook_up: bool,
    disabled: bool,
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
            },
            budgets: Vec::new(),
            held: false,
            webhook_up: true,
            disabled: false,
        }
    }
}

fn shape(gateway: Gateway) -> Shape {
    Shape {
        labels: BTreeMap::from([("app".to_owned(), "chat".to_owned())]),
        owner: Owner::Workload(workload()),
        gateway,
        opted_out: false,
        host_network: false,
        clash: None,
        envoy: false,
        fronted: false,
    }
}

fn workload() -> Workload {
    Workload {
        kind: WorkloadKind::Deployment,
        name: "chat".to_owned(),
    }
}

fn bare() -> PodFacts {
    PodFacts {
        name: "chat-1".to_owned(),
        shape: shape(Gateway::Bare),
        rollout: None,
        ready: true,
        leaving: false,
    }
}

fn injected(hash: &str) -> PodFacts {
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

fn no_stanza() -> Wish {
    Wish::None(Verdict::new(Reason::NoStanza, "no stanza"))
}

impl Case {
    fn validated(self) -> Validated {
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
                },
                pods: self.pods.into_iter().map(Arc::new).collect(),
                wish: self.wish,
            }],
            strays: Vec::new(),
            services: Vec::new(),
            overruled: Vec::new(),
            budgets: self.budgets.into_iter().map(Arc::new).collect(),
            disabled: self.disabled,
            image: "ws-gateway:1".to_owned(),
        }
    }

    fn planned(self, repairs: &Repairs) -> Plan {
        let means = Means {
            expose: Expose::Service,
            repairs,
            webhook_up: self.webhook_up,
        };
        plan(self.validated(), &means)
    }

    #[track_caller]
    fn rolls(self, reason: Reason, annotation: &str) {
        self.check(reason, Some(&Trigger::Annotate(annotation.to_owned())));
    }

    #[track_caller]
    fn waits(self, reason: Reason) {
        self.check(reason, None);
    }

    #[track_caller]
    fn check(self, reason: Reason, roll: Option<&Trigger>) {
        let plan = self.planned(&Repairs::default());
        let step = &plan.steps[0];
        assert_eq!((step.verdict.reason, step.roll.as_ref()), (reason, roll));
    }
}

fn entrance() -> ServiceFacts {
    ServiceFacts {
        name: "chat".to_owned(),
        selector: BTreeMap::from([("app".to_owned(), "chat".to_owned())]),
        ports: Vec::new(),
        entrance: None,
        owners: Vec::new(),
        headless: false,
        routed: None,
    }
}

#[test]
fn what_is_as_it_should_be_is_left_alone() {
    let pods = vec![injected(WANTED), injected(WANTED)];
    Case {
        pods,
        ..Case::default()
    }
    .waits(Reason::AllInjected);
    Case::default().waits(Reason::NoPods);
}

#[test]
fn bare_and_stale_pods_are_rolled() {
    let pods = vec![injected(WANTED), bare()];
    Case {
        pods,
        ..Case::default()
    }
    .rolls(Reason::RollBare, WANTED);
    let pods = vec![injected(BEFORE)];
    Case {
        pods,
        ..Case::default()
    }
    .rolls(Reason::RollStale, WANTED);
}

#[test]
fn pods_that_came_up_bare_are_not_waited_for() {
    let pods = vec![PodFacts {
        ready: false,
        ..bare()
    }];
    let progress = Progress::Starting;
    Case {
        pods,
        progress,
        ..Case::default()
    }
    .rolls(Reason::RollBare, WANTED);
}

#[test]
fn each_roll_says_something_new() {
    let case = |rollout: &'static str, wish: Option<Wish>| {
        let pod = PodFacts {
            rollout: Some(rollout.to_owned()),
            ..injected(BEFORE)
        };
        Case {
            pods: vec![pod],
            rollout: Some(rollout),
            wish: wish.unwrap_or(Case::default().wish),
            ..Case::default()
        }
    };
    case("aaaa", None).rolls(Reason::RollStale, "aaaa.1");
    case("aaaa.1", None).rolls(Reason::RollStale, "aaaa.2");
    case("bbbb.7", None).rolls(Reason::RollStale, "aaaa");
    case("none.1", Some(no_stanza())).rolls(Reason::RollUnwanted, "none.2");
    case("bbbb", Some(no_stanza())).check(Reason::RollUnwanted, Some(&Trigger::Remove));
}

#[test]
fn a_gateway_that_nothing_asks_for_goes() {
    let pods = vec![injected(BEFORE)];
    Case {
        pods,
        wish: no_stanza(),
        ..Case::default()
    }
    .rolls(Reason::RollUnwanted, UNWANTED);
    Case {
        pods: vec![bare()],
        wish: no_stanza(),
        ..Case::default()
    }
    .waits(Reason::NoStanza);
}

#[test]
fn a_mistake_in_the_manifest_changes_nothing_that_runs() {
    let wish = Wish::Leave(Verdict::new(Reason::InvalidStanza, "port"));
    let pods = vec![injected(BEFORE), bare()];
    Case {
        pods,
        wish,
        ..Case::default()
    }
    .waits(Reason::InvalidStanza);
}

#[test]
fn a_rollout_under_way_is_waited_for() {
    let pods = || vec![bare()];
    Case {
        pods: pods(),
        progress: Progress::Mixed,
        ..Case::default()
    }
    .waits(Reason::Rolling);
    // The pods are of a template before the last annotation: their successors are on the way.
    Case {
        pods: pods(),
        rollout: Some(WANTED),
        ..Case::default()
    }
    .waits(Reason::Rolling);
}

#[test]
fn what_stands_in_the_way() {
    let pods = || vec![bare()];
    let case = || Case {
        pods: pods(),
        ..Case::default()
    };
    Case {
        held: true,
        ..case()
    }
    .waits(Reason::ReleasePending);
    Case {
        disabled: true,
        ..case()
    }
    .waits(Reason::NamespaceDisabled);
    Case {
        webhook_up: false,
        ..case()
    }
    .waits(Reason::WebhookUnreachable);
    Case {
        progress: Progress::Paused,
        ..case()
    }
    .waits(Reason::RolloutPaused);
    Case {
        progress: Progress::OnDelete,
        ..case()
    }
    .waits(Reason::RolloutOnDelete);
    Case {
        progress: Progress::Failed,
        ..case()
    }
    .waits(Reason::RolloutFailed);
    let wish = Wish::Gateway {
        hash: WANTED.to_owned(),
        rollout: Rollout::Notify,
    };
    Case { wish, ..case() }.waits(Reason::RolloutNotify);
}

#[test]
fn better_settings_get_through_a_failed_rollout() {
    let pod = PodFacts {
        rollout: Some(BEFORE.to_owned()),
        ..injected(BEFORE)
    };
    let case = |rollout| Case {
        pods: vec![pod.clone()],
        progress: Progress::Failed,
        rollout: Some(rollout),
        ..Case::default()
    };
    case(BEFORE).rolls(Reason::RollStale, WANTED);
    case(WANTED).waits(Reason::RolloutFailed);
}

#[test]
fn unwanted_gateways_go_even_if_the_webhook_is_unreachable() {
    let pods = vec![injected(BEFORE)];
    let case = Case {
        pods,
        wish: no_stanza(),
        webhook_up: false,
        ..Case::default()
    };
    case.rolls(Reason::RollUnwanted, UNWANTED);
}

#[test]
fn a_disruption_budget_is_respected_while_pods_are_ready() {
    let budget = |allows| Budget {
        name: "chat".to_owned(),
        selector: Some(Selector::from_iter([("app", "chat")])),
        allows,
    };
    let case = |ready, allows| Case {
        pods: vec![PodFacts { ready, ..bare() }],
        budgets: vec![budget(allows)],
        ..Case::default()
    };
    case(true, false).waits(Reason::DisruptionBudget);
    case(true, true).rolls(Reason::RollBare, WANTED);
    case(false, false).rolls(Reason::RollBare, WANTED);
}

#[test]
fn the_platforms_gateway_is_left_alone() {
    let pods = vec![PodFacts {
        shape: shape(Gateway::Platform),
        ..bare()
    }];
    let case = || Case {
        pods: pods.clone(),
        ..Case::default()
    };
    case().waits(Reason::PlatformInjected);
    let counts = case().planned(&Repairs::default()).counts;
    assert_eq!((counts.wanted, counts.ready), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_roll_that_does_not_help_backs_off_until_it_does() {
    let repairs = Repairs::default();
    let planned = |pod: PodFacts| {
        let case = Case {
            pods: vec![pod],
            ..Case::default()
        };
        case.planned(&repairs).steps[0].verdict.reason
    };
    assert_eq!(planned(bare()), Reason::RollBare);
    assert_eq!(planned(bare()), Reason::RepairBackoff);
    assert_eq!(planned(injected(WANTED)), Reason::AllInjected);
    assert_eq!(planned(bare()), Reason::RollBare);
}

#[test]
fn pods_are_counted() {
    let outdated = PodFacts {
        shape: shape(Gateway::Ours {
            app: "chat".to_owned(),
            hash: WANTED.to_owned(),
            image: "ws-gateway:0".to_owned(),
        }),
        ..bare()
    };
    let unready = PodFacts {
        ready: false,
        ..injected(BEFORE)
    };
    let pods = vec![injected(WANTED), outdated, unready, bare()];
    let plan = Case {
        pods,
        ..Case::default()
    }
    .planned(&Repairs::default());
    let expected = PodCounts {
        summary: "2/4".to_owned(),
        wanted: 4,
        current: 2,
        stale: 1,
        bare: 1,
        ready: 3,
        outdated: 1,
    };
    assert_eq!(plan.counts, expected);
}

// === the companion Service ===

fn companion_of(found: Option<ServiceFacts>) -> Route {
    let mut validated = Case::default().validated();
    validated.services.extend(found.map(Arc::new));
    let means = Means {
        expose: Expose::Service,
        repairs: &Repairs::default(),
        webhook_up: true,
    };
    plan(validated, &means).route
}

#[test]
fn the_companion_service_is_made_kept_and_never_taken_from_others() {
    let Route::Service(Companion::Apply(made)) = companion_of(None) else {
        panic!()
    };
    insta::assert_yaml_snapshot!(made);
    let made = ServiceFacts::read(*made).unwrap();
    assert!(matches!(
        companion_of(Some(made.clone())),
        Route::Service(Companion::Kept)
    ));
    let edited = ServiceFacts {
        selector: BTreeMap::new(),
        ..made.clone()
    };
    assert!(matches!(
        companion_of(Some(edited)),
        Route::Service(Companion::Apply(_))
    ));
    let foreign = ServiceFacts {
        owners: Vec::new(),
        ..made
    };
    assert!(matches!(
        companion_of(Some(foreign)),
        Route::Service(Companion::Taken)
    ));
}

#[test]
fn a_mistake_in_the_manifest_keeps_the_route() {
    let Route::Service(Companion::Apply(made)) = companion_of(None) else {
        panic!()
    };
    let mut validated = Case::default().validated();
    validated
        .services
        .push(Arc::new(ServiceFacts::read(*made).unwrap()));
    let means = Means {
        expose: Expose::None,
        repairs: &Repairs::default(),
        webhook_up: true,
    };
    let mut invalid = Case::default().validated();
    invalid.services.clone_from(&validated.services);
    invalid.accepted = Verdict::new(Reason::InvalidStanza, "port");
    assert_eq!(plan(validated, &means).leftovers, ["chat-ws"]);
    assert!(plan(invalid, &means).leftovers.is_empty());
}

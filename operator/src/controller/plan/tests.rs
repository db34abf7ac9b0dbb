//! Workloads in every state, and what is done with each.

mod case;
mod route;

use k8s_openapi::jiff::Timestamp;
use kube::core::Selector;
use serde_json::json;
use stanza::choice::Rollout;

use super::*;
use crate::cluster::{Budget, Disruptions, Facts, Progress, Quota, Refused};
use crate::shape::WorkloadKind;
use case::{BEFORE, Case, WANTED, bare, injected, no_stanza, shape, workload};

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
        attempt: String::new(),
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
    let case = |ready, disruptions| Case {
        pods: vec![PodFacts { ready, ..bare() }],
        budgets: vec![budget(disruptions)],
        ..Case::default()
    };
    case(true, Disruptions::NotNow).waits(Reason::DisruptionBudget);
    case(true, Disruptions::Never).waits(Reason::DisruptionBudget);
    case(true, Disruptions::Allowed).rolls(Reason::RollBare, WANTED);
    case(false, Disruptions::NotNow).rolls(Reason::RollBare, WANTED);
}

#[test]
fn what_was_refused_is_not_tried_again_before_something_changes() {
    let refused = |attempt: &str, created: i64| PodFacts {
        refused: Some(Refused {
            attempt: attempt.to_owned(),
            words: "failed quota: q: must specify limits.cpu".to_owned(),
        }),
        created: Timestamp::from_second(created).ok(),
        ..bare()
    };
    let case = |pods| Case {
        pods,
        rollout: None,
        ..Case::default()
    };
    case(vec![refused("1", 5)]).waits(Reason::PodsRefused);
    case(vec![refused("0", 5)]).rolls(Reason::RollBare, WANTED);
    let taken = |created: i64| PodFacts {
        created: Timestamp::from_second(created).ok(),
        ..injected(WANTED)
    };
    case(vec![refused("1", 5), taken(4)]).waits(Reason::PodsRefused);
    case(vec![refused("1", 5), taken(6)]).rolls(Reason::RollBare, WANTED);
    let plan = case(vec![refused("0", 5)]).planned(&Repairs::default());
    assert!(plan.steps[0].roll.as_ref().unwrap().anew);
}

/// By the clock of the decision, ever more rarely, and not all at one moment.
#[test]
fn what_was_refused_is_tried_again_after_a_while() {
    const FIRST: i64 = 3600;
    let case = |rollout: Option<&'static str>, now: i64| Case {
        pods: vec![PodFacts {
            refused: Some(Refused {
                attempt: "1".to_owned(),
                words: "no gateways here".to_owned(),
            }),
            created: Timestamp::from_second(0).ok(),
            rollout: rollout.map(str::to_owned),
            ..bare()
        }],
        rollout,
        retry: Duration::from_hours(1),
        now,
        ..Case::default()
    };
    // A quarter more at most, which differs from workload to workload.
    let waits = |rollout, times: i64| {
        case(rollout, FIRST * times - 1).waits(Reason::PodsRefused);
        let plan = case(rollout, FIRST * times * 5 / 4).planned(&Repairs::default());
        let step = &plan.steps[0];
        assert_eq!(step.verdict.reason, Reason::RollBare);
        assert!(
            step.roll.as_ref().unwrap().anew,
            "refusals of before count no more"
        );
    };
    waits(None, 1);
    waits(Some("aaaa"), 1);
    waits(Some("bbbb.9"), 1);
    waits(Some("aaaa.1.after-1795600000"), 2);
    waits(Some("aaaa.3.after-1795600000"), 8);
    waits(Some("aaaa.5.after-1795600000"), 24);
    waits(Some("aaaa.4000000000.after-1795600000"), 24);
    case(Some("aaaa.2.after-5"), FIRST * 30).rolls(Reason::RollBare, "aaaa.3");

    let plan = case(None, 0).planned(&Repairs::default());
    let message = &plan.steps[0].verdict.message;
    assert!(
        message.contains("tried again by itself after 1970-01-01T01:"),
        "{message}"
    );
    let never = Case {
        retry: Duration::ZERO,
        ..case(None, FIRST * 1000)
    };
    never.waits(Reason::PodsRefused);
    let notify = Wish::Gateway {
        hash: WANTED.to_owned(),
        rollout: Rollout::Notify,
        attempt: "1".to_owned(),
    };
    let told = Case {
        wish: notify,
        ..case(None, FIRST * 1000)
    };
    told.waits(Reason::PodsRefused);
}

#[test]
fn a_rollout_that_waits_for_the_image_says_so() {
    let case = |ready: bool, progress, unpulled| Case {
        pods: vec![PodFacts {
            ready,
            ..injected(WANTED)
        }],
        progress,
        unpulled,
        ..Case::default()
    };
    let words = Some("not found in the namespace a: the Secret gone");
    case(false, Progress::Starting, words).waits(Reason::GatewayImage);
    case(false, Progress::Settled, words).waits(Reason::GatewayImage);
    case(false, Progress::Failed, words).waits(Reason::GatewayImage);
    case(false, Progress::Starting, None).waits(Reason::PodsNotReady);
    let rolling = Case {
        pods: vec![bare(), injected(WANTED)],
        ..case(true, Progress::Mixed, words)
    };
    let plan = rolling.planned(&Repairs::default());
    let verdict = &plan.steps[0].verdict;
    assert_eq!(verdict.reason, Reason::GatewayImage);
    for part in ["the Secret gone", "gateway.image.pullSecrets", "under way"] {
        assert!(verdict.message.contains(part), "{}", verdict.message);
    }
}

#[test]
fn a_port_leads_to_the_app_while_a_pod_that_answers_has_no_gateway() {
    let pod = |fronted, ready| {
        let mut pod = bare();
        (pod.shape.fronted, pod.ready) = (fronted, ready);
        pod
    };
    let fronts = |pods: &[PodFacts]| crate::entrance::may_front(pods.iter());
    assert!(fronts(&[pod(true, true), pod(true, false)]));
    assert!(
        fronts(&[pod(true, true), pod(false, false)]),
        "it answers nobody yet"
    );
    assert!(!fronts(&[pod(true, true), pod(false, true)]));
    assert!(
        !fronts(&[pod(true, false), pod(false, false)]),
        "nobody answers yet"
    );
    assert!(fronts(&[]));
}

#[test]
fn a_quota_without_room_is_seen_before_the_first_restart() {
    let mut validated = Case {
        pods: vec![bare()],
        ..Case::default()
    }
    .validated();
    let quota = json!({
        "metadata": {"name": "q"}, "spec": {"hard": {"limits.memory": "1Gi"}},
        "status": {"used": {"limits.memory": "900Mi"}},
    });
    let quota = Quota::read(serde_json::from_value(quota).unwrap()).unwrap();
    validated.ground.quotas.push(Arc::new(quota));
    let asks = json!({"limits": {"memory": "256Mi"}});
    validated.members[0].asks = Some(serde_json::from_value(asks).unwrap());
    let repairs = Repairs::default();
    let means = Means {
        retry: Retry::NEVER,
        expose: Expose::Service,
        repairs: &repairs,
        webhook_up: true,
        app_protocol: Some("kubernetes.io/ws"),
    };
    let plan = plan(validated, &means);
    assert_eq!(plan.steps[0].verdict.reason, Reason::Quota);
    assert!(plan.steps[0].roll.is_none());
}

fn budget(disruptions: Disruptions) -> Budget {
    Budget {
        name: "chat".to_owned(),
        selector: Some(Selector::from_iter([("app", "chat")])),
        disruptions,
    }
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
        let mut plan = case.planned(&repairs);
        plan.steps.remove(0)
    };
    let reason = |pod| planned(pod).verdict.reason;
    assert_eq!(reason(bare()), Reason::RollBare);
    assert_eq!(reason(bare()), Reason::RollBare, "nothing was rolled yet");
    assert_eq!(repairs.take("a", &workload(), WANTED), Permit::Go);
    assert_eq!(reason(bare()), Reason::RepairBackoff);
    let taken_off = "somebody takes ws.olares.com/rolled-for off the pod template again";
    assert!(planned(bare()).verdict.message.contains(taken_off));
    let there = Case {
        pods: vec![PodFacts {
            rollout: Some(WANTED.to_owned()),
            ..bare()
        }],
        rollout: Some(WANTED),
        ..Case::default()
    };
    let step = there.planned(&repairs).steps.remove(0);
    assert_eq!(step.verdict.reason, Reason::RepairBackoff);
    assert!(!step.verdict.message.contains(taken_off));
    assert!(planned(injected(WANTED)).healed);
    repairs.healed("a", &workload());
    assert_eq!(reason(bare()), Reason::RollBare);
}

#[test]
fn a_new_goal_overtakes_a_rollout_of_ours() {
    // The template was rolled for settings that keep its pod from being ready.
    let sick = |rollout: &str| PodFacts {
        ready: false,
        rollout: Some(rollout.to_owned()),
        ..injected(BEFORE)
    };
    let case = |rollout, progress| Case {
        pods: vec![bare(), sick(BEFORE)],
        rollout: Some(rollout),
        progress,
        ..Case::default()
    };
    for progress in [Progress::Mixed, Progress::Starting, Progress::Failed] {
        case(BEFORE, progress).rolls(Reason::RollBare, WANTED);
    }
    case(WANTED, Progress::Mixed).waits(Reason::Rolling);
    // Somebody else's rollout: all pods are of our last one.
    Case {
        pods: vec![PodFacts {
            rollout: Some(BEFORE.to_owned()),
            ..injected(BEFORE)
        }],
        rollout: Some(BEFORE),
        progress: Progress::Mixed,
        ..Case::default()
    }
    .waits(Reason::Rolling);
}

#[test]
fn a_budget_that_our_own_sick_pod_has_used_up_is_no_obstacle() {
    let sick = PodFacts {
        ready: false,
        ..injected(BEFORE)
    };
    let case = |pods| Case {
        pods,
        budgets: vec![budget(Disruptions::NotNow)],
        ..Case::default()
    };
    case(vec![injected(WANTED), sick.clone()]).rolls(Reason::RollStale, WANTED);
    // Another pod is sick, which would stay: the budget counts.
    let other = PodFacts {
        ready: false,
        ..injected(WANTED)
    };
    case(vec![injected(BEFORE), other]).waits(Reason::DisruptionBudget);
}

#[test]
fn a_deployment_that_surges_disrupts_nothing() {
    let case = |surges| Case {
        pods: vec![bare()],
        budgets: vec![budget(Disruptions::Never)],
        surges,
        ..Case::default()
    };
    case(true).rolls(Reason::RollBare, WANTED);
    let plan = case(false).planned(&Repairs::default());
    assert_eq!(
        plan.steps[0].verdict.message,
        "1 pod without the gateway; the PodDisruptionBudget chat never allows one"
    );
}

#[test]
fn the_pod_that_a_stateful_set_never_replaces_is_named() {
    let mut validated = Case {
        pods: vec![PodFacts {
            ready: false,
            ..injected(BEFORE)
        }],
        rollout: Some(WANTED),
        progress: Progress::Mixed,
        ..Case::default()
    }
    .validated();
    validated.members[0].workload.workload.kind = WorkloadKind::StatefulSet;
    let repairs = Repairs::default();
    let means = Means {
        retry: Retry::NEVER,
        expose: Expose::Service,
        repairs: &repairs,
        webhook_up: true,
        app_protocol: Some("kubernetes.io/ws"),
    };
    let plan = plan(validated, &means);
    assert_eq!(
        plan.steps[0].verdict.message,
        "1 pod with settings of before; a rollout is under way, and a StatefulSet does not replace a pod that \
         is not ready: delete the pod chat-1"
    );
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

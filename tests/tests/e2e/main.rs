//! What must hold on a real cluster, with the operator installed from its chart and running under
//! its own ServiceAccount. `make e2e` starts a cluster and runs this in it.

mod alone;
mod blue_green;
mod cert_manager;
mod certificates;
mod chaos;
mod codes;
mod doctor;
mod elsewhere;
mod entrance;
mod errors;
mod examples;
mod gitops;
mod invalid;
mod kinds;
mod label;
mod metrics;
mod network;
mod olares;
mod policy;
mod precedence;
mod refused;
mod rights;
mod roll;
mod rollouts;
mod scope;
mod secrets;
mod served;
mod trust;
mod untouched;
mod upgrade;

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use e2e::cluster::{self, Namespace, Skipped};
use e2e::operator;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// More than there are cores: tests mostly wait for pods.
const AT_ONCE: usize = 4;

macro_rules! trials {
    ($($module:ident::$test:ident $(unless $missing:expr)?),+ $(,)?) => {
        vec![$(trial(
            concat!(stringify!($module), "::", stringify!($test)),
            ($($missing,)? cluster::missing as fn() -> Option<String>,).0,
            $module::$test,
        )),+]
    };
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(AT_ONCE));
    if !arguments.list
        && cluster::missing().is_none()
        && let Err(error) = prepare()
    {
        eprintln!("e2e: {error:#}\n{}", operator::describe());
        return ExitCode::FAILURE;
    }
    let beside_others = libtest_mimic::run(&arguments, trials());
    arguments.test_threads = Some(1);
    let alone = libtest_mimic::run(&arguments, alone_in_this_order());
    if beside_others.has_failed() || alone.has_failed() {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn prepare() -> Result<()> {
    let started = Instant::now();
    upgrade::prepare()?;
    block_on(untouched::prepare())?;
    operator::install()?;
    eprintln!(
        "e2e: the operator is installed after {} s",
        started.elapsed().as_secs()
    );
    Ok(())
}

fn trials() -> Vec<Trial> {
    trials![
        served::helm_install_of_the_example,
        served::a_manifest_that_is_a_template,
        served::kubectl_apply_of_the_one_file,
        served::an_app_manifest_beside_a_running_app,
        served::a_changed_stanza,
        served::a_removed_stanza,
        untouched::an_app_without_the_stanza,
        invalid::a_wrong_port_in_an_app_manifest,
        invalid::a_wrong_port_in_a_chart,
        label::a_labelled_deployment,
        label::a_wrong_callback,
        label::among_others,
        precedence::by_hand_wins_over_helm,
        scope::bystanders_of_an_entrance,
        rollouts::owners_hold_a_restart_back,
        rollouts::a_rollout_that_fails_stops_and_recovers,
        rollouts::a_disabled_namespace_is_left_alone,
        rollouts::a_roll_that_does_not_help_is_not_repeated_at_once,
        refused::a_quota_that_the_gateway_does_not_meet,
        refused::a_policy_that_refuses_the_gateway,
        refused::what_a_namespace_demands_of_resources,
        refused::an_image_that_the_node_does_not_get,
        codes::the_same_reason_everywhere,
        elsewhere::a_release_whose_objects_are_in_another_namespace,
        errors::what_the_webhook_cannot_read_gets_in,
        errors::a_release_that_is_a_bomb_is_skipped_and_told,
        olares::a_platform_that_comes_after_us,
        kinds::a_stateful_set,
        kinds::a_daemon_set,
        kinds::a_native_sidecar,
        kinds::a_native_sidecar_drains_before_the_app_ends,
        rights::the_operator_is_no_admin,
        policy::beyond_its_work_the_operator_is_refused,
        policy::strangers_are_told_nothing,
        policy::secrets_of_other_types_are_not_read,
        secrets::they_change_without_a_restart_and_show_nowhere,
        secrets::the_example_takes_signed_callbacks_only,
        certificates::an_authority_that_another_added_is_kept,
        metrics::operator_and_gateway_are_scraped,
        entrance::no_request_fails_with_helm_4,
        entrance::no_request_fails_with_helm_3,
        entrance::a_native_sidecar_in_front_of_a_named_port,
        entrance::a_native_sidecar_in_front_of_a_numbered_port,
        blue_green::a_switch_loses_no_request,
        blue_green::a_switch_loses_no_handshake,
        blue_green::argo_rollouts_promotes,
        blue_green::a_pod_that_gets_the_label,
        examples::the_one_file_is_what_the_chart_says,
        upgrade::the_dockerfiles_make_what_is_tested,
        examples::install_yaml_is_what_the_chart_says,
    ]
}

fn alone_in_this_order() -> Vec<Trial> {
    trials![
        rights::helm_releases_of_some_namespaces,
        olares::both_ages,
        alone::the_leader_is_killed,
        alone::the_leader_is_killed_in_the_middle_of_a_rollout,
        alone::only_so_many_restarts_begin_at_once,
        alone::ten_installs_in_a_row,
        alone::pods_start_without_an_operator,
        gitops::what_runs_is_no_drift,
        gitops::an_enforcer_of_selectors_is_not_fought,
        gitops::an_enforcer_of_selectors_is_not_fought_with_helm_3,
        gitops::kept_crds_go_to_a_release_elsewhere,
        doctor::a_healthy_operator_and_broken_ones,
        roll::after_another_gateway_image,
        certificates::ones_own_are_replaced_without_a_failed_admission,
        trust::certificates_that_live_for_seconds,
        trust::rollouts_of_the_operator,
        chaos::everything_at_once,
        upgrade::helm_test_opens_a_websocket,
        upgrade::crds_upgrade_with_the_chart,
        cert_manager::what_it_renews_is_served_without_a_missed_admission unless cert_manager::missing,
        alone::uninstalling_leaves_nothing,
        upgrade::uninstalling_everything_leaves_no_trace,
        // Last, as what enforces policies stays.
        network::clients_of_an_app_in_a_closed_namespace,
        network::the_operators_own_policy,
    ]
}

/// One test in a namespace of its own, which is described if the test fails. `missing`: what it
/// needs and there is not.
fn trial<M, F, Fut>(name: &'static str, missing: M, test: F) -> Trial
where
    M: Fn() -> Option<String> + Send + 'static,
    F: Fn(Arc<Namespace>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<()>>,
{
    Trial::ignorable_test(name, move || {
        if let Some(why) = missing() {
            return Ok(Completion::ignored_with(format!("SKIPPED, {why}")));
        }
        block_on(async {
            let namespace = Arc::new(Namespace::create("e2e").await?);
            let outcome = match test(Arc::clone(&namespace)).await {
                Ok(()) => Completion::Completed,
                Err(error) if error.is::<Skipped>() => Completion::ignored_with(error.to_string()),
                Err(error) => anyhow::bail!("{error:#}\n\n{}", namespace.describe()),
            };
            namespace.delete().await?;
            Ok(outcome)
        })
        .map_err(|error| Failed::from(format!("{error:#}")))
    })
}

fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(future)
}

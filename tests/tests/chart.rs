//! What the operator's chart says, rendered by the real Helm 4 and 3; no cluster is needed.

#[path = "chart/certificates.rs"]
mod certificates;
#[path = "chart/conditions.rs"]
mod conditions;
#[path = "chart/gitops.rs"]
mod gitops;
#[path = "chart/monitoring.rs"]
mod monitoring;
#[path = "chart/rights.rs"]
mod rights;
#[path = "chart/scheduling.rs"]
mod scheduling;
#[path = "chart/schema.rs"]
mod schema;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use e2e::template;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

macro_rules! trials {
    ($($module:ident::$test:ident),+ $(,)?) => {
        template::HELMS.iter().flat_map(|helm| [
            $(trial(helm, concat!(stringify!($module), "::", stringify!($test)), $module::$test)),+
        ]).collect()
    };
}

fn main() -> ExitCode {
    let trials = trials![
        schema::nonsense_is_refused_by_name,
        schema::sense_is_taken,
        schema::a_value_taken_out_is_its_default,
        schema::every_value_is_known_to_the_schema,
        schema::fields_of_kubernetes_can_be_taken_out,
        conditions::values_that_are_not_there,
        gitops::rendered_twice_it_is_the_same,
        gitops::within_another_chart,
        gitops::in_another_namespace,
        gitops::kustomize_moves_all,
        gitops::an_uninstall_that_fails_says_what_to_do,
        certificates::by_default_they_are_the_operators_own,
        certificates::ones_own_secret_is_mounted,
        certificates::cert_manager_makes_them,
        monitoring::nothing_of_it_by_default,
        monitoring::the_monitors_find_their_ports,
        monitoring::the_dashboard_asks_for_numbers_that_exist,
        monitoring::the_network_policy_lets_in_who_must,
        certificates::the_api_servers_way_is_left_to_the_operator,
        rights::rights_follow_the_sources,
        rights::what_is_missing_is_made_at_home,
        rights::policies_narrow_them_where_the_api_server_can,
        scheduling::clouds_get_what_they_need,
        scheduling::replicas_are_spread_and_kept,
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trial(helm: &'static str, name: &str, test: fn(&Path) -> Result<()>) -> Trial {
    Trial::ignorable_test(format!("{helm}::{name}"), move || {
        let Some(program) = template::find(helm) else {
            let why = format!("SKIPPED, no {helm}: tests/cluster/build makes one");
            return Ok(Completion::ignored_with(why));
        };
        test(&program)
            .map(|()| Completion::Completed)
            .map_err(|error| Failed::from(format!("{error:#}")))
    })
}

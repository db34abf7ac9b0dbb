//! `uninject` behind `inject`: what comes out is what went in.

use crate::inject::{COMMENTED, LABELLED, WORKLOADS};
use crate::streams::DEPLOYMENT;
use crate::support::{app_with, objects, run};

const PULLS: &str = "--gateway-pull-secrets=registry,mirror";
const EXAMPLE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../manifests/examples/chat.yaml"
);

/// Every app of these tests, and the example.
fn corpus() -> Vec<String> {
    let apps = [WORKLOADS, COMMENTED, DEPLOYMENT].map(app_with);
    let example = std::fs::read_to_string(EXAMPLE).unwrap();
    apps.into_iter()
        .chain([LABELLED.to_owned(), example])
        .collect()
}

#[test]
fn injected_and_taken_out_the_objects_are_as_they_were() {
    for before in corpus() {
        for words in [
            &["inject"][..],
            &["inject", PULLS],
            &["inject", PULLS, "-o", "json"],
        ] {
            let injected = run(words, &before);
            assert_eq!(injected.code, 0, "{}", injected.said);
            assert!(
                injected.out.contains("olares-ws-sidecar"),
                "{}",
                injected.out
            );
            let list = ["uninject", "-o", "json"];
            assert_eq!(
                run(&list, &injected.out).out,
                run(&list, &before).out,
                "{words:?}"
            );
        }
    }
}

/// Each line of it, too.
#[test]
fn where_lines_can_be_kept_the_text_is_as_it_was() {
    let before = app_with(COMMENTED);
    let injected = run(&["inject", PULLS], &before);
    assert!(injected.out.contains("name: registry"), "{}", injected.out);
    let back = run(&["uninject"], &injected.out);
    assert_eq!(back.said, "Deployment/chat: the gateway is taken out\n");
    assert_eq!(back.out, before);
}

#[test]
fn the_apps_own_pull_secrets_stay() {
    let end = "      terminationGracePeriodSeconds: 5\n";
    let own = format!(
        "{end}      imagePullSecrets:\n      - name: own   # for the app\n      - name: mirror\n"
    );
    let before = app_with(&COMMENTED.replace(end, &own));
    let injected = run(&["inject", PULLS], &before);
    let of = |text: &str| {
        let spec = &objects(text)[2]["spec"]["template"]["spec"];
        let names = spec["imagePullSecrets"].as_array().unwrap().iter();
        names
            .map(|secret| secret["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(of(&injected.out), ["own", "mirror", "registry"]);
    assert_eq!(run(&["uninject"], &injected.out).out, before);
}

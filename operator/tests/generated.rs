//! Generated files in the repository are what the program generates.

use std::fs;

fn repository(path: &str) -> String {
    let path = format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn the_crds_are_current() {
    let generated = ws_operator::cli::crds().expect("a CRD");
    for folder in ["crds", "charts/ws-operator/files/crds"] {
        assert!(
            repository(&format!("{folder}/ws.olares.com_appmanifests.yaml")) == generated,
            "{folder} is stale: run `make generate`"
        );
    }
}

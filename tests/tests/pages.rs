//! Pages and examples say what the code does.

use e2e::{chart, cluster, settings_page};
use stanza::Manifest;

#[test]
fn the_settings_page_is_current() {
    let path = cluster::root().join(settings_page::PATH);
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == settings_page::render(),
        "{} is stale: run `make generate`",
        settings_page::PATH
    );
}

#[test]
fn every_setting_is_in_a_section_of_the_page() {
    let page = settings_page::render();
    for setting in stanza::settings::catalogue() {
        let row = format!("\n| `{}` |", setting.key);
        assert_eq!(page.matches(&row).count(), 1, "{}", setting.key);
    }
}

#[test]
fn the_example_is_valid_without_a_warning() {
    let file = chart::example().join("OlaresManifest.yaml");
    let manifest = Manifest::from_yaml(
        "OlaresManifest.yaml",
        &std::fs::read_to_string(file).unwrap(),
    )
    .unwrap();
    assert!(manifest.warnings.is_empty(), "{}", manifest.warnings);
    let websocket = manifest.websocket.unwrap();
    assert_eq!(
        (websocket.target.path.as_str(), websocket.target.port.get()),
        ("/ws/message", 8888)
    );
}

/// What Helm renders is checked on the cluster, where Helm is; the AppManifest in it needs none.
#[test]
fn the_one_file_example_begins_with_the_charts_manifest() {
    let manifest = std::fs::read_to_string(chart::example().join("OlaresManifest.yaml")).unwrap();
    let indented: String = manifest
        .lines()
        .map(|line| format!("  {line}").trim_end().to_owned() + "\n")
        .collect();
    let file = std::fs::read_to_string(chart::example_file()).unwrap();
    assert!(
        file.contains(&format!("\nspec:\n{indented}---\n")),
        "run `make generate`"
    );
}

/// Every stanza that a page shows can be copied as it stands.
#[test]
fn every_stanza_in_the_pages_is_valid() {
    let mut found = 0;
    for page in ["README.md", "docs/settings.md", "docs/protocol.md"] {
        let text = std::fs::read_to_string(cluster::root().join(page))
            .unwrap_or_else(|error| panic!("{page}: {error}"));
        for block in text
            .split("```yaml\n")
            .skip(1)
            .filter_map(|rest| rest.split("```").next())
        {
            if !block.contains("websocket:") {
                continue;
            }
            let manifest = Manifest::from_yaml(page, block)
                .unwrap_or_else(|problems| panic!("{problems}\n{block}"));
            assert!(
                manifest.warnings.is_empty(),
                "{}\n{block}",
                manifest.warnings
            );
            assert!(manifest.websocket.is_some(), "{page}:\n{block}");
            found += 1;
        }
    }
    assert!(found >= 3, "{found} stanzas only");
}

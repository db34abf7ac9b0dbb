//! Pages and examples say what the code does.
#![allow(
    clippy::unwrap_used,
    reason = "tests: an unexpected error is a failure"
)]

use std::path::{Path, PathBuf};

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
    for page in [
        "README.md",
        "docs/settings.md",
        "docs/protocol.md",
        "docs/signing.md",
    ] {
        let text = std::fs::read_to_string(cluster::root().join(page))
            .unwrap_or_else(|error| panic!("{page}: {error}"));
        for block in text
            .split("```yaml\n")
            .skip(1)
            .filter_map(|rest| rest.split("```").next())
        {
            // An AppManifest's spec is the document that an OlaresManifest.yaml holds.
            let block = match block.split_once("\nspec:\n") {
                Some((_, spec)) => spec.replace("\n  ", "\n").trim_start().to_owned(),
                None => block.to_owned(),
            };
            let block = block.as_str();
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

/// The pages at the root of the repository and all in `docs/`.
fn pages() -> Vec<PathBuf> {
    let root = cluster::root();
    let mut pages: Vec<_> = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "tests/cluster/README.md",
    ]
    .map(|page| root.join(page))
    .into();
    pages.extend(files(&root.join("docs"), &["md"]));
    pages
}

/// Files below `folder` whose names end so.
fn files(folder: &Path, ends: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if path.is_dir() {
            if !["target", "node_modules"].contains(&&*name) {
                found.extend(files(&path, ends));
            }
        } else if path
            .extension()
            .is_some_and(|end| ends.iter().any(|one| end == *one))
        {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Whether a heading of `page` has this anchor.
fn has_heading(page: &Path, anchor: &str) -> bool {
    let text = std::fs::read_to_string(page).unwrap();
    let mut code = false;
    text.lines().any(|line| {
        code ^= line.starts_with("```");
        !code && line.starts_with('#') && anchor_of(line) == anchor
    })
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    for page in pages() {
        let text = std::fs::read_to_string(&page)
            .unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            if link.contains("://") || link.contains(' ') {
                continue;
            }
            let target = if path.is_empty() {
                page.clone()
            } else {
                page.parent().unwrap().join(path)
            };
            assert!(target.exists(), "{}: {link}", page.display());
            assert!(
                anchor.is_empty() || has_heading(&target, anchor),
                "{}: {link}",
                page.display()
            );
        }
    }
}

/// What programs, chart and tests print or say of a page: `docs/….md`, perhaps with an anchor.
#[test]
fn every_page_that_sources_name_is_there() {
    let root = cluster::root();
    let mut named = 0;
    let sources = [
        "stanza",
        "operator",
        "sidecar",
        "telemetry",
        "charts",
        "tests",
    ]
    .iter()
    .flat_map(|folder| files(&root.join(folder), &["rs", "yaml", "txt", "tpl"]));
    for source in sources {
        let text = std::fs::read_to_string(&source).unwrap();
        for (at, _) in text.match_indices("docs/") {
            let rest = &text[at..];
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "/-_.#".contains(c)));
            let link = rest[..end.unwrap_or(rest.len())].trim_end_matches('.');
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            // Others' pages have addresses of their own.
            if Path::new(path).extension().is_none_or(|kind| kind != "md")
                || text[..at].ends_with(|c: char| {
                    c.is_alphanumeric() || c == '/' && !text[..at].ends_with("../")
                })
            {
                continue;
            }
            let target = root.join(path);
            assert!(target.exists(), "{}: {link}", source.display());
            assert!(
                anchor.is_empty() || has_heading(&target, anchor),
                "{}: {link}",
                source.display()
            );
            named += 1;
        }
    }
    assert!(named > 10, "{named} only");
}

/// As GitHub makes them.
fn anchor_of(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = words
        .chars()
        .filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-');
    kept.collect::<String>().replace(' ', "-")
}

/// Prose: paragraphs and the items of lists; no code, no tables, no headings.
fn sentences(page: &str) -> Vec<String> {
    let mut paragraphs = vec![String::new()];
    let mut fenced = false;
    for line in page.lines().map(str::trim) {
        let fence = line.starts_with("```");
        fenced ^= fence;
        if fence || fenced || line.is_empty() || line.starts_with(['|', '#']) {
            paragraphs.push(String::new());
            continue;
        }
        let (number, rest) = line.split_once(". ").unwrap_or(("", line));
        let item = if !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()) {
            Some(rest)
        } else {
            line.strip_prefix("- ").or_else(|| line.strip_prefix("* "))
        };
        if item.is_some() {
            paragraphs.push(String::new());
        }
        let paragraph = paragraphs.last_mut().unwrap();
        paragraph.push_str(item.unwrap_or(line));
        paragraph.push(' ');
    }
    paragraphs
        .iter()
        .map(|paragraph| as_read(paragraph))
        .flat_map(|text| {
            let ends = |word: &str| {
                word.trim_end_matches(['*', ')', '"'])
                    .ends_with(['.', '!', '?'])
            };
            let words: Vec<_> = text.split_whitespace().collect();
            let parts = words.split_inclusive(|word| ends(word));
            parts.map(|words| words.join(" ")).collect::<Vec<_>>()
        })
        .collect()
}

/// What is between backticks is one word, and of a link its text is read.
fn as_read(paragraph: &str) -> String {
    let plain: String = paragraph
        .split('`')
        .enumerate()
        .map(|(at, part)| if at % 2 == 0 { part } else { "code" })
        .collect();
    let mut read = String::new();
    let mut rest = plain.as_str();
    while let Some((before, link)) = rest.split_once("](") {
        read.push_str(before);
        rest = link.split_once(')').map_or("", |(_, after)| after);
    }
    read + rest
}

#[test]
fn a_sentence_is_what_ends_with_a_full_stop() {
    let page = "# A heading. Not read\n\nOne `a. b` [two](x.md). Three!\n```\ncode. Code\n```\n1. Four\n   five\n- Six\n| a | b. c |\n";
    let found = sentences(page);
    assert_eq!(found, ["One code [two.", "Three!", "Four five", "Six"]);
}

#[test]
fn no_sentence_is_long() {
    const MOST: usize = 30;
    let root = cluster::root();
    let mut long = Vec::new();
    let pages = pages();
    assert!(pages.contains(&root.join("docs/operator/routing.md")));
    // Entries of the changelog, and the page of a tool, list much.
    for page in pages
        .iter()
        .filter(|page| !page.ends_with("CHANGELOG.md") && !page.starts_with(root.join("tests")))
    {
        let text = std::fs::read_to_string(page).unwrap();
        let found = sentences(&text);
        let found = found
            .iter()
            .map(|sentence| (sentence.split_whitespace().count(), sentence))
            .filter(|(words, _)| *words > MOST);
        long.extend(
            found.map(|(words, sentence)| format!("{}: {words} words: {sentence}", page.display())),
        );
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

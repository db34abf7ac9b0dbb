//! What an OlaresManifest asks of a release's values means what it means to Helm.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::cluster::root;
use e2e::template::{objects, whole};
use serde_json::{Value as Json, json};
use stanza::excerpt::{self, Excerpt};
use stanza::node::Node;

/// As in operator/tests/operator_sources.rs.
fn values() -> Json {
    json!({
        "admin": "alice", "bfl": {"username": "alice"}, "isAdmin": false, "port": 8080,
        "olaresEnv": {}, "ws": {"port": 8888, "path": "/ws/message", "secure": false},
    })
}

pub(crate) fn values_that_are_not_there(helm: &Path) -> Result<()> {
    let file = root().join("operator/tests/corpus/conditions.yaml");
    let manifest = std::fs::read_to_string(file)?;
    let chart = tempfile::tempdir()?;
    let write = |name: &str, text: &str| std::fs::write(chart.path().join(name), text);
    std::fs::create_dir(chart.path().join("templates"))?;
    write(
        "Chart.yaml",
        "apiVersion: v2\nname: chart\nversion: 1.0.0\n",
    )?;
    write("values.yaml", &values().to_string())?;
    write("OlaresManifest.yaml", &manifest)?;
    write(
        "templates/rendered.yaml",
        "kind: ConfigMap\ndata:\n  text: {{ tpl (.Files.Get \"OlaresManifest.yaml\") . | quote }}\n",
    )?;
    let all = objects(&whole(helm, chart.path(), &[])?)?;
    let text = all[0]["data"]["text"]
        .as_str()
        .context("nothing rendered")?;
    let helms = Node::from_yaml(text).context(text.to_owned())?.to_json();

    let chart = json!({"name": "chart", "version": "1.0.0"});
    let context = excerpt::context("ws-operator", "default", 1, &chart, values());
    let found = Excerpt::read(
        "OlaresManifest.yaml",
        &manifest,
        &excerpt::complete(context),
    );
    ensure!(!found.problems.has_errors(), "{}", found.problems);
    let ours = excerpt::to_json(&found.root.context("no stanza")?);
    ensure!(ours["entrances"] == helms["entrances"], "{ours:?}, {helms}");
    let stanza = &helms["options"]["websocket"];
    ensure!(stanza["port"] == 8888, "{helms}");
    ensure!(ours["options"]["websocket"] == *stanza, "{ours:?}, {helms}");
    Ok(())
}

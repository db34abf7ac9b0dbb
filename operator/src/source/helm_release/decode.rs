//! A release Secret's payload -> the chart's manifest (pure): base64, gzip, JSON.

use std::io::{self, Read};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::Value as Json;
use stanza::excerpt;

/// The file as Olares calls it, and as it called it before.
const FILES: [&str; 2] = ["OlaresManifest.yaml", "TerminusManifest.yaml"];
/// What a Secret of a megabyte may unpack to.
const LONGEST: u64 = 64 << 20;
const GZIP: [u8; 2] = [0x1f, 0x8b];

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("not base64")]
    Base64(#[from] base64::DecodeError),
    #[error("not gzip")]
    Gzip(#[from] io::Error),
    #[error("not a release")]
    Json(#[from] serde_json::Error),
    #[error("{0} is not UTF-8")]
    Text(&'static str),
}

#[derive(Debug, PartialEq)]
pub(super) struct ManifestFile {
    pub(super) file: &'static str,
    pub(super) text: String,
    /// What the text is rendered with, if it is a template.
    pub(super) context: Json,
}

#[derive(Deserialize)]
struct Release {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    version: u64,
    #[serde(default)]
    chart: Chart,
    /// The user's values.
    #[serde(default)]
    config: Json,
}

#[derive(Default, Deserialize)]
struct Chart {
    #[serde(default)]
    files: Option<Vec<File>>,
    /// The chart's own values.
    #[serde(default)]
    values: Json,
    #[serde(default)]
    metadata: Json,
}

/// `name` is the path inside the chart: `i18n/de/OlaresManifest.yaml` is another file.
#[derive(Deserialize)]
struct File {
    name: String,
    data: String,
}

/// `payload` is the Secret's value, whose own base64 is undone already.
pub(super) fn manifest(payload: &[u8]) -> Result<Option<ManifestFile>, Error> {
    let packed = STANDARD.decode(payload.trim_ascii())?;
    let mut release: Release = if packed.starts_with(&GZIP) {
        let mut json = Vec::new();
        GzDecoder::new(packed.as_slice())
            .take(LONGEST)
            .read_to_end(&mut json)?;
        serde_json::from_slice(&json)?
    } else {
        serde_json::from_slice(&packed)?
    };
    let files = release.chart.files.take().unwrap_or_default();
    let found = FILES
        .into_iter()
        .find_map(|name| Some((name, files.iter().find(|file| file.name == name)?)));
    let Some((name, file)) = found else {
        return Ok(None);
    };
    let text = String::from_utf8(STANDARD.decode(&file.data)?).map_err(|_| Error::Text(name))?;
    let context = release.context();
    Ok(Some(ManifestFile {
        file: name,
        text,
        context,
    }))
}

impl Release {
    fn context(self) -> Json {
        let mut values = self.chart.values;
        if !self.config.is_null() {
            excerpt::merge(&mut values, self.config);
        }
        let chart = &self.chart.metadata;
        excerpt::context(&self.name, &self.namespace, self.version, chart, &values)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use serde_json::json;

    use super::*;

    fn payload(files: &[(&str, &str)]) -> Vec<u8> {
        let files: Vec<_> = files
            .iter()
            .map(|(name, text)| json!({"name": name, "data": STANDARD.encode(text)}))
            .collect();
        let release = json!({"name": "chat", "version": 1, "chart": {"files": files}});
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(release.to_string().as_bytes()).unwrap();
        STANDARD.encode(gzip.finish().unwrap()).into_bytes()
    }

    fn text(files: &[(&str, &str)]) -> Option<String> {
        manifest(&payload(files)).unwrap().map(|found| found.text)
    }

    #[test]
    fn the_manifest_at_the_root_is_found() {
        let files = [
            ("i18n/de/OlaresManifest.yaml", "wrong"),
            ("OlaresManifest.yaml", "right"),
        ];
        assert_eq!(text(&files).as_deref(), Some("right"));
        assert_eq!(text(&files[..1]), None);
    }

    #[test]
    fn the_older_name_counts_where_the_new_one_is_not_there() {
        let older = ("TerminusManifest.yaml", "older");
        assert_eq!(text(&[older]).as_deref(), Some("older"));
        assert_eq!(
            text(&[older, ("OlaresManifest.yaml", "newer")]).as_deref(),
            Some("newer")
        );
    }

    #[test]
    fn the_users_values_are_over_the_charts() {
        let release = json!({
            "name": "chat", "namespace": "chat-alice", "version": 3,
            "config": {"ws": {"port": 9000}, "gone": null},
            "chart": {
                "files": [{"name": FILES[0], "data": STANDARD.encode("x")}],
                "values": {"ws": {"port": 8888, "path": "/ws"}},
                "metadata": {"name": "chat-chart", "version": "1.2.3"},
            },
        });
        let payload = STANDARD.encode(release.to_string());
        let found = manifest(payload.as_bytes()).unwrap().unwrap();
        assert_eq!(
            found.context["Values"],
            json!({"ws": {"port": 9000, "path": "/ws"}, "gone": null})
        );
        assert_eq!(found.context["Release"]["Name"], "chat");
        assert_eq!(found.context["Chart"]["Version"], "1.2.3");
    }

    #[test]
    fn charts_without_files_and_garbage_are_no_panic() {
        let bare = STANDARD.encode(json!({"chart": {"files": null}}).to_string());
        assert_eq!(manifest(bare.as_bytes()).unwrap(), None);
        assert!(manifest(b"***").is_err());
        assert!(manifest(STANDARD.encode("no json").as_bytes()).is_err());
        assert!(manifest(STANDARD.encode([0x1f, 0x8b, 0, 1]).as_bytes()).is_err());
    }
}

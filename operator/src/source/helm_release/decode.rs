//! A release Secret's payload -> the chart's manifest (pure): base64, gzip, JSON. Of the chart's
//! files only the manifest is kept, and the values are read only where it is a template.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;
use serde_json::value::RawValue;
use stanza::{excerpt, template};

/// The file as Olares calls it, and as it called it before.
const FILES: [&str; 2] = ["OlaresManifest.yaml", "TerminusManifest.yaml"];
/// What a Secret of a megabyte may unpack to.
const LONGEST: usize = 8 << 20;
/// The manifest, and each thing that it is rendered with.
const LONGEST_PART: usize = 512 << 10;
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
    #[error("it unpacks to more than 8 MiB")]
    TooLong,
    #[error("{0}: more than 512 KiB")]
    PartTooLong(&'static str),
}

#[derive(Debug, PartialEq)]
pub(super) struct ManifestFile {
    pub(super) file: &'static str,
    pub(super) text: String,
    /// Where the release's objects are; empty: not said.
    pub(super) namespace: String,
    /// What the text is rendered with, if it is a template.
    pub(super) context: Json,
}

#[derive(Deserialize)]
struct Release<'a> {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    version: u64,
    #[serde(borrow, default)]
    chart: Chart<'a>,
    /// The user's values.
    #[serde(borrow, default)]
    config: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Chart<'a> {
    #[serde(borrow, default, deserialize_with = "manifests")]
    files: [Option<Cow<'a, str>>; FILES.len()],
    /// The chart's own values.
    #[serde(borrow, default)]
    values: Option<&'a RawValue>,
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
}

/// `name` is the path inside the chart: `i18n/de/OlaresManifest.yaml` is another file.
#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    data: Cow<'a, str>,
}

/// `payload` is the Secret's value, whose own base64 is undone already.
pub(super) fn manifest(payload: &[u8]) -> Result<Option<ManifestFile>, Error> {
    let json = unpacked(STANDARD.decode(payload.trim_ascii())?)?;
    let release: Release = serde_json::from_slice(&json)?;
    let mut found = FILES.into_iter().zip(&release.chart.files);
    let Some((file, data)) = found.find_map(|(name, data)| Some((name, data.as_deref()?))) else {
        return Ok(None);
    };
    if data.len() / 4 * 3 > LONGEST_PART {
        return Err(Error::PartTooLong(file));
    }
    let text = String::from_utf8(STANDARD.decode(data)?).map_err(|_| Error::Text(file))?;
    let context = if template::is_template(&text) {
        release.context()?
    } else {
        Json::Null
    };
    Ok(Some(ManifestFile {
        file,
        text,
        namespace: release.namespace,
        context,
    }))
}

fn unpacked(packed: Vec<u8>) -> Result<Vec<u8>, Error> {
    let json = if packed.starts_with(&GZIP) {
        let mut json = Vec::new();
        GzDecoder::new(packed.as_slice())
            .take(LONGEST as u64 + 1)
            .read_to_end(&mut json)?;
        json
    } else {
        packed
    };
    if json.len() > LONGEST {
        return Err(Error::TooLong);
    }
    Ok(json)
}

/// Of the chart's files those called [`FILES`], in that order; all others are skipped unread.
fn manifests<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<[Option<Cow<'de, str>>; FILES.len()], D::Error> {
    struct Manifests;

    impl<'de> Visitor<'de> for Manifests {
        type Value = [Option<Cow<'de, str>>; FILES.len()];

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of files")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut files: A) -> Result<Self::Value, A::Error> {
            let mut found = Self::Value::default();
            while let Some(File { name, data }) = files.next_element()? {
                if let Some(index) = FILES.iter().position(|wanted| *wanted == name) {
                    found[index].get_or_insert(data);
                }
            }
            Ok(found)
        }
    }

    deserializer.deserialize_any(Manifests)
}

impl Release<'_> {
    fn context(&self) -> Result<Json, Error> {
        let mut values = read(self.chart.values, "values.yaml")?;
        let config = read(self.config, "the user's values")?;
        if !config.is_null() {
            excerpt::merge(&mut values, config);
        }
        let chart = read(self.chart.metadata, "Chart.yaml")?;
        let (name, namespace) = (&self.name, &self.namespace);
        let context = excerpt::context(name, namespace, self.version, &chart, values);
        Ok(excerpt::complete(context))
    }
}

fn read(raw: Option<&RawValue>, part: &'static str) -> Result<Json, Error> {
    match raw.map(RawValue::get) {
        None => Ok(Json::Null),
        Some(text) if text.len() > LONGEST_PART => Err(Error::PartTooLong(part)),
        Some(text) => Ok(serde_json::from_str(text)?),
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
                "files": [{"name": FILES[0], "data": STANDARD.encode("{{ .Values.ws }}")}],
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
        assert_eq!(found.namespace, "chat-alice");
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

    fn release(chart: &Json, config: &Json) -> Vec<u8> {
        let release = json!({"chart": chart, "config": config}).to_string();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(release.as_bytes()).unwrap();
        STANDARD.encode(gzip.finish().unwrap()).into_bytes()
    }

    #[test]
    fn values_are_not_looked_at_where_nothing_is_rendered() {
        let file = json!([{"name": FILES[0], "data": STANDARD.encode("plain: text")}]);
        let values = json!({"much": "x".repeat(LONGEST_PART)});
        let found = manifest(&release(&json!({"files": file, "values": values}), &values));
        assert_eq!(found.unwrap().unwrap().context, Json::Null);
    }

    #[test]
    fn what_a_release_unpacks_to_is_bounded() {
        let why = |chart: &Json, config: &Json| {
            manifest(&release(chart, config)).unwrap_err().to_string()
        };
        let much = "x".repeat(LONGEST_PART);
        let template = json!([{"name": FILES[0], "data": STANDARD.encode("{{ .Values.a }}")}]);
        let long =
            json!([{"name": FILES[0], "data": STANDARD.encode("x".repeat(2 * LONGEST_PART))}]);
        let with = |values: &str| json!({"files": template, "values": {"a": values}});
        assert_eq!(
            why(&with(&much), &Json::Null),
            "values.yaml: more than 512 KiB"
        );
        assert_eq!(
            why(&with(""), &json!({"a": much})),
            "the user's values: more than 512 KiB"
        );
        assert_eq!(
            why(&json!({"files": long}), &Json::Null),
            "OlaresManifest.yaml: more than 512 KiB"
        );
        assert_eq!(
            why(&json!({"values": "x".repeat(LONGEST)}), &Json::Null),
            "it unpacks to more than 8 MiB"
        );
    }
}

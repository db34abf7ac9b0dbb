//! Any release Secret, as it stands, as what its base64 holds, and as what its gzip holds: no
//! panic, and the same whether it is packed or not.
#![no_main]

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;
use stanza::excerpt::Excerpt;

// By itself: built with coverage, all of the operator takes many minutes.
#[path = "../../operator/src/source/helm_release/decode.rs"]
mod decode;

/// What the reader's process does, without its limits.
fn read(payload: &[u8]) -> Result<Option<String>, String> {
    let manifest = decode::manifest(payload).map_err(|error| error.to_string())?;
    Ok(manifest.map(|manifest| {
        let excerpt = Excerpt::read(manifest.file, &manifest.text, &manifest.context);
        format!("{} {excerpt:?}", manifest.namespace)
    }))
}

fuzz_target!(|data: &[u8]| {
    let _ = read(data);
    let plain = read(STANDARD.encode(data).as_bytes());
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(data).expect("memory takes all");
    let packed = STANDARD.encode(gzip.finish().expect("memory takes all"));
    let packed = read(packed.as_bytes());
    // What begins as gzip does is unpacked once more.
    if !data.starts_with(&[0x1f, 0x8b]) {
        assert_eq!(plain, packed);
    }
    // A chart's file of such a text.
    let file = STANDARD.encode(data);
    let release = format!(
        r#"{{"chart":{{"files":[{{"name":"OlaresManifest.yaml","data":"{file}"}}]}}}}"#
    );
    let _ = read(STANDARD.encode(release).as_bytes());
});

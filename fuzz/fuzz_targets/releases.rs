//! Any release Secret, as it stands, as what its base64 holds, and as what its gzip holds: no
//! panic, no answer larger than an AppManifest may be.
#![no_main]

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;
use ws_operator::source::helm_release::reader::fuzz;

fuzz_target!(|data: &[u8]| {
    let _ = fuzz(data);
    let plain = fuzz(STANDARD.encode(data).as_bytes());
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(data).expect("memory takes all");
    let packed = STANDARD.encode(gzip.finish().expect("memory takes all"));
    let packed = fuzz(packed.as_bytes());
    // What begins as gzip does is unpacked once more.
    if !data.starts_with(&[0x1f, 0x8b]) {
        assert_eq!(plain, packed);
    }
    // A chart's file of such a text.
    let file = STANDARD.encode(data);
    let release = format!(
        r#"{{"chart":{{"files":[{{"name":"OlaresManifest.yaml","data":"{file}"}}]}}}}"#
    );
    let _ = fuzz(STANDARD.encode(release).as_bytes());
});

//! A packaged chart (`helm package`): a gzipped tar of one folder. Only what stands directly in
//! that folder is read, as the format is simple and the rest may be large.

use std::io::Read;

use anyhow::{Context, bail};
use flate2::read::GzDecoder;

/// What a package may unpack to.
const LONGEST: u64 = 256 << 20;
const BLOCK: usize = 512;

/// The texts of the named files, in the order of `wanted`.
pub(super) fn files<const N: usize>(
    packed: impl Read,
    wanted: [&str; N],
) -> anyhow::Result<[Option<String>; N]> {
    let mut found = [const { None }; N];
    let mut archive = GzDecoder::new(packed).take(LONGEST);
    let mut name_of_next: Option<String> = None;
    loop {
        let mut header = [0; BLOCK];
        archive
            .read_exact(&mut header)
            .context("not a packaged chart")?;
        if header.iter().all(|byte| *byte == 0) {
            return Ok(found);
        }
        let size = octal(&header[124..136]).context("not a packaged chart")?;
        let kind = header[156];
        let name = name_of_next.take().unwrap_or_else(|| name(&header));
        let place = in_folder(&name).and_then(|file| wanted.iter().position(|name| *name == file));
        let wanted = matches!(kind, b'0' | 0) && place.is_some();
        if !wanted && !matches!(kind, b'x' | b'L') {
            skip(&mut archive, padded(size))?;
            continue;
        }
        let mut body = Vec::new();
        (&mut archive).take(size).read_to_end(&mut body)?;
        skip(&mut archive, padded(size) - size)?;
        match (kind, place) {
            // The next file's name, where it is long.
            (b'x', _) => name_of_next = extended(&body),
            (b'L', _) => name_of_next = Some(text(&body)),
            (_, Some(place)) => {
                let text = String::from_utf8(body);
                found[place] = Some(text.with_context(|| format!("{name} is not UTF-8"))?);
            }
            _ => {}
        }
    }
}

/// `OlaresManifest.yaml` of `chat/OlaresManifest.yaml`.
fn in_folder(name: &str) -> Option<&str> {
    let name = name.strip_prefix("./").unwrap_or(name);
    let (_, file) = name.split_once('/')?;
    (!file.contains('/')).then_some(file)
}

fn name(header: &[u8; BLOCK]) -> String {
    let name = text(&header[..100]);
    let prefix = text(&header[345..500]);
    if &header[257..262] == b"ustar" && !prefix.is_empty() {
        format!("{prefix}/{name}")
    } else {
        name
    }
}

/// `path` among the records `<length> <key>=<value>`.
fn extended(body: &[u8]) -> Option<String> {
    let records = String::from_utf8_lossy(body);
    let paths = records
        .lines()
        .filter_map(|record| record.split_once(" path="));
    paths.map(|(_, path)| path.to_owned()).next()
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&field[..end.unwrap_or(field.len())]).into_owned()
}

fn octal(field: &[u8]) -> Option<u64> {
    u64::from_str_radix(text(field).trim(), 8).ok()
}

fn padded(size: u64) -> u64 {
    size.next_multiple_of(BLOCK as u64)
}

fn skip(archive: &mut impl Read, bytes: u64) -> anyhow::Result<()> {
    let skipped = std::io::copy(&mut archive.take(bytes), &mut std::io::sink())?;
    if skipped < bytes {
        bail!("the package ends too early");
    }
    Ok(())
}

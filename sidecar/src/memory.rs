//! How much memory the container may have, as its control group says.

use std::fs;
use std::path::Path;

/// Where the kernel's files of control groups are.
const ROOT: &str = "/sys/fs/cgroup";
const OWN: &str = "/proc/self/cgroup";

/// The smallest limit that holds for this process, in bytes; `None`: there is none.
pub(crate) fn limit() -> Option<u64> {
    of(&fs::read_to_string(OWN).ok()?, Path::new(ROOT))
}

/// A line of `own` is `0::/path` (version 2) or `4:memory:/path` (version 1). In a container the
/// path is often the host's, and the limit is at the root of what is to be seen.
fn of(own: &str, root: &Path) -> Option<u64> {
    let mut smallest: Option<u64> = None;
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (folder, file) = if controllers.is_empty() {
            (root.to_owned(), "memory.max")
        } else if controllers.split(',').any(|name| name == "memory") {
            (root.join("memory"), "memory.limit_in_bytes")
        } else {
            continue;
        };
        for group in Path::new(path).ancestors() {
            let group = group.strip_prefix("/").unwrap_or(group);
            let limit = fs::read_to_string(folder.join(group).join(file));
            // "max" is no number; version 1 says a number near 2^63.
            let limit = limit.ok().and_then(|text| text.trim().parse().ok());
            smallest = smallest.into_iter().chain(limit).min();
        }
    }
    smallest.filter(|limit| *limit < 1 << 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree with these files, and what they come to.
    #[track_caller]
    fn check(own: &str, files: &[(&str, &str)], limit: Option<u64>) {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        assert_eq!(of(own, root.path()), limit, "{own} {files:?}");
    }

    #[test]
    fn version_2() {
        check("0::/\n", &[("memory.max", "268435456\n")], Some(256 << 20));
        check("0::/\n", &[("memory.max", "max\n")], None);
        check("0::/\n", &[], None);
        let nested = [
            ("a/memory.max", "1000\n"),
            ("a/b/memory.max", "2000\n"),
            ("memory.max", "max\n"),
        ];
        check("0::/a/b\n", &nested, Some(1000));
        // The path is the host's, which is not to be seen here.
        check(
            "0::/kubepods/pod1\n",
            &[("memory.max", "5000\n")],
            Some(5000),
        );
    }

    #[test]
    fn version_1() {
        let own = "5:cpu,cpuacct:/x\n4:memory:/docker/1\n";
        let file = "memory/docker/1/memory.limit_in_bytes";
        check(own, &[(file, "4096\n")], Some(4096));
        check(own, &[(file, "9223372036854771712\n")], None);
        check(own, &[("memory/memory.limit_in_bytes", "77\n")], Some(77));
    }
}

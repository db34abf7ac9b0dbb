//! A test that needs an address that is not loopback runs itself again in a network namespace of
//! its own, where it can have one and where nobody else is. One that needs a small file system
//! does so in a mount namespace.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

/// An address of the namespace that is not loopback (RFC 5737: for documentation).
pub const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 77));

/// Another one, for whoever is not to be the same as somebody else.
pub const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 78));

const INSIDE: &str = "WS_TEST_INSIDE_NAMESPACE";

/// `true`: this is the run inside, the test is to be done. `false`: it was done inside. Fails where
/// no namespace can be made.
#[must_use]
pub fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        for command in [
            "ip link set lo up".to_owned(),
            format!("ip address add {ADDRESS}/32 dev lo"),
            format!("ip address add {OTHER}/32 dev lo"),
        ] {
            assert!(run(&command).status.success(), "{command}");
        }
        return true;
    }
    let namespace = if rustix::process::geteuid().is_root() {
        "-n"
    } else {
        "-rn"
    };
    let possible = run(&format!("unshare {namespace} ip link set lo up"));
    assert!(
        possible.status.success(),
        "{test} needs a network namespace, and none can be made here ({}): run it as root, with iproute2",
        String::from_utf8_lossy(&possible.stderr).trim()
    );
    let status = Command::new("unshare")
        .arg(namespace)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{test} failed in its network namespace");
    false
}

/// `true`: this is the run inside, where [`mount`] concerns nobody else. `false`: it was done.
#[must_use]
pub fn with_mounts(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let namespace = if rustix::process::geteuid().is_root() {
        "-m"
    } else {
        "-rm"
    };
    let status = Command::new("unshare")
        .arg(namespace)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare, of util-linux");
    assert!(
        status.success(),
        "{test} failed in its mount namespace, or none can be made here: run it as root"
    );
    false
}

/// A file system of so many bytes, in memory, at this place.
pub fn mount(at: &Path, bytes: usize) {
    let command = format!("mount -t tmpfs -o size={bytes} tmpfs {}", at.display());
    let made = run(&command);
    assert!(made.status.success(), "{command}: {made:?}");
}

pub fn make_read_only(at: &Path) {
    let command = format!("mount -o remount,ro {}", at.display());
    let made = run(&command);
    assert!(made.status.success(), "{command}: {made:?}");
}

fn run(command: &str) -> std::process::Output {
    Command::new("sh").args(["-c", command]).output().unwrap()
}

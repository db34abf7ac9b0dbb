//! Apps of the real Midway from npm.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use super::{eventually, free_port, http};

/// npm fetches some thirty megabytes the first time.
const PATIENCE: Duration = Duration::from_mins(5);

pub struct Midway {
    pub address: SocketAddr,
    pub folder: PathBuf,
    _child: Child,
}

impl Midway {
    /// The app of this folder, which answers `/ws/auth`, with more words for its `start.js`.
    pub async fn start(app: &str, more: &[&str]) -> Self {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        let building = Command::new(tests.join("tests/midway/setup"))
            .arg(tests.join("..").join(app))
            .kill_on_drop(true)
            .output();
        let built = tokio::time::timeout(PATIENCE, building).await;
        let built = built.expect("npm takes too long").unwrap();
        let said = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "{said}");
        let folder = String::from_utf8(built.stdout).unwrap();
        let folder = PathBuf::from(folder.trim());

        let port = free_port();
        let child = Command::new("node")
            .args(["start.js", &port.to_string()])
            .args(more)
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        eventually("Midway", async || {
            let answer = http::try_call(address, "GET", "/ws/auth", &[], b"").await;
            matches!(answer.ok()?.status, 200 | 403).then_some(())
        })
        .await;
        Self {
            address,
            folder,
            _child: child,
        }
    }
}

//! Each release is read by a process of its own: tenants write releases, and whatever one of them
//! makes its reader use ends with that reader, not with the operator and its admissions.

use std::io::{self, Read, Write};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};
use stanza::excerpt::Excerpt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::decode;
use crate::cluster::chain;
use crate::source::Document;

/// The subcommand of this program that is the reader.
pub const COMMAND: &str = "read-release";

/// Of the reader's own data. A release within [`decode`]'s bounds stays below it.
const MEMORY: u64 = 64 << 20;
const PROCESSOR_SECONDS: u64 = 5;
/// Longer than the processor time, as other work may be in the way.
const PATIENCE: Duration = Duration::from_secs(20);
/// An AppManifest is smaller than what the API server takes.
const LONGEST_ANSWER: u64 = 2 << 20;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its author can mend it.
    #[error("{0}")]
    Release(String),
    #[error("its reader needed more than 64 MiB of memory or 5 s of processor time ({0})")]
    Killed(ExitStatus),
    #[error("its reader took more than 20 s")]
    Late,
    #[error("its reader cannot be run")]
    Reader(#[from] io::Error),
    #[error("its reader's answer is not understood")]
    Answer(#[from] serde_json::Error),
}

impl Error {
    /// Whether the release is at fault, and not the machine.
    pub(super) fn is_the_releases(&self) -> bool {
        matches!(self, Self::Release(_) | Self::Killed(_))
    }
}

/// What a release says of an app.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Told {
    /// Where its objects are, by its own word, which may be any text; empty: not said.
    #[serde(default)]
    pub(super) namespace: String,
    #[serde(flatten)]
    pub(super) document: Document,
}

/// What the reader prints.
type Answer = Result<Option<Told>, String>;

/// `None`: the release's chart asks for no WebSocket.
pub(super) async fn read(payload: &[u8]) -> Result<Option<Told>, Error> {
    let child = Command::new(std::env::current_exe()?)
        .arg(COMMAND)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let (status, answer) = tokio::time::timeout(PATIENCE, exchange(child, payload))
        .await
        .map_err(|_| Error::Late)??;
    if !status.success() {
        return Err(Error::Killed(status));
    }
    serde_json::from_slice::<Answer>(&answer)?.map_err(Error::Release)
}

async fn exchange(mut child: Child, payload: &[u8]) -> io::Result<(ExitStatus, Vec<u8>)> {
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let give = async {
        if let Some(mut stdin) = stdin {
            // A reader that ends before it has read all says why by its status.
            let _ = stdin.write_all(payload).await;
        }
    };
    let take = async {
        let mut answer = Vec::new();
        if let Some(stdout) = stdout {
            stdout.take(LONGEST_ANSWER).read_to_end(&mut answer).await?;
        }
        Ok::<_, io::Error>(answer)
    };
    let ((), answer) = tokio::join!(give, take);
    let answer = answer?;
    Ok((child.wait().await?, answer))
}

/// The reader itself: a payload on standard input becomes an answer on standard output.
pub fn main() -> anyhow::Result<()> {
    limit(Resource::Data, MEMORY)?;
    limit(Resource::Cpu, PROCESSOR_SECONDS)?;
    limit(Resource::Core, 0)?;
    // Should the container's memory run out all the same, the kernel takes this process first.
    // Where the file is not there, the limits above are what holds.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let mut payload = Vec::new();
    io::stdin().lock().read_to_end(&mut payload)?;
    let answer = document(&payload);
    io::stdout()
        .lock()
        .write_all(&serde_json::to_vec(&answer)?)?;
    Ok(())
}

fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let both = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    Ok(setrlimit(resource, both)?)
}

fn document(payload: &[u8]) -> Answer {
    let Some(manifest) = decode::manifest(payload).map_err(|error| chain(&error))? else {
        return Ok(None);
    };
    let excerpt = Excerpt::read(manifest.file, &manifest.text, &manifest.context);
    let read = |document| Told {
        namespace: manifest.namespace,
        document,
    };
    Ok(Document::of_excerpt(&excerpt).map(read))
}

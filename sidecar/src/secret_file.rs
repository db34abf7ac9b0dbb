//! A secret that lies in a file: read at the start, and again whenever it changes, so that it is
//! rotated without a restart.

use std::fs::{File, metadata};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stanza::secret::SecretUse;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::metrics::Metrics;

/// What the file holds; `None`: nothing that could be used.
pub type Current<T> = watch::Receiver<Option<T>>;

/// Far more than a few lines take.
const LONGEST: u64 = 16 << 10;

/// What is done once a file that was right is not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// What was read last goes on: nothing would be safer without it.
    KeepsOn,
    /// It counts as withdrawn.
    IsGone,
}

/// How the text of a file is read; the error never shows any of it.
pub(crate) type Parse<T> = fn(&str) -> Result<T, String>;

pub(crate) struct SecretFile<T> {
    what: SecretUse,
    path: PathBuf,
    parse: Parse<T>,
    lost: Lost,
    /// As it was found last, to see a change by.
    found: Result<String, String>,
    usable: bool,
    value: watch::Sender<Option<T>>,
}

impl<T> SecretFile<T> {
    /// Reads it for the first time. One that cannot be used is told and waited for.
    pub(crate) fn open(
        what: SecretUse,
        path: &Path,
        parse: Parse<T>,
        lost: Lost,
    ) -> (Self, Current<T>) {
        let (value, current) = watch::channel(None);
        let mut file = Self {
            what,
            path: path.to_owned(),
            parse,
            lost,
            found: Err(String::new()),
            usable: false,
            value,
        };
        file.take(read(path));
        (file, current)
    }

    /// Looks at it again and again, until `stop`.
    pub(crate) async fn watch(
        mut self,
        every: Duration,
        metrics: Metrics,
        stop: CancellationToken,
    ) {
        loop {
            metrics.secret_usable(self.what, self.usable);
            let path = self.path.clone();
            // The file may be on a disk that is slow to answer.
            let looking = async {
                tokio::time::sleep(every).await;
                tokio::task::spawn_blocking(move || read(&path)).await
            };
            tokio::select! {
                found = looking => self.take(found.unwrap_or_else(|error| Err(error.to_string()))),
                () = stop.cancelled() => return,
            }
        }
    }

    fn take(&mut self, found: Result<String, String>) {
        if found == self.found {
            return;
        }
        let parsed = match &found {
            Ok(text) => (self.parse)(text),
            Err(why) => Err(why.clone()),
        };
        self.found = found;
        self.usable = parsed.is_ok();
        let (secret, file) = (self.what.as_str(), self.path.display());
        match parsed {
            Ok(value) => {
                info!(secret, %file, "secret read");
                self.value.send_replace(Some(value));
            }
            Err(why) if self.lost == Lost::KeepsOn && self.value.borrow().is_some() => {
                warn!(secret, %file, why, "the secret of before is used on: expected the file as it should be");
            }
            Err(why) => {
                warn!(secret, %file, why, "{}", without(self.what));
                self.value.send_replace(None);
            }
        }
    }
}

/// What a gateway does that was told of a secret and has none.
fn without(what: SecretUse) -> &'static str {
    match what {
        SecretUse::CallbackSigning => {
            "no key to sign callbacks with: clients are refused with 503 until the file is there"
        }
        SecretUse::AdminToken => {
            "no admin token: the admin API is refused with 503 until the file is there"
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    let text = || {
        if !metadata(path)?.is_file() {
            return Ok(Err("it is no regular file".to_owned()));
        }
        let mut text = String::new();
        let length = File::open(path)?
            .take(LONGEST + 1)
            .read_to_string(&mut text)?;
        Ok(if length as u64 > LONGEST {
            Err(format!("it has more than {LONGEST} bytes"))
        } else {
            Ok(text)
        })
    };
    text().unwrap_or_else(|error: std::io::Error| Err(error.to_string()))
}

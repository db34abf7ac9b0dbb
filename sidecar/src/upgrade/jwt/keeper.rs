//! Keys that change: read again from a URL or a file, by one task. Whoever checks a token sees
//! the last set that was good, and may ask for a newer one, though not often.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use stanza::settings;
use tokio::io::AsyncReadExt as _;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::fetch::{Fetcher, LARGEST};
use super::keys::Keys;
use crate::metrics::Metrics;

/// The keys as those see them who check tokens.
#[derive(Clone, Debug)]
pub(super) struct Keyring {
    held: watch::Receiver<Held>,
    /// `None`: they never change. One question waits; more are the same.
    asked: Option<mpsc::Sender<()>>,
}

#[derive(Debug)]
struct Held {
    keys: Option<Arc<Keys>>,
    /// How often they were read, well or not.
    reads: u64,
    reading: bool,
    /// Before that nobody may ask for a newer set.
    not_before: Instant,
}

/// Reads them, for as long as it runs.
pub(crate) struct Keeper {
    source: Source,
    /// What was read last and understood.
    text: Bytes,
    held: watch::Sender<Held>,
    asked: mpsc::Receiver<()>,
    interval: Duration,
    cooldown: Duration,
}

pub(super) enum Source {
    Url(String, Box<Fetcher>),
    File(PathBuf),
}

/// A file is looked at so often: that costs nothing, and whoever replaces it wants to see it work.
const FILE_INTERVAL: Duration = Duration::from_secs(10);
const FILE_COOLDOWN: Duration = Duration::from_secs(1);
const FIRST_RETRY: Duration = Duration::from_secs(1);

impl Keyring {
    pub(super) fn fixed(keys: Keys) -> Self {
        let (held, ring) = watch::channel(Held::new(Some(keys)));
        drop(held);
        Self {
            held: ring,
            asked: None,
        }
    }

    /// `None`: they were not to be had yet.
    pub(super) fn keys(&self) -> Option<Arc<Keys>> {
        self.held.borrow().keys.clone()
    }

    /// Keys that may be newer than these; waits for one read at most, and for none where one was
    /// asked for a short time ago.
    pub(super) async fn newer_than(&self, known: &Arc<Keys>) -> Option<Arc<Keys>> {
        let asked = self.asked.as_ref()?;
        let mut held = self.held.clone();
        let seen = {
            let held = held.borrow();
            let now = held.keys.as_ref()?;
            if !Arc::ptr_eq(now, known) {
                return Some(Arc::clone(now));
            }
            if !held.reading {
                if Instant::now() < held.not_before {
                    return None;
                }
                // Full: somebody else has asked.
                let _ = asked.try_send(());
            }
            held.reads
        };
        let newer = held.wait_for(|held| held.reads != seen).await.ok()?;
        newer.keys.clone()
    }
}

impl Held {
    fn new(keys: Option<Keys>) -> Self {
        Self {
            keys: keys.map(Arc::new),
            reads: 0,
            reading: false,
            not_before: Instant::now(),
        }
    }
}

impl Keeper {
    /// A file has to be right at the start; a URL may take its time.
    pub(super) fn new(source: Source, settings: &settings::Jwt) -> anyhow::Result<(Keyring, Self)> {
        let (mut interval, mut cooldown) = (settings.jwks_interval.0, settings.jwks_cooldown.0);
        let mut text = Bytes::new();
        let mut keys = None;
        if let Source::File(file) = &source {
            interval = interval.min(FILE_INTERVAL);
            cooldown = cooldown.min(FILE_COOLDOWN);
            text = std::fs::read(file)?.into();
            keys = Some(usable(&text)?);
        }
        let (ask, asked) = mpsc::channel(1);
        let (held, ring) = watch::channel(Held::new(keys));
        let keyring = Keyring {
            held: ring,
            asked: Some(ask),
        };
        let keeper = Self {
            source,
            text,
            held,
            asked,
            interval,
            cooldown,
        };
        Ok((keyring, keeper))
    }

    pub(crate) async fn run(mut self, metrics: Metrics) {
        let mut failures = 0;
        if matches!(self.source, Source::File(_)) {
            self.rest(self.interval).await;
        }
        loop {
            let read = self.read().await;
            metrics.keys_read(read.is_ok());
            let pause = match read {
                Ok(()) => {
                    failures = 0;
                    self.interval
                }
                Err(error) => {
                    let pause = FIRST_RETRY * 2_u32.saturating_pow(failures);
                    failures = (failures + 1).min(16);
                    let pause = pause.min(self.interval);
                    self.complain(&error, pause);
                    pause
                }
            };
            self.rest(pause).await;
        }
    }

    async fn rest(&mut self, pause: Duration) {
        tokio::select! {
            () = sleep(pause) => {}
            _ = self.asked.recv() => {}
        }
    }

    async fn read(&mut self) -> anyhow::Result<()> {
        self.held.send_modify(|held| {
            held.reading = true;
            held.not_before = Instant::now() + self.cooldown;
        });
        let read = self.source.read().await.and_then(|text| {
            let changed = text != self.text;
            let keys = changed.then(|| usable(&text)).transpose()?;
            Ok((text, keys))
        });
        let (newer, result) = match read {
            Ok((text, keys)) => {
                self.text = text;
                (keys, Ok(()))
            }
            Err(error) => (None, Err(error)),
        };
        if let Some(keys) = &newer {
            info!(
                from = self.source.name(),
                keys = keys.len(),
                "keys for tokens"
            );
        }
        // Who asked before this read began has its answer.
        while self.asked.try_recv().is_ok() {}
        self.held.send_modify(|held| {
            held.reading = false;
            held.reads += 1;
            held.keys = newer.map(Arc::new).or(held.keys.take());
        });
        result
    }

    fn complain(&self, error: &anyhow::Error, pause: Duration) {
        let consequence = if self.held.borrow().keys.is_some() {
            "those of before count on"
        } else {
            "until they are there, whoever brings a token is answered 503"
        };
        let from = self.source.name();
        let error = format!("{error:#}");
        warn!(from, error, again_in = ?pause, "keys for tokens could not be read: {consequence}");
    }
}

impl Source {
    /// Without its query, which may hold a secret.
    fn name(&self) -> &str {
        match self {
            Self::Url(url, _) => url.split('?').next().unwrap_or_default(),
            Self::File(file) => file.to_str().unwrap_or("identity.jwt.jwksFile"),
        }
    }

    async fn read(&self) -> anyhow::Result<Bytes> {
        match self {
            Self::Url(_, fetcher) => fetcher.fetch().await,
            Self::File(path) => {
                let mut text = Vec::new();
                let file = tokio::fs::File::open(path).await?;
                file.take(LARGEST as u64 + 1).read_to_end(&mut text).await?;
                if text.len() > LARGEST {
                    bail!("it is larger than {LARGEST} bytes");
                }
                Ok(text.into())
            }
        }
    }
}

/// A set without a key of use is what its owner wrote, so it counts; it is told of.
pub(super) fn usable(text: &[u8]) -> anyhow::Result<Keys> {
    let keys = Keys::parse(text).context("the key set")?;
    warn_of_none(&keys);
    Ok(keys)
}

pub(super) fn warn_of_none(keys: &Keys) {
    if keys.len() == 0 {
        warn!(
            "the key set has no key that can verify tokens, so none is valid: expected RSA keys of \
             2048 bits or more, EC keys on P-256 or P-384, or Ed25519 keys, for use sig"
        );
    }
}

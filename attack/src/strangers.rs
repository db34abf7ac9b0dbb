//! The kinds of strangers, a file each. A new one is a file with a `KIND`, and its place in [`ALL`].

mod churn;
mod control;
mod everything;
mod fragments;
mod half_frames;
mod half_heads;
mod half_messages;
mod hook;
mod idle;
mod names;
mod one_byte;
mod pings;
mod ports;
mod tools;
mod unread;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

pub(crate) use tools::Figures;
use tools::Target;

#[derive(Debug)]
pub(crate) struct Kind {
    pub name: &'static str,
    /// What they do, for the table's reader.
    pub about: &'static str,
    /// Flags of the gateway without which there is nothing to attack; else all is default.
    pub flags: &'static [&'static str],
    /// Goes on until it is dropped.
    pub work: fn(Arc<Target>) -> Work,
}

pub(crate) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(crate) static ALL: &[Kind] = &[
    idle::KIND,
    half_heads::KIND,
    one_byte::KIND,
    half_frames::KIND,
    half_messages::KIND,
    control::KIND,
    unread::KIND,
    pings::KIND,
    fragments::KIND,
    churn::KIND,
    names::KIND,
    hook::KIND,
    ports::OPS,
    ports::ADMIN,
    everything::KIND,
];

pub(crate) fn named(name: &str) -> Option<&'static Kind> {
    ALL.iter().find(|kind| kind.name == name)
}

impl Kind {
    /// Who comes when these come, each in a process of their own.
    pub(crate) fn parts(&'static self) -> Vec<&'static Self> {
        let all = everything::KIND.name;
        let is_part = |kind: &&Self| {
            if self.name == all {
                kind.name != all
            } else {
                kind.name == self.name
            }
        };
        ALL.iter().filter(is_part).collect()
    }
}

/// Works until it is killed; says on standard output twice a second what it has done so far.
pub(crate) fn main(kind: &'static Kind) -> anyhow::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let target = Arc::new(Target::default());
        let tally = Arc::clone(&target.tally);
        let told = tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(500));
            loop {
                tick.tick().await;
                #[allow(clippy::print_stdout, reason = "that is how it tells")]
                {
                    println!("{}", tally.line());
                }
            }
        });
        tokio::select! {
            () = (kind.work)(target) => {}
            _ = told => {}
        }
    });
    Ok(())
}

//! `ws-attack inside`: becomes a program in the pod's network, and in the container's cgroup,
//! which it finds at /sys/fs/cgroup as in a real container.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};
use clap::Args;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::cgroup::Cgroup;
use crate::cores;

#[derive(Args, Debug)]
pub(crate) struct InsideArgs {
    /// The pod's network namespace
    #[arg(long)]
    net: PathBuf,
    /// The container's cgroup. Unset: none
    #[arg(long)]
    cgroup: Option<PathBuf>,
    /// The core that it keeps to. Unset: any
    #[arg(long)]
    core: Option<usize>,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

pub(crate) fn main(args: &InsideArgs) -> anyhow::Result<()> {
    setns(File::open(&args.net)?, CloneFlags::CLONE_NEWNET).context("the pod's network")?;
    if let Some(dir) = &args.cgroup {
        let cgroup = Cgroup::at(dir);
        cgroup.enter()?;
        unshare(CloneFlags::CLONE_NEWCGROUP | CloneFlags::CLONE_NEWNS)?;
        let (place, kind, data) = cgroup.mount();
        // The kernel mounts no file system over itself.
        umount2(place, MntFlags::MNT_DETACH)?;
        mount(Some(kind), place, Some(kind), MsFlags::empty(), data)
            .with_context(|| format!("{place} of the container"))?;
    }
    if let Some(core) = args.core {
        cores::keep_to(core).context("a core of its own")?;
    }
    let [program, rest @ ..] = args.command.as_slice() else {
        bail!("a command is missing");
    };
    let error = Command::new(program).args(rest).exec();
    Err(error).with_context(|| format!("{} could not be started", program.display()))
}

//! Who works on which core. Strangers and clients have machines of their own; here they share one
//! with the gateway, and what is to be measured is what the gateway does, not who gets a core.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    pub all: usize,
    /// The gateway's own, if there is more than one.
    pub gateway: Option<usize>,
}

impl Cores {
    /// Leaves the last core to the gateway where `apart` is set; this process, and all that it
    /// starts, keeps to the others.
    pub(crate) fn part(apart: bool) -> nix::Result<Self> {
        let mut ours = sched_getaffinity(Pid::from_raw(0))?;
        let is_ours = |core: &usize| ours.is_set(*core).unwrap_or(false);
        let cores: Vec<_> = (0..CpuSet::count()).filter(is_ours).collect();
        let gateway = cores.last().copied().filter(|_| apart && cores.len() > 1);
        if let Some(gateway) = gateway {
            ours.unset(gateway)?;
            sched_setaffinity(Pid::from_raw(0), &ours)?;
        }
        Ok(Self {
            all: cores.len(),
            gateway,
        })
    }
}

/// The calling process keeps to one core.
pub(crate) fn keep_to(core: usize) -> nix::Result<()> {
    let mut one = CpuSet::new();
    one.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &one)
}

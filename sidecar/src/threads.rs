//! Who is served on which threads. The clients' messages, the app's calls and the operator's have
//! threads of their own, and the kernel prefers those: whoever is new, and whoever sends without
//! pause, is served on threads of lower priority, and goes as fast as the machine does while
//! nobody else has anything to say.

use std::pin::pin;

use rustix::process::setpriority_process;
use tokio::runtime::{Builder, Handle, Runtime};

/// The threads' runtimes, each for some of the tasks.
#[derive(Clone, Debug)]
pub struct Threads {
    /// For everybody else; and each socket is watched here, whoever it belongs to.
    pub established: Handle,
    /// For connections until their first request is answered.
    pub newcomers: Handle,
    /// For sessions whose clients send without pause.
    pub floods: Handle,
}

/// What runs beside the runtime of all others, and ends with it.
pub(crate) struct LessUrgent {
    newcomers: Runtime,
    floods: Runtime,
}

/// As `nice` has it: where all are busy a third of the others' share, and a thirtieth.
const NEWCOMERS: i32 = 5;
const FLOODS: i32 = 15;

impl Threads {
    /// All that is done runs on the threads of who asks.
    pub(crate) fn alike() -> Self {
        let here = Handle::current();
        Self {
            established: here.clone(),
            newcomers: here.clone(),
            floods: here,
        }
    }

    /// Whether the task that asks is one of a newcomer's.
    pub(crate) fn is_among_newcomers(&self) -> bool {
        Handle::try_current().is_ok_and(|here| here.id() == self.newcomers.id())
    }
}

impl LessUrgent {
    pub(crate) fn start(count: usize) -> std::io::Result<Self> {
        Ok(Self {
            newcomers: threads("newcomers", count, NEWCOMERS)?,
            floods: threads("floods", count, FLOODS)?,
        })
    }

    /// Within the runtime of all others.
    pub(crate) fn beside_these(&self) -> Threads {
        Threads {
            established: Handle::current(),
            newcomers: self.newcomers.handle().clone(),
            floods: self.floods.handle().clone(),
        }
    }

    pub(crate) fn end(self) {
        self.newcomers.shutdown_background();
        self.floods.shutdown_background();
    }
}

fn threads(name: &str, count: usize, niceness: i32) -> std::io::Result<Runtime> {
    let less_urgent = move || {
        // `None` is the calling thread. To become less urgent is always allowed.
        let _ = setpriority_process(None, niceness);
    };
    Builder::new_multi_thread()
        .thread_name(name)
        .worker_threads(count)
        .on_thread_start(less_urgent)
        .enable_all()
        .build()
}

/// Makes something as if it were made on these threads: a socket is watched where it was made, and
/// one that others will use is not to wait for those who are less urgent.
pub(crate) async fn made_on<F: Future>(threads: &Handle, making: F) -> F::Output {
    let mut making = pin!(making);
    std::future::poll_fn(|context| {
        let _entered = threads.enter();
        making.as_mut().poll(context)
    })
    .await
}

//! How many bytes may wait in the whole gateway, to and from clients (`limits.buffered`), and who
//! goes when it is more: whoever holds most, never whoever happens to ask.
//!
//! What comes from clients may take three quarters, so that strangers cannot stop what goes out.
//! Whoever asks gets what it asks for; in its stead the largest holders are told to let go until
//! the rest fits. Until those have gone a quarter more may be used, and then newcomers wait.
//! Holders are filed by size in steps of a quarter, and below [`SMALL`] not at all:
//! a connection is filed anew only when its size has changed by that much.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::warn;

use crate::identity::ConnectionId;
use crate::seldom::Seldom;

#[derive(Debug)]
pub struct Budget {
    incoming: AtomicUsize,
    outgoing: AtomicUsize,
    /// What those still hold who were told to let go.
    leaving: AtomicUsize,
    max: usize,
    holders: Mutex<BTreeMap<(Size, ConnectionId), Arc<dyn Holder>>>,
    told: Seldom,
}

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From clients.
    In,
    /// To clients.
    Out,
}

/// Somebody who can be told to let go of what it holds.
pub trait Holder: Debug + Send + Sync {
    /// How much it is going to let go. `None`: it was told before.
    fn let_go(&self, budget: &Budget) -> Option<usize>;
}

/// By which holders are compared: four steps for each doubling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(u8);

/// Bytes of something that is no connection, such as a request's head or a frame that many
/// share; given back when dropped.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<Budget>,
    way: Way,
    bytes: usize,
}

/// Whoever holds less is not worth being told to let go.
const SMALL: usize = 4 << 10;

impl Budget {
    pub fn new(max: usize) -> Self {
        Self {
            incoming: AtomicUsize::new(0),
            outgoing: AtomicUsize::new(0),
            leaving: AtomicUsize::new(0),
            max,
            holders: Mutex::default(),
            told: Seldom::default(),
        }
    }

    /// Counts so many bytes until the [`Charge`] is dropped; the largest holders go for them.
    pub fn charge(self: &Arc<Self>, way: Way, bytes: usize) -> Charge {
        self.take(way, bytes);
        self.relieve();
        Charge {
            budget: Arc::clone(self),
            way,
            bytes,
        }
    }

    pub fn used(&self) -> usize {
        self.incoming.load(Ordering::Relaxed) + self.outgoing.load(Ordering::Relaxed)
    }

    /// More than half is used: nobody gets more than is due to it.
    pub fn is_tight(&self) -> bool {
        self.used() > self.max / 2
    }

    /// Whether a newcomer can be let in. `false`: everything is used, and by so many that nobody
    /// stands out, or by those who are on their way out.
    pub fn has_room(&self) -> bool {
        self.relieve();
        let leaving = self.leaving.load(Ordering::Relaxed);
        !self.is_over_without(leaving.min(self.max / 4))
    }

    /// Tells the largest holders to let go until the rest fits.
    pub fn relieve(&self) {
        while self.is_over_without(self.leaving.load(Ordering::Relaxed)) {
            let Some(((_, id), holder)) = self.lock().pop_last() else {
                return;
            };
            let Some(held) = holder.let_go(self) else {
                continue;
            };
            if let Some(unsaid) = self.told.says() {
                warn!(
                    connection = %id,
                    held,
                    buffered = self.used(),
                    most = self.max,
                    unsaid,
                    "more waits than limits.buffered allows: the connection that held most was \
                     closed with 1013. If your clients are honest, raise it or lower limits.message"
                );
            }
        }
    }

    /// Counts so many bytes; whoever does that calls [`Self::relieve`] as soon as it holds no lock.
    pub(crate) fn take(&self, way: Way, bytes: usize) {
        self.counter(way).fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn give_back(&self, way: Way, bytes: usize) {
        self.counter(way).fetch_sub(bytes, Ordering::Relaxed);
    }

    /// What somebody holds who was told to let go.
    pub(crate) fn leaving(&self, before: usize, now: usize) {
        self.leaving.fetch_add(now, Ordering::Relaxed);
        self.leaving.fetch_sub(before, Ordering::Relaxed);
    }

    /// Files a holder under its new size, or takes it out where that is none.
    pub(crate) fn file(
        &self,
        id: ConnectionId,
        before: Size,
        now: Size,
        holder: impl FnOnce() -> Arc<dyn Holder>,
    ) {
        let mut holders = self.lock();
        if before != Size::default() {
            holders.remove(&(before, id));
        }
        if now != Size::default() {
            holders.insert((now, id), holder());
        }
    }

    fn is_over_without(&self, leaving: usize) -> bool {
        let incoming = self.incoming.load(Ordering::Relaxed);
        incoming.saturating_sub(leaving) > self.max - self.max / 4
            || self.used().saturating_sub(leaving) > self.max
    }

    fn counter(&self, way: Way) -> &AtomicUsize {
        match way {
            Way::In => &self.incoming,
            Way::Out => &self.outgoing,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Size, ConnectionId), Arc<dyn Holder>>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Size {
    pub(crate) fn of(bytes: usize) -> Self {
        if bytes < SMALL {
            return Self::default();
        }
        let doublings = bytes.ilog2() - SMALL.ilog2();
        let quarter = (bytes >> (bytes.ilog2() - 2)) & 3;
        Self(u8::try_from(1 + 4 * doublings as usize + quarter).unwrap_or(u8::MAX))
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give_back(self.way, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets go as soon as it is told to.
    #[derive(Debug)]
    struct Obliging(usize, AtomicUsize);

    impl Holder for Obliging {
        fn let_go(&self, budget: &Budget) -> Option<usize> {
            self.1.fetch_add(1, Ordering::Relaxed);
            budget.give_back(Way::In, self.0);
            Some(self.0)
        }
    }

    fn hold(budget: &Budget, bytes: usize) -> Arc<Obliging> {
        let holder = Arc::new(Obliging(bytes, AtomicUsize::new(0)));
        budget.take(Way::In, bytes);
        let filed: Arc<dyn Holder> = Arc::<Obliging>::clone(&holder);
        budget.file(
            ConnectionId::random(),
            Size::default(),
            Size::of(bytes),
            || filed,
        );
        holder
    }

    #[test]
    fn the_largest_goes_and_not_who_asks() {
        let budget = Arc::new(Budget::new(1 << 20));
        let (small, large) = (hold(&budget, 100 << 10), hold(&budget, 600 << 10));
        let charge = budget.charge(Way::In, 200 << 10);
        let told = |holder: &Obliging| holder.1.load(Ordering::Relaxed);
        assert_eq!((told(&small), told(&large)), (0, 1));
        assert_eq!(budget.used(), 300 << 10);
        drop(charge);
        assert_eq!(budget.used(), 100 << 10);
    }

    #[test]
    fn a_quarter_is_for_what_goes_out() {
        let budget = Arc::new(Budget::new(1 << 20));
        let holder = hold(&budget, 768 << 10);
        let _out = budget.charge(Way::Out, 256 << 10);
        assert_eq!(holder.1.load(Ordering::Relaxed), 0);
        let _in = budget.charge(Way::In, 1);
        assert_eq!(holder.1.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn with_nobody_to_send_away_newcomers_wait() {
        let budget = Arc::new(Budget::new(1 << 20));
        let charge = budget.charge(Way::In, 1 << 20);
        assert!(!budget.has_room());
        drop(charge);
        assert!(budget.has_room());
    }

    #[test]
    fn sizes_grow_in_quarters() {
        assert_eq!(Size::of(SMALL - 1), Size::default());
        let sizes = [4096, 5120, 6144, 7168, 8192, 1 << 20, usize::MAX].map(Size::of);
        assert!(sizes.is_sorted_by(|a, b| a < b), "{sizes:?}");
        assert_eq!(Size::of(5119), Size::of(4096));
    }
}

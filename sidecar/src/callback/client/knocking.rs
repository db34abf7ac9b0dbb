//! Questions of the auth hook that are under way, and those that wait. They have places of their
//! own, so that strangers who knock do not starve those who are in; and of these no address has
//! more than three quarters, so that a crowd of one address waits for itself.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::places::{most_of, place};
use crate::callback::SendError;
use crate::client_address::neighbourhood;

#[derive(Debug)]
pub(super) struct Knocking {
    asking: Semaphore,
    /// Of all, and of one address.
    most_asked: usize,
    most_here: usize,
    here: Mutex<Here>,
}

#[derive(Debug, Default)]
struct Here {
    all: usize,
    by_address: HashMap<IpAddr, Group>,
}

#[derive(Debug)]
struct Group {
    here: usize,
    asking: Arc<Semaphore>,
}

/// One that waits, or is asked about.
pub(super) struct Knock<'a> {
    knocking: &'a Knocking,
    address: IpAddr,
    of_the_address: Arc<Semaphore>,
}

/// For each question that is under way.
const WAITING_PER_QUESTION: usize = 4;

impl Knocking {
    pub(super) fn new(asking: usize) -> Self {
        Self {
            asking: Semaphore::new(asking),
            most_asked: asking,
            most_here: asking.saturating_mul(1 + WAITING_PER_QUESTION),
            here: Mutex::default(),
        }
    }

    /// `None`: too many are here, or too many of this address.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Knock<'_>> {
        let address = neighbourhood(address);
        let mut here = self.lock();
        if here.all >= self.most_here {
            return None;
        }
        let group = here.by_address.entry(address).or_insert_with(|| Group {
            here: 0,
            asking: Arc::new(Semaphore::new(most_of(self.most_asked))),
        });
        if group.here >= most_of(self.most_here) {
            return None;
        }
        group.here += 1;
        let of_the_address = Arc::clone(&group.asking);
        here.all += 1;
        Some(Knock {
            knocking: self,
            address,
            of_the_address,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Here> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Knock<'_> {
    /// When its turn has come: among those of its address first, then among all.
    pub(super) async fn turn(&self) -> Result<[SemaphorePermit<'_>; 2], SendError> {
        let own = place(&self.of_the_address).await?;
        Ok([own, place(&self.knocking.asking).await?])
    }
}

impl Drop for Knock<'_> {
    fn drop(&mut self) {
        let mut here = self.knocking.lock();
        here.all -= 1;
        if let Some(group) = here.by_address.get_mut(&self.address) {
            group.here -= 1;
            if group.here == 0 {
                here.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    const CROWD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[tokio::test]
    async fn a_crowd_of_one_address_waits_for_itself() {
        let knocking = Knocking::new(8);
        let crowd: Vec<_> = std::iter::from_fn(|| knocking.enter(CROWD)).collect();
        assert_eq!(crowd.len(), 30, "of 40");
        let mut turns = Vec::new();
        for knock in &crowd[..6] {
            turns.push(knock.turn().await.unwrap());
        }
        let mut seventh = pin!(crowd[6].turn());
        assert!(futures_util::poll!(&mut seventh).is_pending());
        let other = knocking.enter(OTHER).expect("there is room for others");
        assert!(futures_util::poll!(pin!(other.turn())).is_ready());
        turns.pop();
        assert!(futures_util::poll!(&mut seventh).is_ready());
    }

    #[test]
    fn who_leaves_makes_room() {
        let knocking = Knocking::new(1);
        for _ in 0..10 {
            let all: Vec<_> = std::iter::from_fn(|| knocking.enter(CROWD)).collect();
            assert_eq!(all.len(), 4);
        }
        assert!(knocking.lock().by_address.is_empty());
    }
}

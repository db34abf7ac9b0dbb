//! Places for requests to the app. No address has more than its share of them, however many
//! connections it has; so those of other addresses always find one, and wait for no crowd.

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::callback::SendError;
use crate::client_address::AddressGroup;

#[derive(Debug)]
pub(super) struct Places {
    all: Semaphore,
    of_group: Box<[Semaphore]>,
}

/// Free again when dropped.
#[derive(Debug)]
pub(super) struct Place<'a> {
    _of_group: SemaphorePermit<'a>,
    _of_all: SemaphorePermit<'a>,
}

impl Places {
    /// So many in all, and for each group of addresses.
    pub(super) fn new(all: usize, of_group: usize) -> Self {
        Self {
            all: Semaphore::new(all),
            of_group: (0..AddressGroup::COUNT)
                .map(|_| Semaphore::new(of_group))
                .collect(),
        }
    }

    /// When there is one: among those of its group first, then among all.
    pub(super) async fn take(&self, group: AddressGroup) -> Result<Place<'_>, SendError> {
        Ok(Place {
            _of_group: place(&self.of_group[group.index()]).await?,
            _of_all: place(&self.all).await?,
        })
    }
}

/// What one address may have of so many, one at least.
pub(super) fn most_of(places: usize) -> usize {
    (places - places / 4).max(1)
}

/// A place, when there is one. The semaphores are never closed; if one were, nothing would have
/// been sent.
pub(super) async fn place(semaphore: &Semaphore) -> Result<SemaphorePermit<'_>, SendError> {
    let place = semaphore.acquire().await;
    place.map_err(|error| SendError::NotTaken(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn a_crowd_of_one_address_leaves_places_to_others() {
        let (crowd, other) = (AddressGroup::from(1), AddressGroup::from(2));
        let places = Places::new(4, 3);
        let mut taken = Vec::new();
        for _ in 0..3 {
            taken.push(places.take(crowd).await.unwrap());
        }
        let mut next = pin!(places.take(crowd));
        assert!(futures_util::poll!(&mut next).is_pending());
        assert!(futures_util::poll!(pin!(places.take(other))).is_ready());
        taken.pop();
        assert!(futures_util::poll!(&mut next).is_ready());
    }
}

//! Who is connected, and who has to go when another comes: nobody who comes is ever kept waiting.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// How many connections there may be. Beyond, the oldest goes.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// Of strangers with one address.
    pub per_address: usize,
    /// Of strangers in all; beyond, the oldest of the address that has most.
    pub strangers: usize,
    /// Of those who have shown that they may ask.
    pub known: usize,
}

/// All connections, in the order in which they came.
pub(super) struct Table {
    places: Places,
    guests: Mutex<Guests>,
}

#[derive(Default)]
struct Guests {
    next: u64,
    all: BTreeMap<u64, Guest>,
}

struct Guest {
    address: IpAddr,
    known: bool,
    leave: CancellationToken,
}

/// One connection's place, until it is dropped.
pub(super) struct Place {
    table: Arc<Table>,
    number: u64,
    /// Somebody else needs the place.
    pub(super) leave: CancellationToken,
}

/// Of whom a request is.
#[derive(Clone)]
pub struct Caller {
    table: Arc<Table>,
    number: u64,
    pub address: IpAddr,
}

impl Table {
    pub(super) fn new(places: Places) -> Arc<Self> {
        let guests = Mutex::default();
        Arc::new(Self { places, guests })
    }

    /// A place for whoever comes; whether somebody has to go for it.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> (Place, bool) {
        // One that came over IPv6 is the same.
        let address = address.to_canonical();
        let mut guests = self.guests();
        let victim = guests.victim(address, &self.places);
        if let Some(victim) = victim {
            guests.dismiss(victim);
        }
        let number = guests.next;
        guests.next += 1;
        let leave = CancellationToken::new();
        let guest = Guest {
            address,
            known: false,
            leave: leave.clone(),
        };
        guests.all.insert(number, guest);
        let place = Place {
            table: Arc::clone(self),
            number,
            leave,
        };
        (place, victim.is_some())
    }

    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guests {
    fn strangers(&self) -> impl Iterator<Item = (u64, &Guest)> {
        let strangers = self.all.iter().filter(|(_, guest)| !guest.known);
        strangers.map(|(number, guest)| (*number, guest))
    }

    /// Who goes when somebody comes from there.
    fn victim(&self, address: IpAddr, places: &Places) -> Option<u64> {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for (_, stranger) in self.strangers() {
            *counts.entry(stranger.address).or_default() += 1;
        }
        let most = counts.iter().max_by_key(|(_, count)| **count);
        let of = if counts.get(&address).copied().unwrap_or_default() >= places.per_address {
            address
        } else if counts.values().sum::<usize>() >= places.strangers {
            *most?.0
        } else {
            return None;
        };
        let mut strangers = self.strangers();
        strangers
            .find(|(_, guest)| guest.address == of)
            .map(|(number, _)| number)
    }

    /// It is counted no more, though it may take a moment to go.
    fn dismiss(&mut self, number: u64) {
        if let Some(guest) = self.all.remove(&number) {
            guest.leave.cancel();
        }
    }
}

impl Place {
    pub(super) fn caller(&self, address: IpAddr) -> Caller {
        Caller {
            table: Arc::clone(&self.table),
            number: self.number,
            address: address.to_canonical(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.guests().all.remove(&self.number);
    }
}

impl Caller {
    /// Its connection is no stranger's any more. Of too many the oldest ends with what it has asked.
    pub fn is_known(&self) {
        let mut guests = self.table.guests();
        let Some(guest) = guests.all.get_mut(&self.number) else {
            return;
        };
        if std::mem::replace(&mut guest.known, true) {
            return;
        }
        let known: Vec<u64> = guests
            .all
            .iter()
            .filter(|(_, guest)| guest.known)
            .map(|(number, _)| *number)
            .collect();
        if known.len() > self.table.places.known
            && let Some(oldest) = known.first()
        {
            guests.dismiss(*oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: Places = Places {
        per_address: 3,
        strangers: 5,
        known: 2,
    };

    fn from(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    /// Who was asked to leave, by the order of coming.
    fn gone(all: &[Place]) -> Vec<usize> {
        let left = all.iter().enumerate();
        let left = left.filter(|(_, place)| place.leave.is_cancelled());
        left.map(|(index, _)| index).collect()
    }

    #[test]
    fn the_oldest_of_an_address_goes_and_nobody_elses() {
        let table = Table::new(PLACES);
        let mut all: Vec<Place> = Vec::new();
        for last in [1, 2, 2, 2] {
            let (place, crowded) = table.enter(from(last));
            assert!(!crowded);
            all.push(place);
        }
        for expected in [vec![1], vec![1, 2]] {
            let (place, crowded) = table.enter(from(2));
            assert!(crowded);
            all.push(place);
            assert_eq!(gone(&all), expected);
        }
        assert!(!all[5].leave.is_cancelled(), "whoever comes is let in");
    }

    #[test]
    fn where_all_are_too_many_the_address_with_most_gives_way() {
        let table = Table::new(PLACES);
        let mut all: Vec<Place> = [2, 2, 1, 3, 4].map(|last| table.enter(from(last)).0).into();
        all.push(table.enter(from(5)).0);
        assert_eq!(gone(&all), [0]);
        drop(all.remove(2));
        let (_place, crowded) = table.enter(from(6));
        assert!(!crowded, "a place was free");
    }

    #[test]
    fn strangers_take_no_place_of_who_is_known() {
        let table = Table::new(PLACES);
        let mut all: Vec<Place> = vec![table.enter(from(1)).0];
        all[0].caller(from(1)).is_known();
        for _ in 0..20 {
            all.push(table.enter(from(1)).0);
        }
        assert!(!all[0].leave.is_cancelled());
        assert_eq!(gone(&all).len(), 20 - PLACES.per_address);
    }

    #[test]
    fn of_too_many_that_are_known_the_oldest_goes() {
        let table = Table::new(PLACES);
        let mut all: Vec<Place> = Vec::new();
        for _ in 0..4 {
            let (place, _) = table.enter(from(1));
            // As often as it asks.
            for _ in 0..3 {
                place.caller(from(1)).is_known();
            }
            all.push(place);
        }
        assert_eq!(gone(&all), [0, 1]);
    }
}

//! Places that sockets hold while they may. When all are taken, one goes that is there already:
//! of the address that holds most, the oldest. So whoever comes new gets in, and whoever takes
//! many places pays for it.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::client_address::neighbourhood;

#[derive(Debug)]
pub(crate) struct Crowd {
    limit: usize,
    /// What a place counts at least.
    each: usize,
    members: Mutex<Members>,
}

/// A place; free again when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    crowd: Arc<Crowd>,
    ticket: u64,
    address: IpAddr,
    turned_out: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Members {
    next: u64,
    weight: usize,
    by_address: HashMap<IpAddr, Group>,
    /// `None` while there is plenty of room: then nobody has to know.
    order: Option<Order>,
}

/// The last one goes first: it weighs most, and among equals it is there for longest.
type Order = BTreeSet<(usize, Reverse<u64>, IpAddr)>;

#[derive(Debug, Default)]
struct Group {
    weight: usize,
    members: BTreeMap<u64, Member>,
}

#[derive(Debug)]
struct Member {
    weight: usize,
    turned_out: Arc<Notify>,
}

impl Crowd {
    /// So many places; 0: no limit.
    pub(crate) fn of(places: usize) -> Arc<Self> {
        Self::by_weight(places, 1)
    }

    /// Together they may weigh so much; one that nothing is known of weighs `each`.
    pub(crate) fn by_weight(limit: usize, each: usize) -> Arc<Self> {
        let limit = if limit == 0 { usize::MAX } else { limit };
        Arc::new(Self {
            limit,
            each,
            members: Mutex::default(),
        })
    }

    /// A place for a newcomer, and how many had to go for it.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> (Seat, usize) {
        let address = neighbourhood(address);
        let turned_out = Arc::new(Notify::new());
        let mut members = self.lock();
        let gone = members.make_room(self.limit.saturating_sub(self.each));
        let ticket = members.next;
        members.next += 1;
        let member = Member {
            weight: self.each,
            turned_out: Arc::clone(&turned_out),
        };
        members.change(address, |group| {
            group.weight += member.weight;
            group.members.insert(ticket, member);
        });
        drop(members);
        let seat = Seat {
            crowd: Arc::clone(self),
            ticket,
            address,
            turned_out,
        };
        (seat, gone)
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Resolves when somebody else needs the place more.
    pub(crate) async fn turned_out(&self) {
        self.turned_out.notified().await;
    }

    /// From now on it weighs so much; how many had to go for that, perhaps this one itself.
    pub(crate) fn weigh(&self, weight: usize) -> usize {
        let weight = weight.max(self.crowd.each);
        let mut members = self.crowd.lock();
        members.change(self.address, |group| {
            if let Some(member) = group.members.get_mut(&self.ticket) {
                group.weight = group.weight - member.weight + weight;
                member.weight = weight;
            }
        });
        members.make_room(self.crowd.limit)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let ticket = self.ticket;
        self.crowd.lock().change(self.address, |group| {
            if let Some(member) = group.members.remove(&ticket) {
                group.weight -= member.weight;
            }
        });
    }
}

impl Members {
    /// Turns out whoever has to go until all the others weigh no more than this.
    fn make_room(&mut self, limit: usize) -> usize {
        let mut gone = 0;
        if self.weight <= limit / 2 {
            self.order = None;
        }
        while self.weight > limit {
            let Some((_, _, address)) = self.order().last().copied() else {
                break;
            };
            self.change(address, |group| {
                if let Some((_, member)) = group.members.pop_first() {
                    group.weight -= member.weight;
                    member.turned_out.notify_one();
                }
            });
            gone += 1;
        }
        gone
    }

    fn order(&mut self) -> &Order {
        let groups = self.by_address.iter();
        let keys = groups.filter_map(|(address, group)| group.key(*address));
        self.order.get_or_insert_with(|| keys.collect())
    }

    /// Changes an address' group, and everything that follows from it.
    fn change(&mut self, address: IpAddr, change: impl FnOnce(&mut Group)) {
        let mut group = match self.by_address.entry(address) {
            Entry::Occupied(group) => group,
            Entry::Vacant(place) => place.insert_entry(Group::default()),
        };
        let before = group.get().key(address);
        self.weight -= group.get().weight;
        change(group.get_mut());
        self.weight += group.get().weight;
        let now = group.get().key(address);
        if now.is_none() {
            group.remove();
        }
        if let Some(order) = &mut self.order {
            if let Some(key) = before {
                order.remove(&key);
            }
            order.extend(now);
        }
    }
}

impl Group {
    fn key(&self, address: IpAddr) -> Option<(usize, Reverse<u64>, IpAddr)> {
        let oldest = self.members.first_key_value()?.0;
        Some((self.weight, Reverse(*oldest), address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// Whether it was told to go.
    fn is_out(seat: &Seat) -> bool {
        let group = seat.crowd.lock();
        !group
            .by_address
            .get(&seat.address)
            .is_some_and(|group| group.members.contains_key(&seat.ticket))
    }

    #[test]
    fn of_the_address_that_holds_most_the_oldest_goes() {
        let crowd = Crowd::of(4);
        let early = crowd.enter(v4(1)).0;
        let many: Vec<_> = (0..3).map(|_| crowd.enter(v4(2)).0).collect();
        let (newcomer, gone) = crowd.enter(v4(3));
        assert_eq!(gone, 1);
        let out: Vec<_> = many.iter().map(is_out).collect();
        assert_eq!(out, [true, false, false]);
        assert!(!is_out(&early) && !is_out(&newcomer));
    }

    #[test]
    fn among_equals_the_oldest_goes() {
        let crowd = Crowd::of(2);
        let (first, second) = (crowd.enter(v4(1)).0, crowd.enter(v4(2)).0);
        let third = crowd.enter(v4(3)).0;
        assert!(is_out(&first) && !is_out(&second) && !is_out(&third));
    }

    #[test]
    fn whoever_leaves_makes_room() {
        let crowd = Crowd::of(2);
        let stays = crowd.enter(v4(1)).0;
        for _ in 0..10 {
            assert_eq!(crowd.enter(v4(1)).1, 0);
        }
        assert!(!is_out(&stays));
        drop(stays);
        let members = crowd.lock();
        assert!(members.weight == 0 && members.by_address.is_empty());
        assert!(members.order.as_ref().is_none_or(BTreeSet::is_empty));
    }

    #[test]
    fn what_weighs_more_counts_more() {
        let crowd = Crowd::by_weight(100, 10);
        let light: Vec<_> = (0..5).map(|_| crowd.enter(v4(1)).0).collect();
        let heavy = crowd.enter(v4(2)).0;
        assert_eq!(heavy.weigh(50), 0);
        let (_newcomer, gone) = crowd.enter(v4(3));
        assert_eq!(gone, 1);
        assert!(is_out(&light[0]), "it is older, and weighs the same");
        assert_eq!(crowd.enter(v4(3)).1, 1);
        assert!(is_out(&heavy));
    }
}
